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
from stremn.models import Predictor, PredictorState
from stremn.models.predictor import MEMORY
from stremn.sessions.inputs import internal_size, to_input
from stremn.sessions.session import Session
from stremn.sessions.settings import PredictionSettings

__all__ = ["PredictionSession", "Rollout"]

STATE = "state."
"""Before the names of tensors in a saved session."""

LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in grey (ITU-R BT.601)."""


class PredictionSession(Session):
    """The state of one video: slot memory and the last few frames, or what a recurrent model carries.

    Frames come back as they were given: of the same size, grey for grey ``(H, W)`` and RGB for RGB
    ``(H, W, 3)``. A model for grey frames sees the luma of RGB ones, and foresees grey.

    Examples:
        >>> import numpy as np
        >>> session = PredictionSession("stremn-motion")
        >>> for shift in range(3):
        ...     frame = np.zeros((64, 64, 3), np.uint8)
        ...     frame[20:40, 10 + shift : 30 + shift] = 255
        ...     session.observe(frame)
        >>> session.predict(2).shape
        (2, 64, 64, 3)

    Args:
        model: a prediction model, or what :func:`stremn.from_pretrained` takes.
        settings: how to predict; ``None`` is what the model says.
        **changes: fields of :class:`PredictionSettings`, in place of those of ``settings``.

    Raises:
        StremnError: on unknown names, weights that cannot be read, or settings of a memory for a model that
            has none.
    """

    model_class, settings_class = Predictor, PredictionSettings
    default_model, key = "stremn-motion", "stremn_prediction"
    model: Predictor
    settings: PredictionSettings

    def __init__(
        self,
        model: Predictor | Path | str = default_model,
        settings: PredictionSettings | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(model, settings, changes)
        rules = self.model.rules(self.settings.slots, self.settings.policy)
        if rules is not None:
            noise, readout = self.settings.sample, self.settings.readout
            rules = replace(rules, noise=noise, generator=self.generator, readout=readout)
        self.rules = rules
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        super().reset()
        self.grey = False
        self.state: PredictorState | None = None

    def observe(self, frame: Any) -> None:
        """Take the next frame.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`; ``(H, W)`` is grey.

        Raises:
            StremnError: if it is no frame or the size changed; the state is then unchanged.
        """
        image = self._image(frame)
        grey = _is_grey(frame)
        with self.runtime.active():
            self.state = self.model.observe(self._to_model(image, grey), self.state, self.rules)
        self.frame_size, self.grey = image.shape[:2], grey
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
        if not isinstance(horizon, (int, np.integer)) or horizon < 1:
            raise StremnError(f"a horizon of {horizon} frames is not possible: ask for 1 or more")
        return np.stack(list(itertools.islice(self.rollout(), horizon)))

    def rollout(self) -> "Rollout":
        """The next frames without end, one at a time, in memory of one size.

        It starts from what was observed up to this call, and the session stays where it was.

        Returns:
            An iterator over frames ``(H, W, 3)``, or ``(H, W)`` for grey ones, uint8.

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
        return Rollout(self, state, rules)

    def frames_in_memory(self) -> list[int]:
        """The frame index in each slot, -1 where the slot is empty (M12); no entry for a model without slots.

        The index of a template is that of the newest of its frames.
        """
        return _frames_in(self.memory)

    @property
    def memory(self) -> SlotMemory | None:
        """The slots; ``None`` before the first frame and for a model without."""
        return None if self.state is None else self.state.memory

    @property
    def state_bytes(self) -> int:
        """Bytes of the state; the same after every frame."""
        return 0 if self.state is None else self.state.nbytes

    def _inner(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) at which the network computes, before padding; frames are never enlarged."""
        return internal_size(size, min(self.settings.size or 0, *size), stride=1)

    def _to_model(self, image: np.ndarray, grey: bool) -> Tensor:
        """A frame as ``(1, C, h, w)`` in [0, 1], at the right and below padded to the stride by its edge."""
        x = to_input(image, self._inner(image.shape[:2]), self.runtime.device)
        if self.model.config.channels == 1:
            x = x[:, :1] if grey else _luma(x)
        stride = self.model.stride
        right, below = -x.shape[3] % stride, -x.shape[2] % stride
        return F.pad(x, (0, right, 0, below), mode="replicate")

    def _facts(self) -> dict[str, Any]:
        return {"grey": self.grey}

    def _tensors(self) -> dict[str, Tensor]:
        carried = {} if self.state is None else self.state.tensors()
        return {STATE + name: tensor for name, tensor in carried.items()}

    def _fill(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.grey = facts["grey"]
        carried = self._below(STATE, tensors)
        if carried:
            # Only the memory is kept in the dtype of autocast; frames and cells are float32.
            memory = {MEMORY + n: t for n, t in self._memory_below(STATE + MEMORY, tensors, facts).items()}
            self.state = PredictorState.of(
                carried | memory, None if self.rules is None else self.rules.layout
            )

    def to_user(self, frame: Tensor, size: tuple[int, int], grey: bool) -> np.ndarray:
        """What the model foresees ``(1, C, h', w')`` as a frame of a video, uint8.

        Args:
            frame: of the model.
            size: (H, W) of the video's frames.
            grey: whether these are grey.
        """
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


class Rollout(Iterator[np.ndarray]):
    """The frames that follow those that a session has seen, without end, each foreseen when it is asked for.

    Made by :meth:`PredictionSession.rollout`. It has a state of its own.
    """

    def __init__(self, session: PredictionSession, state: PredictorState, rules: Rules | None) -> None:
        """Takes over the state and the generator of the rules."""
        assert session.frame_size is not None
        self._session, self._state, self._rules = session, state, rules
        self._size, self._grey = session.frame_size, session.grey
        self._frame: Tensor | None = None

    def __next__(self) -> np.ndarray:
        """The next frame."""
        with self._session.runtime.active():
            if self._frame is not None:
                self._state = self._session.model.follow(self._frame, self._state, self._rules)
            self._frame = self._session.model.predict(self._state)
            return self._session.to_user(self._frame, self._size, self._grey)

    def read_from(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Where the last frame was read from observed ones; ``None`` of a model that draws its frames.

        Returns:
            The displacement from each pixel to its place in the latest observed frame, ``(H, W, 2)`` float32,
            x then y, in pixels, and the shares of the latest frame and of those of the slots
            ``(H, W, 1 + K)`` float32.
        """
        with self._session.runtime.active():
            found = self._session.model.read_from(self._state)
        if found is None:
            return None
        height, width = self._session._inner(self._size)
        ways, shares = (
            F.interpolate(maps[..., :height, :width].float(), size=self._size, mode="bilinear")[0]
            .permute(1, 2, 0)
            .cpu()
            .numpy()
            for maps in found
        )
        scale = np.array([self._size[1] / width, self._size[0] / height], np.float32)
        return scale * ways, shares

    def frames_in_memory(self) -> list[int]:
        """As of the session; predicted frames are counted on from the observed ones."""
        return _frames_in(self._state.memory)

    @property
    def state_bytes(self) -> int:
        """Bytes of its state; the same after every frame."""
        return self._state.nbytes


def _frames_in(memory: SlotMemory | None) -> list[int]:
    return [] if memory is None else memory.frame_index[0].tolist()


def _luma(x: Tensor) -> Tensor:
    """RGB ``(B, 3, h, w)`` to grey ``(B, 1, h, w)``."""
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _is_grey(frame: Any) -> bool:
    """Whether a frame that ``as_frame`` takes has one channel."""
    if hasattr(frame, "getbands"):
        return len(frame.getbands()) == 1 and frame.mode != "P"
    shape = np.shape(frame)
    return len(shape) == 2 or 1 in ((shape[0],) if isinstance(frame, Tensor) else (shape[-1],))
