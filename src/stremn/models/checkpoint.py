"""Checkpoints: one safetensors file that carries its config."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stremn.errors import StremnError
from stremn.models.config import SegmenterConfig
from stremn.models.registry import MODELS, build_model
from stremn.models.segmenter import Segmenter

__all__ = ["WEIGHTS_FILE", "from_pretrained", "save_pretrained"]

WEIGHTS_FILE = "model.safetensors"
CONFIG_KEY = "stremn_config"
SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def save_pretrained(model: Segmenter, path: Path | str, *, dtype: torch.dtype | None = None) -> Path:
    """Write weights and config as one safetensors file, beside and then renamed.

    Args:
        model: what to save.
        path: a ``.safetensors`` file, or a folder that gets ``model.safetensors``.
        dtype: of the stored floating-point tensors, e.g. ``torch.float16``; ``None`` keeps theirs.

    Returns:
        The file.
    """
    path = Path(path)
    if path.suffix == "":
        path.mkdir(parents=True, exist_ok=True)
        path = path / WEIGHTS_FILE
    state = {
        name: (t.to(dtype) if dtype is not None and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in model.state_dict().items()
    }
    part = path.with_name(f".{path.name}.part")
    try:
        save_file(state, part, metadata={CONFIG_KEY: model.config.to_json(), "format": "pt"})
        os.replace(part, path)
    except OSError as error:
        raise StremnError(f"{path}: cannot write the weights ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def from_pretrained(source: Path | str = "stremn-lite") -> Segmenter:
    """A model with trained weights, in float32 on the CPU, in evaluation mode.

    Args:
        source: name of a model whose weights ship with the package, a file written by
            :func:`save_pretrained`, or a folder that holds one.

    Raises:
        StremnError: if the name is unknown, or the file is missing, damaged or not ours.
    """
    path = _find(source)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if CONFIG_KEY not in metadata:
                raise StremnError(
                    f"{path}: a safetensors file, but not of stremn (no config inside); use a file that "
                    "save_pretrained wrote"
                )
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise StremnError(
            f"{path}: not a readable safetensors file ({error}); it may be truncated, copy it again"
        ) from error
    model = build_model(SegmenterConfig.from_json(metadata[CONFIG_KEY]))
    own = model.state_dict()
    differing = sorted(set(own) ^ set(state)) or sorted(n for n in own if own[n].shape != state[n].shape)
    if differing:
        raise StremnError(
            f"{path}: {len(differing)} tensors do not fit its config, '{differing[0]}' first; "
            "the file is damaged or of another version"
        )
    model.load_state_dict({n: t.to(own[n].dtype) for n, t in state.items()})
    return model.eval()


def _find(source: Path | str) -> Path:
    if str(source) in MODELS:
        path = SHIPPED / f"{source}.safetensors"
        if not path.is_file():
            raise StremnError(f"model '{source}': no trained weights ship with this package; give a file")
        return path
    path = Path(source)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    if not path.is_file():
        raise StremnError(
            f"unknown model '{source}': neither one of {', '.join(MODELS)} nor a weights file that exists"
        )
    return path
