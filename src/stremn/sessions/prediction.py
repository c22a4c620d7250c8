"""Foresee one video, frame by frame, with constant memory."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.memory import Rules, SlotMemory
from stremn.models import Predictor, PredictorState, as_model, for_inference
from stremn.sessions.inputs import as_frame, to_input
from stremn.sessions.prediction_state import SavedPrediction
from stremn.sessions.runtime import Runtime

__all__ = ["PredictionSession"]

LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in grey (ITU-R BT.601)."""


class PredictionSession:
    """The state of one video: slot memory and the last few frames, or what a recurrent model carries.

    Frames come back as they were given: of the same size, grey for grey ``(H, W)`` and RGB for RGB
    ``(H, W, 3)``. A model for grey frames sees the luma of RGB ones, and foresees grey.

    Example:
        >>> session = PredictionSession("stremn-predict-video")  # doctest: +SKIP
        >>> for frame in frames:  # doctest: +SKIP
        ...     session.observe(frame)
        >>> future = session.predict(10)  # doctest: +SKIP

    Args:
        model: a prediction model, or what :func:`stremn.from_pretrained` takes.
        policy: which template is replaced; ``None`` is the model's default (the learned one).
        slots: K; ``None`` is the model's default.
        size: internal resolution, the shorter side in pixels; 0 is the frame's own, ``None`` the model's
            default.
        device: ``"auto"`` is CUDA, else MPS, else CPU.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"``, ``"fp16"``.
        sample: draw the learned choice with Gumbel noise, Eq. (3), instead of the plain arg max.
        seed: of the random policies and of ``sample``.

    Raises:
        StremnError: on unknown names, weights that cannot be read, or settings of a memory for a model that
            has none.
    """

    def __init__(
        self,
        model: Predictor | Path | str = "stremn-predict-video",
        *,
        policy: str | None = None,
        slots: int | None = None,
        size: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        sample: bool = False,
        seed: int = 0,
    ) -> None:
        """See the class."""
        self.runtime = Runtime.choose(device, precision)
        # Named as a type to mypy: an abstract class stands for its subclasses here.
        network: Predictor = as_model(model, Predictor)  # type: ignore[type-abstract]
        self.model = for_inference(network, self.runtime.device, self.runtime.dtype)
        self.size = network.config.size if size is None else size
        if self.size < 0:
            raise StremnError(f"size {self.size} is not possible: give pixels of the shorter side, or 0")
        self.generator = torch.Generator()
        self.sample, self.seed = sample, int(seed)
        rules = self.model.rules(slots, policy)
        if sample and rules is None:
            raise StremnError(f"a model '{network.config.architecture}' has no choice of slots to sample")
        self.rules = None if rules is None else replace(rules, noise=sample, generator=self.generator)
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        self.frame_index = -1
        self.frame_size: tuple[int, int] | None = None
        self.grey = False
        self.state: PredictorState | None = None
        self.generator.manual_seed(self.seed)

    def observe(self, frame: Any) -> None:
        """Take the next frame.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`; ``(H, W)`` is grey.

        Raises:
            StremnError: if it is no frame or the size changed; the state is then unchanged.
        """
        image = as_frame(frame)
        size = image.shape[:2]
        if self.frame_size not in (None, size):
            was = self.frame_size or size
            raise StremnError(
                f"frame {self.frame_index + 1} is {size[1]}x{size[0]} pixels, the frames before were "
                f"{was[1]}x{was[0]}: call reset() to begin another video"
            )
        grey = _is_grey(frame)
        with self.runtime.active():
            self.state = self.model.observe(self._to_model(image, grey), self.state, self.rules)
        self.frame_size, self.grey = size, grey
        self.frame_index += 1

    def predict(self, horizon: int) -> np.ndarray:
        """The next frames, each foreseen from those before it.

        The session stays where it was: it can go on to observe.

        Args:
            horizon: how many, at least 1.

        Returns:
            ``(N, H, W, 3)``, or ``(N, H, W)`` for grey frames, uint8.

        Raises:
            StremnError: before the first frame, or for a horizon below 1.
        """
        if horizon < 1:
            raise StremnError(f"a horizon of {horizon} frames is not possible: ask for 1 or more")
        return np.stack(list(itertools.islice(self.rollout(), horizon)))

    def rollout(self) -> Iterator[np.ndarray]:
        """The next frames without end, one at a time, in memory of one size.

        It starts from what was observed up to this call, and the session stays where it was.

        Yields:
            ``(H, W, 3)``, or ``(H, W)`` for grey frames, uint8.

        Raises:
            StremnError: before the first frame.
        """
        if self.state is None:
            raise StremnError("nothing was observed yet: give at least one frame to observe() first")
        # What is in the session may be written in place, so that a rollout needs its own.
        with torch.inference_mode():
            state = self.state.copy()
        rules = self.rules
        if rules is not None:
            rules = replace(rules, generator=self.generator.clone_state())
        return self._steps(state, rules)

    def frames_in_memory(self) -> list[int]:
        """The frame index in each slot, -1 where the slot is empty (M12); no entry for a model without slots.

        The index of a template is that of the newest of its frames.
        """
        return [] if self.memory is None else self.memory.frame_index[0].tolist()

    @property
    def memory(self) -> SlotMemory | None:
        """The slots; ``None`` before the first frame and for a model without."""
        return None if self.state is None else self.state.memory

    @property
    def state_bytes(self) -> int:
        """Bytes of the state; the same after every frame."""
        return 0 if self.state is None else self.state.nbytes

    def save(self, path: Path | str) -> Path:
        """Write everything but the weights as one safetensors file, to go on later with identical results.

        Args:
            path: of the file; a file that is there is replaced when the new one is complete.

        Raises:
            StremnError: if it cannot be written.
        """
        return SavedPrediction.of(self).write(path)

    @classmethod
    def load(
        cls,
        path: Path | str,
        model: Predictor | Path | str = "stremn-predict-video",
        *,
        device: str = "auto",
        precision: str | None = None,
    ) -> "PredictionSession":
        """A session that goes on where a saved one stood.

        Args:
            path: of a file that :meth:`save` wrote.
            model: the model of the saved session; weights are not in the file.
            device: see the class; need not be the saved one's.
            precision: see the class; ``None`` is the saved one's.

        Raises:
            StremnError: if the file is missing, damaged, not a session's, or of a model of another config.
        """
        saved = SavedPrediction.read(path)
        network: Predictor = as_model(model, Predictor)  # type: ignore[type-abstract]
        saved.check_model(network.config)
        session = cls(
            network,
            **saved.settings,
            device=device,
            precision=saved.precision if precision is None else precision,
        )
        saved.restore(session)
        return session

    def _steps(self, state: PredictorState, rules: Rules | None) -> Iterator[np.ndarray]:
        size, grey = self.frame_size, self.grey
        assert size is not None
        while True:
            with self.runtime.active():
                frame = self.model.predict(state)
                shown = self._to_user(frame, size, grey)
            yield shown
            with self.runtime.active():
                state = self.model.observe(frame, state, rules)

    def _inner(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) at which the network computes, before padding."""
        factor = self.size / min(size) if self.size else 1.0
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))

    def _to_model(self, image: np.ndarray, grey: bool) -> Tensor:
        """A frame as ``(1, C, h, w)`` in [0, 1], at the right and below padded to the stride by its edge."""
        x = to_input(image, self._inner(image.shape[:2]), self.runtime.device)
        if self.model.config.channels == 1:
            x = x[:, :1] if grey else _luma(x)
        stride = self.model.stride
        right, below = -x.shape[3] % stride, -x.shape[2] % stride
        return F.pad(x, (0, right, 0, below), mode="replicate")

    def _to_user(self, frame: Tensor, size: tuple[int, int], grey: bool) -> np.ndarray:
        """The inverse of :meth:`_to_model`."""
        height, width = self._inner(size)
        x = frame[:, :, :height, :width]
        if (height, width) != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        if grey and x.shape[1] == 3:
            x = _luma(x)
        pixels = (x[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        if grey:
            return pixels[:, :, 0].cpu().numpy()
        return np.ascontiguousarray(pixels.expand(-1, -1, 3).cpu().numpy())


def _luma(x: Tensor) -> Tensor:
    """RGB ``(B, 3, h, w)`` to grey ``(B, 1, h, w)``."""
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _is_grey(frame: Any) -> bool:
    """Whether a frame that ``as_frame`` takes has one channel."""
    if hasattr(frame, "getbands"):
        return len(frame.getbands()) == 1 and frame.mode != "P"
    shape = np.shape(frame)
    return len(shape) == 2 or 1 in ((shape[0],) if isinstance(frame, Tensor) else (shape[-1],))
