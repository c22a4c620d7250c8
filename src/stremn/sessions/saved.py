"""A paused session as a file: everything but the weights, in safetensors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stremn.errors import StremnError, one_line
from stremn.files.tensors import read_tensors, tensors_digest, write_tensors

__all__ = ["Snapshot"]

VERSION = 2


@dataclass(frozen=True)
class Snapshot:
    """What a session carries from frame to frame, and how it was set.

    Attributes:
        facts: JSON values: settings, position in the video, which model it is for.
        tensors: the state of the generator, and what the task's session carries.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def write(self, path: Path | str, key: str) -> Path:
        """Write the file, beside and then renamed.

        Args:
            path: of the file.
            key: of the text in the file's metadata, one for each task.

        Raises:
            StremnError: if it cannot be written.
        """
        path = Path(path)
        text = json.dumps({"version": VERSION, **self.facts}, default=int)
        wrapped = {"digest": tensors_digest(self.tensors, text), "facts": text}
        write_tensors(path, self.tensors, key, json.dumps(wrapped))
        return path

    @classmethod
    def read(cls, path: Path | str, key: str, writer: str) -> "Snapshot":
        """Read what :meth:`write` wrote, on the CPU.

        Args:
            path: of the file.
            key: as it was written.
            writer: what writes such files, for errors.

        Raises:
            StremnError: if the file is missing, damaged, of another version, or not a session's.
        """
        tensors, text = read_tensors(Path(path), key, writer)
        try:
            wrapped = json.loads(text)
            whole = wrapped["digest"] == tensors_digest(tensors, wrapped["facts"])
            facts = json.loads(wrapped["facts"])
            version = facts.pop("version")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StremnError(f"{path}: the session in it cannot be read ({one_line(error)})") from error
        if not whole:
            raise StremnError(f"{path}: the file is damaged (its checksum differs); copy it again")
        if version != VERSION:
            raise StremnError(
                f"{path}: a session of format {version}, this version of stremn reads {VERSION}; "
                "continue it with the version that saved it"
            )
        return cls(facts, tensors)

    def below(self, prefix: str, device: torch.device) -> dict[str, Tensor]:
        """Copies on a device of the tensors whose names begin so, by the rest of their names."""
        return {
            name.removeprefix(prefix): tensor.to(device, copy=True)
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }
