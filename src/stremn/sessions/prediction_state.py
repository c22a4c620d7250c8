"""A paused prediction session as a file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from stremn.models import PredictorState
from stremn.models.predictor import MEMORY
from stremn.sessions.state import SavedSession

if TYPE_CHECKING:
    from stremn.sessions.prediction import PredictionSession

__all__ = ["SavedPrediction"]

STATE = "state."


@dataclass(frozen=True)
class SavedPrediction(SavedSession):
    """What a file holds; see :class:`~stremn.sessions.state.SavedSession`.

    The tensors are ``state.*``, after the first frame.
    """

    key: ClassVar[str] = "stremn_prediction"
    writer: ClassVar[str] = "PredictionSession.save"
    options: ClassVar[tuple[str, ...]] = ("policy", "slots", "size", "sample", "seed")

    @classmethod
    def _facts_of(cls, session: "PredictionSession") -> dict[str, Any]:
        rules = session.rules
        return {
            "policy": None if rules is None else rules.policy.name,
            "slots": None if rules is None else rules.layout.slots,
            "grey": session.grey,
        }

    @classmethod
    def _tensors_of(cls, session: "PredictionSession") -> dict[str, Tensor]:
        carried = {} if session.state is None else session.state.tensors()
        return {STATE + name: tensor for name, tensor in carried.items()}

    def _fill(self, session: "PredictionSession", changed: bool) -> None:
        session.grey = self.facts["grey"]
        # Only the memory is kept in the dtype of autocast; frames and cells are float32.
        carried = {
            name.removeprefix(STATE): self.placed(
                name, session.runtime, changed and name.startswith(STATE + MEMORY)
            )
            for name in self.tensors
            if name.startswith(STATE)
        }
        if carried:
            layout = None if session.rules is None else session.rules.layout
            session.state = PredictorState.of(carried, layout)
