"""What the sessions of both tasks have in common: a model that runs, a place in a video, a pause."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.memory import EXACT
from stremn.models import as_model
from stremn.runtime import PRECISIONS, Runtime, for_inference
from stremn.sessions.inputs import as_frame
from stremn.sessions.saved import Snapshot
from stremn.sessions.settings import Settings

__all__ = ["Session"]


class Session(ABC):
    """The state of one video. Its model holds the weights and no state; no frame is kept.

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
        asked = (self.settings_class() if settings is None else settings).changed(**changes)
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
    def _fill(self, snapshot: Snapshot) -> None:
        """Take both over from a snapshot whose tensors fit this session."""

    def snapshot(self) -> Snapshot:
        """Everything but the weights; shares the session's tensors."""
        config = self.model.config
        settings = self.settings.to_dict()
        facts = {
            **{name: value for name, value in settings.items() if name not in ("device", "compile")},
            "model": config.fingerprint,
            "architecture": config.architecture,
            "precision": self.runtime.precision,
            "frame_index": self.frame_index,
            "frame_size": self.frame_size,
        }
        return Snapshot(facts | self._facts(), {"generator": self.generator.get_state()} | self._tensors())

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where a session of the same settings and model stood; shares no tensors with the snapshot."""
        facts = snapshot.facts
        self.frame_index = facts["frame_index"]
        size = facts["frame_size"]
        self.frame_size = None if size is None else (size[0], size[1])
        self.generator.set_state(snapshot.tensors["generator"])
        # As in a step: tensors made under inference mode, so that both are treated alike by torch.compile.
        with torch.inference_mode():
            self._fill(snapshot)

    def save(self, path: Path | str) -> Path:
        """Write everything but the weights as one safetensors file, to go on later with identical results.

        Args:
            path: of the file; a file that is there is replaced when the new one is complete.

        Raises:
            StremnError: if it cannot be written.
        """
        return self.snapshot().write(path, self.key)

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
        snapshot = Snapshot.read(path, cls.key, f"{cls.__name__}.save")
        network = as_model(cls.default_model if model is None else model, cls.model_class)
        facts = snapshot.facts
        if facts.get("model") != network.config.fingerprint:
            raise StremnError(
                f"{path}: the saved session is of a model '{facts.get('architecture')}' with another config "
                f"than the given one ('{network.config.architecture}'): give the model that it was saved with"
            )
        try:
            settings = cls.settings_class.from_dict(facts)
            settings = settings.changed(device=device, precision=precision or facts["precision"], **changes)
            session = cls(network, settings)  # type: ignore[call-arg]
            session.restore(snapshot)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise StremnError(
                f"{path}: what it says of the session does not fit together ({error!r}); save it again"
            ) from error
        return session

    def _memory_tensors(self, snapshot: Snapshot, prefix: str) -> dict[str, Tensor]:
        """Tensors of a memory, in the dtype of autocast if that changed since saving."""
        changed = PRECISIONS[snapshot.facts["precision"]] != self.runtime.dtype
        return {
            name: tensor.to(self.runtime.dtype)
            if changed and tensor.is_floating_point() and name not in EXACT
            else tensor
            for name, tensor in snapshot.below(prefix, self.runtime.device).items()
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
