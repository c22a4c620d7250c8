"""A paused segmentation session as a file."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from stremn.memory import EXACT, MemoryLayout, SlotMemory
from stremn.sessions.state import SavedSession
from stremn.sessions.step import State
from stremn.sessions.view import View

if TYPE_CHECKING:
    from stremn.sessions.segmentation import SegmentationSession

__all__ = ["SavedSegmentation"]


@dataclass(frozen=True)
class SavedSegmentation(SavedSession):
    """What a file holds; see :class:`~stremn.sessions.state.SavedSession`.

    The tensors are ``memory.*`` and ``previous`` if there are objects, and the same of a second view as
    ``1.memory.*`` and ``1.previous`` and so on.
    """

    key: ClassVar[str] = "stremn_session"
    writer: ClassVar[str] = "SegmentationSession.save"
    options: ClassVar[tuple[str, ...]] = (
        *("policy", "slots", "candidate_every", "certainty", "size", "sample", "seed", "postprocess"),
    )

    @classmethod
    def _facts_of(cls, session: "SegmentationSession") -> dict[str, Any]:
        return {
            "policy": session.policy.name,
            "slots": session.layout.slots,
            "layout": asdict(session.layout),
            "candidate_every": session.candidate_every,
            "certainty": session.certainty,
            "views": [asdict(view) for view in session.views],
            "postprocess": False if session.reach is None else session.reach,
            "object_ids": session.object_ids,
        }

    @classmethod
    def _tensors_of(cls, session: "SegmentationSession") -> dict[str, Tensor]:
        tensors = {}
        for view, state in enumerate(session.states):
            tensors[_prefix(view) + "previous"] = state.previous
            tensors |= {f"{_prefix(view)}memory.{name}": t for name, t in state.memory.tensors().items()}
        return tensors

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the session's constructor."""
        return super().settings | {"views": [View(**view) for view in self.facts["views"]]}

    def _fill(self, session: "SegmentationSession", changed: bool) -> None:
        session.object_ids = tuple(self.facts["object_ids"])
        if "previous" in self.tensors:
            session.states = tuple(
                self._state(_prefix(view), session, changed) for view in range(len(session.views))
            )

    def _state(self, prefix: str, session: "SegmentationSession", changed: bool) -> State:
        banks = f"{prefix}memory."
        memory = {
            name.removeprefix(banks): self.placed(
                name, session.runtime, changed and name.removeprefix(banks) not in EXACT
            )
            for name in self.tensors
            if name.startswith(banks)
        }
        previous = self.placed(f"{prefix}previous", session.runtime, False)
        return State(SlotMemory(MemoryLayout(**self.facts["layout"]), **memory), previous)


def _prefix(view: int) -> str:
    return f"{view}." if view else ""
