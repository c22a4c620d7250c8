"""Checkpoints: one safetensors file that carries its config."""

import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stremn.errors import StremnError, one_line
from stremn.files.tensors import read_tensors, write_tensors
from stremn.models.predictor import Predictor
from stremn.models.registry import build_model, config_from_json, model_names
from stremn.models.segmenter import Segmenter

__all__ = ["WEIGHTS_FILE", "as_model", "from_pretrained", "save_pretrained"]

Kind = TypeVar("Kind", bound=nn.Module)

WEIGHTS_FILE = "model.safetensors"
CONFIG_KEY = "stremn_config"
HUB_PREFIX = "hf:"
SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def save_pretrained(
    model: Segmenter | Predictor, path: Path | str, *, dtype: torch.dtype | None = None
) -> Path:
    """Write weights and config as one safetensors file, beside and then renamed.

    Args:
        model: what to save.
        path: a ``.safetensors`` file, or a folder that gets ``model.safetensors``.
        dtype: of the stored floating-point tensors, e.g. ``torch.float16``; ``None`` keeps theirs. A tensor
            with values too large for it keeps its own.

    Returns:
        The file.

    Raises:
        StremnError: if it cannot be written.

    Examples:
        >>> model = from_pretrained("stremn-predict-mnist")
        >>> save_pretrained(model, "half.safetensors", dtype=torch.float16).name
        'half.safetensors'
    """
    path = Path(path)
    if path.suffix == "" or path.is_dir():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StremnError(f"{path}: no folder can be made there ({one_line(error)})") from error
        path = path / WEIGHTS_FILE
    state = {name: _stored(t, dtype) for name, t in model.state_dict().items()}
    write_tensors(path, state, CONFIG_KEY, model.config.to_json())
    return path


def from_pretrained(source: Path | str = "stremn-lite") -> Any:
    """A model with trained weights, in float32 on the CPU, in evaluation mode.

    Args:
        source: name of a model whose weights ship with the package, a file written by
            :func:`save_pretrained`, a folder that holds one, or ``hf:owner/name``, a repository of the
            Hugging Face hub with a ``model.safetensors``.

    Returns:
        A :class:`~stremn.models.Segmenter` or a :class:`~stremn.models.Predictor`, as the file says.

    Raises:
        StremnError: if the name is unknown, or the file is missing, damaged or not ours.

    Examples:
        >>> from_pretrained("stremn-predict-mnist").config.channels  # grey frames
        1
    """
    path = _find(source)
    state, text = read_tensors(path, CONFIG_KEY, "save_pretrained")
    try:
        model = build_model(config_from_json(text))
    except StremnError as error:
        raise StremnError(f"{path}: {error}") from error
    own = model.state_dict()
    differing = sorted(set(own) ^ set(state)) or sorted(n for n in own if own[n].shape != state[n].shape)
    if differing:
        raise StremnError(
            f"{path}: {len(differing)} tensors do not fit its config, '{differing[0]}' first; "
            "the file is damaged or of another version"
        )
    for name, tensor in state.items():
        if tensor.is_floating_point() != own[name].is_floating_point() or not bool(tensor.isfinite().all()):
            raise StremnError(
                f"{path}: '{name}' holds what are no weights (not numbers, or infinite): the training came "
                "apart, or the file is damaged; give other weights"
            )
    model.load_state_dict({n: t.to(own[n].dtype) for n, t in state.items()})
    return model.eval()


def as_model(source: Kind | Path | str, kind: type[Kind]) -> Kind:
    """The model itself, or what :func:`from_pretrained` makes of its name; of the kind that is needed.

    Raises:
        StremnError: if it is of another kind, and what :func:`from_pretrained` raises.
    """
    model = from_pretrained(source) if isinstance(source, (Path, str)) else source
    if not isinstance(model, kind):
        name = source if isinstance(source, (Path, str)) else type(model).__name__
        raise StremnError(
            f"model '{name}': a {type(model).__name__} where a {kind.__name__} is needed; "
            "use a segmentation model to segment and a prediction model to predict"
        )
    return model


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None or not tensor.is_floating_point():
        return tensor
    converted = tensor.to(dtype)
    return converted if bool((converted.isfinite() | ~tensor.isfinite()).all()) else tensor


def _find(source: Path | str) -> Path:
    if str(source) in model_names():
        shipped = SHIPPED / f"{source}.safetensors"
        if not shipped.is_file():
            raise StremnError(f"model '{source}': no trained weights ship with this package; give a file")
        return shipped
    if str(source).startswith(HUB_PREFIX):
        return _download(str(source).removeprefix(HUB_PREFIX))
    path = Path(source)
    path = path / WEIGHTS_FILE if os.path.isdir(path) else path
    if not os.path.isfile(path):  # which a name too long is not, where Path.is_file raises
        raise StremnError(
            f"unknown model '{source}': neither one of {', '.join(model_names())} nor a file that exists"
        )
    return path


def _download(repository: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, WEIGHTS_FILE))
    except Exception as error:
        raise StremnError(
            f"{HUB_PREFIX}{repository}: cannot get {WEIGHTS_FILE} from the hub "
            f"({type(error).__name__}); check the name and the connection, or give a file"
        ) from error
