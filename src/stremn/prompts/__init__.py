"""Objects shown without a mask image: boxes, points, scribbles and polygons, and the masks made of them."""

from stremn.prompts.annotations import annotation_files, read_annotations
from stremn.prompts.mask import mask_of, prompt_mask
from stremn.prompts.schedule import PromptSchedule, Shown
from stremn.prompts.shapes import Prompt

__all__ = [
    "Prompt",
    "PromptSchedule",
    "Shown",
    "annotation_files",
    "mask_of",
    "prompt_mask",
    "read_annotations",
]
