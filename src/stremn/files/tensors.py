"""Safetensors files with a text inside: weights and saved sessions. Nothing here can run code from a file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stremn.errors import StremnError, one_line
from stremn.files.outputs import replacing

__all__ = ["read_tensors", "tensors_digest", "write_tensors"]


def write_tensors(path: Path, tensors: dict[str, Tensor], key: str, text: str) -> None:
    """Write tensors and one text as a safetensors file, beside and then renamed.

    Args:
        path: of the file, in a folder that exists.
        tensors: by name; at any place, of any strides.
        key: under which the text stands in the file's metadata.
        text: what is to be known of the tensors.

    Raises:
        StremnError: if the file cannot be written; what was there before is then unchanged.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with replacing(path) as part:
        # Not save_file, which writes under a random name first: a killed process would leave that behind.
        part.write_bytes(_in_order(save(plain, metadata={key: text, "format": "pt"})))


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata in alphabetical order, which the library writes in a random one."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def read_tensors(path: Path, key: str, what: str) -> tuple[dict[str, Tensor], str]:
    """The inverse of :func:`write_tensors`, on the CPU.

    Args:
        path: of the file.
        key: of the text.
        what: which function writes such files, for the error.

    Raises:
        StremnError: if the file is missing, damaged, no safetensors file, or without the text.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(key)
            if text is None:
                raise StremnError(f"{path}: a safetensors file of something else; use one that {what} wrote")
            return {name: file.get_tensor(name) for name in file.keys()}, text  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise StremnError(
            f"{path}: not a readable safetensors file ({one_line(error)}); "
            f"it may be truncated, copy it again, or use one that {what} wrote"
        ) from error


def tensors_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The SHA-256, in hexadecimal, of tensors with their names, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
