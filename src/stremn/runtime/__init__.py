"""How a model is made to compute: where, in which precision, and in which form."""

from stremn.runtime.device import PRECISIONS, Runtime
from stremn.runtime.prepare import for_inference

__all__ = ["PRECISIONS", "Runtime", "for_inference"]
