"""What the sessions of both tasks have in common: a model that runs, a place in a video, a pause."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from stremn.errors import StremnError, one_line
from stremn.files.tensors import read_tensors, tensors_digest, write_tensors
from stremn.memory import EXACT
from stremn.models import as_model
from stremn.runtime import PRECISIONS, Runtime, for_inference
from stremn.sessions.inputs import as_frame
from stremn.sessions.settings import Settings

__all__ = ["Session"]

VERSION = 2
"""Of the format of saved sessions."""


class Session(ABC):
    """The state of one video. Its model holds the weights and no state; no past frame is kept.

    Attributes:
        model: made ready to compute and nothing else; sessions may share it.
        settings: everything the session was told, with the model's own values where nothing was said.
        runtime: where and in which precision it computes.
        frame_index: of the frame taken last, -1 before the first.
        frame_size: (H, W) of the frames, ``None`` before the first.
    """

    model_class: ClassVar[type[Any]]
    settings_class: ClassVar[type[Settings]]
    default_model: ClassVar[str]
    key: ClassVar[str]
    """Of the text in a saved session's metadata."""

    model: Any
    settings: Any

    def __init__(self, model: Any, settings: Settings | None, changes: dict[str, Any]) -> None:
        """Open the model; subclasses prepare the rest and call :meth:`reset`.

        Raises:
            StremnError: on unknown names, weights that cannot be read, or a model of the other task.
        """
        settings = self.settings_class() if settings is None else settings
        if not isinstance(settings, self.settings_class):
            name = self.settings_class.__name__
            raise StremnError(f"settings must be {name}, not {type(settings).__name__}: size=64 is a keyword")
        asked = settings.changed(**changes)
        self.runtime = Runtime.choose(asked.device, asked.precision)
        network = as_model(model, self.model_class)
        self.settings = asked.resolved(network.config)
        packed = not getattr(asked, "compile", False)
        self.model = for_inference(network, self.runtime.device, self.runtime.dtype, packed=packed)
        self.generator = torch.Generator()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        self.frame_index = -1
        self.frame_size: tuple[int, int] | None = None
        self.generator.manual_seed(self.settings.seed)

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """JSON values that only this task's sessions carry from frame to frame."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Tensors that they carry."""

    @abstractmethod
    def _fill(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take both over from a saved session of the same settings and model; nothing is shared with it."""

    def save(self, path: Path | str) -> Path:
        """Write everything but the weights as one safetensors file, to go on later with identical results.

        Args:
            path: of the file; a file that is there is replaced when the new one is complete.

        Raises:
            StremnError: if it cannot be written.
        """
        config = self.model.config
        settings = self.settings.to_dict()
        facts = {
            "version": VERSION,
            **{name: value for name, value in settings.items() if name not in ("device", "compile")},
            "model": config.fingerprint,
            "architecture": config.architecture,
            "precision": self.runtime.precision,
            "frame_index": self.frame_index,
            "frame_size": self.frame_size,
        }
        text = json.dumps(facts | self._facts(), default=int)
        tensors = {"generator": self.generator.get_state()} | self._tensors()
        wrapped = {"digest": tensors_digest(tensors, text), "facts": text}
        write_tensors(Path(path), tensors, self.key, json.dumps(wrapped))
        return Path(path)

    @classmethod
    def load(
        cls,
        path: Path | str,
        model: Any = None,
        *,
        device: str = "auto",
        precision: str | None = None,
        **changes: Any,
    ) -> Self:
        """Open a session that goes on where a saved one stood.

        Args:
            path: of a file that :meth:`save` wrote.
            model: the model of the saved session, since weights are not in the file; ``None`` is the
                class's default.
            device: see the class's settings; need not be the saved one's.
            precision: see there; ``None`` is the saved one's.
            **changes: settings that a file does not hold, as ``compile``.

        Raises:
            StremnError: if the file is missing, damaged, not a session's, or of a model of another config.
        """
        facts, tensors = cls._read(path)
        network = as_model(cls.default_model if model is None else model, cls.model_class)
        if facts.get("model") != network.config.fingerprint:
            raise StremnError(
                f"{path}: the saved session is of a model '{facts.get('architecture')}' with another config "
                f"than the given one ('{network.config.architecture}'): give the model that it was saved with"
            )
        try:
            settings = cls.settings_class.from_dict(facts)
            settings = settings.changed(device=device, precision=precision or facts["precision"], **changes)
            session = cls(network, settings)  # type: ignore[call-arg]
            session.frame_index = facts["frame_index"]
            size = facts["frame_size"]
            session.frame_size = None if size is None else (size[0], size[1])
            session.generator.set_state(tensors["generator"])
            # As in a step: made under inference mode, so that torch.compile treats both alike.
            with torch.inference_mode():
                session._fill(facts, tensors)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise StremnError(
                f"{path}: what it says of the session does not fit together ({error!r}); save it again"
            ) from error
        return session

    @classmethod
    def _read(cls, path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What :meth:`save` wrote: JSON values, and tensors on the CPU."""
        tensors, text = read_tensors(Path(path), cls.key, f"{cls.__name__}.save")
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
        return facts, tensors

    def _below(self, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copies on the device of the tensors whose names begin so, by the rest of their names."""
        return {
            name.removeprefix(prefix): tensor.to(self.runtime.device, copy=True)
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    def _memory_below(
        self, prefix: str, tensors: dict[str, Tensor], facts: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Those of a memory, in the dtype of autocast if that changed since saving."""
        found = self._below(prefix, tensors)
        if PRECISIONS[facts["precision"]] == self.runtime.dtype:
            return found
        return {
            name: tensor.to(self.runtime.dtype)
            if tensor.is_floating_point() and name not in EXACT
            else tensor
            for name, tensor in found.items()
        }

    def _image(self, frame: Any) -> np.ndarray:
        """The next frame ``(H, W, 3)`` uint8.

        Raises:
            StremnError: if it is no frame, or of another size than those before.
        """
        image = as_frame(frame)
        size, was = image.shape[:2], self.frame_size
        if was is not None and was != size:
            raise StremnError(
                f"frame {self.frame_index + 1} is {size[1]}x{size[0]} pixels, the frames before were "
                f"{was[1]}x{was[0]}: call reset() to begin another video"
            )
        return image
