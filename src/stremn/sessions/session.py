"""What the sessions of both tasks have in common: a model that runs, a place in a video, a pause."""

from abc import ABC
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from stremn.errors import StremnError
from stremn.models import as_model
from stremn.runtime import for_inference
from stremn.runtime.device import Runtime
from stremn.sessions.inputs import as_frame
from stremn.sessions.state import SavedSession

__all__ = ["Session"]


class Session(ABC):
    """The state of one video. Its model holds the weights and no state; no frame is kept.

    Attributes:
        frame_index: of the frame taken last, -1 before the first.
        frame_size: (H, W) of the frames, ``None`` before the first.
    """

    model_class: ClassVar[type[Any]]
    saved_class: ClassVar[type[SavedSession]]
    default_model: ClassVar[str]
    model: Any

    def __init__(
        self,
        model: Any,
        *,
        size: int | None,
        device: str,
        precision: str,
        sample: bool,
        seed: int,
        compiled: bool = False,
    ) -> None:
        """Open the model; subclasses check the rest and call :meth:`reset`.

        Raises:
            StremnError: on unknown names, weights that cannot be read, or a model of the other task.
        """
        self.runtime = Runtime.choose(device, precision)
        network = as_model(model, self.model_class)
        self.model = for_inference(network, self.runtime.device, self.runtime.dtype, packed=not compiled)
        self.size = network.config.size if size is None else size
        if self.size < 0:
            raise StremnError(f"size {self.size} is not possible: give pixels of the shorter side, or 0")
        self.sample, self.seed = sample, int(seed)
        self.generator = torch.Generator()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        self.frame_index = -1
        self.frame_size: tuple[int, int] | None = None
        self.generator.manual_seed(self.seed)

    def save(self, path: Path | str) -> Path:
        """Write everything but the weights as one safetensors file, to go on later with identical results.

        Args:
            path: of the file; a file that is there is replaced when the new one is complete.

        Raises:
            StremnError: if it cannot be written.
        """
        return self.saved_class.of(self).write(path)

    @classmethod
    def load(
        cls,
        path: Path | str,
        model: Any = None,
        *,
        device: str = "auto",
        precision: str | None = None,
        **settings: Any,
    ) -> Self:
        """A session that goes on where a saved one stood.

        Args:
            path: of a file that :meth:`save` wrote.
            model: the model of the saved session, since weights are not in the file; ``None`` is the
                class's default.
            device: see the class; need not be the saved one's.
            precision: see the class; ``None`` is the saved one's.
            **settings: what else the class takes and a file does not hold, as ``compile``.

        Raises:
            StremnError: if the file is missing, damaged, not a session's, or of a model of another config.
        """
        saved = cls.saved_class.read(path)
        network = as_model(cls.default_model if model is None else model, cls.model_class)
        saved.check_model(network.config)
        precision = saved.precision if precision is None else precision
        session = cls(network, **saved.settings, device=device, precision=precision, **settings)
        saved.restore(session)
        return session

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
