"""A paused session as a file: everything but the weights, in safetensors."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.files.tensors import one_line, read_tensors, tensors_digest, write_tensors
from stremn.models import ModelConfig
from stremn.runtime.device import PRECISIONS, Runtime

if TYPE_CHECKING:
    from stremn.sessions.session import Session

__all__ = ["SavedSession"]

VERSION = 2


@dataclass(frozen=True)
class SavedSession(ABC):
    """What a file holds. Each task says what it adds.

    Attributes:
        key: of the text in the file's metadata, one for each task.
        writer: the method that writes such files, for errors.
        options: facts that are keyword arguments of the session's constructor.
        facts: JSON values: settings, position in the video, which model it is for.
        tensors: the state of the ``generator``, and what the task's session carries.
    """

    key: ClassVar[str]
    writer: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, session: "Session") -> Self:
        """The session as it stands; shares its tensors."""
        config = session.model.config
        facts = {
            "version": VERSION,
            "model": _fingerprint(config),
            "architecture": config.architecture,
            "size": session.size,
            "sample": session.sample,
            "seed": session.seed,
            "precision": next(n for n, dtype in PRECISIONS.items() if dtype == session.runtime.dtype),
            "frame_index": session.frame_index,
            "frame_size": session.frame_size,
        }
        tensors = {"generator": session.generator.get_state()}
        return cls(facts | cls._facts_of(session), tensors | cls._tensors_of(session))

    @classmethod
    @abstractmethod
    def _facts_of(cls, session: Any) -> dict[str, Any]:
        """What the task's session knows beyond what all do."""

    @classmethod
    @abstractmethod
    def _tensors_of(cls, session: Any) -> dict[str, Tensor]:
        """What it carries from frame to frame."""

    @abstractmethod
    def _fill(self, session: Any, changed: bool) -> None:
        """Put that back; ``changed`` tells whether the dtype of autocast did since saving."""

    def write(self, path: Path | str) -> Path:
        """Write the file, beside and then renamed.

        Raises:
            StremnError: if it cannot be written.
        """
        path = Path(path)
        text = json.dumps(self.facts, default=int)
        write_tensors(
            path,
            self.tensors,
            self.key,
            json.dumps({"digest": tensors_digest(self.tensors, text), "facts": text}),
        )
        return path

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """The inverse of :meth:`write`, on the CPU.

        Raises:
            StremnError: if the file is missing, damaged, of another version, or not a session's.
        """
        tensors, text = read_tensors(Path(path), cls.key, cls.writer)
        try:
            wrapped = json.loads(text)
            whole = wrapped["digest"] == tensors_digest(tensors, wrapped["facts"])
            facts = json.loads(wrapped["facts"])
            version = facts["version"]
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

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the session's constructor."""
        return {name: self.facts[name] for name in self.options}

    @property
    def precision(self) -> str:
        """Name of the precision it ran in."""
        return self.facts["precision"]

    def check_model(self, config: ModelConfig) -> None:
        """Refuse a model that the state is not of.

        Raises:
            StremnError: if the configs differ.
        """
        if self.facts["model"] != _fingerprint(config):
            raise StremnError(
                f"the saved session is of a model '{self.facts['architecture']}' with another "
                f"config than the given one ('{config.architecture}'): give the model that it was saved with"
            )

    def restore(self, session: "Session") -> None:
        """Put the state into a session made with :attr:`settings`; shares no tensors with it."""
        session.frame_index = self.facts["frame_index"]
        size = self.facts["frame_size"]
        session.frame_size = None if size is None else (size[0], size[1])
        session.generator.set_state(self.tensors["generator"])
        # As in a step: tensors made under inference mode, so that both are treated alike by torch.compile.
        with torch.inference_mode():
            self._fill(session, PRECISIONS[self.precision] != session.runtime.dtype)

    def placed(self, name: str, runtime: Runtime, changed: bool) -> Tensor:
        """A copy of a tensor on the device, in the dtype of autocast if that ``changed`` since saving."""
        tensor = self.tensors[name]
        dtype = runtime.dtype if changed and tensor.is_floating_point() else tensor.dtype
        return tensor.to(runtime.device, dtype, copy=True)


def _fingerprint(config: ModelConfig) -> str:
    """A digest of a config, to tell whether a state is of a model."""
    return hashlib.sha256(config.to_json().encode()).hexdigest()
