"""A paused prediction session as a file: everything but the weights, in safetensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from stremn.models import PredictorState
from stremn.models.predictor import MEMORY
from stremn.sessions.runtime import PRECISIONS
from stremn.sessions.state import VERSION, SavedSession, fingerprint

if TYPE_CHECKING:
    from stremn.sessions.prediction import PredictionSession

__all__ = ["SavedPrediction"]

STATE = "state."
SETTINGS = ("policy", "slots", "size", "sample", "seed")


@dataclass(frozen=True)
class SavedPrediction(SavedSession):
    """What a file holds; see :class:`~stremn.sessions.state.SavedSession`.

    Attributes:
        facts: JSON values: settings, position in the video, which model it is for.
        tensors: ``state.*`` after the first frame, and the state of the ``generator``.
    """

    key: ClassVar[str] = "stremn_prediction"
    writer: ClassVar[str] = "PredictionSession.save"

    @classmethod
    def of(cls, session: "PredictionSession") -> "SavedPrediction":  # type: ignore[override]
        """The session as it stands; shares its tensors."""
        tensors = {"generator": session.generator.get_state()}
        if session.state is not None:
            tensors |= {STATE + name: tensor for name, tensor in session.state.tensors().items()}
        rules = session.rules
        facts = {
            "version": VERSION,
            "model": fingerprint(session.model.config),
            "architecture": session.model.config.architecture,
            "policy": None if rules is None else rules.policy.name,
            "slots": None if rules is None else rules.layout.slots,
            "size": session.size,
            "sample": session.sample,
            "seed": session.seed,
            "precision": next(n for n, dtype in PRECISIONS.items() if dtype == session.runtime.dtype),
            "frame_index": session.frame_index,
            "frame_size": session.frame_size,
            "grey": session.grey,
        }
        return cls(facts, tensors)

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the session's constructor."""
        return {name: self.facts[name] for name in SETTINGS}

    def restore(self, session: "PredictionSession") -> None:  # type: ignore[override]
        """Put the state into a session made with :attr:`settings`; shares no tensors with it."""
        session.frame_index = self.facts["frame_index"]
        session.grey = self.facts["grey"]
        size = self.facts["frame_size"]
        session.frame_size = None if size is None else (size[0], size[1])
        session.generator.set_state(self.tensors["generator"])
        names = [name for name in self.tensors if name.startswith(STATE)]
        if not names:
            return
        changed = PRECISIONS[self.precision] != session.runtime.dtype
        layout = None if session.rules is None else session.rules.layout
        with torch.inference_mode():
            session.state = PredictorState.of(
                {
                    # Only the memory is kept in the dtype of autocast; frames and cells are float32.
                    n.removeprefix(STATE): self.placed(
                        n, session.runtime, changed and n.startswith(STATE + MEMORY)
                    )
                    for n in names
                },
                layout,
            )
