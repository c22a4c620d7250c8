"""A paused session as a file: everything but the weights, in safetensors."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.memory import MemoryLayout, SlotMemory
from stremn.models import ModelConfig
from stremn.models.tensorfile import one_line, read_tensors, write_tensors
from stremn.sessions.runtime import PRECISIONS, Runtime
from stremn.sessions.step import State
from stremn.sessions.view import View

if TYPE_CHECKING:
    from stremn.sessions.segmentation import SegmentationSession

__all__ = ["SavedSession", "fingerprint"]

KEY = "stremn_session"
VERSION = 2
SETTINGS = ("policy", "slots", "candidate_every", "certainty", "size", "sample", "seed", "postprocess")


@dataclass(frozen=True)
class SavedSession:
    """What a file holds.

    Attributes:
        facts: JSON values: settings, ids, position in the video, which model it is for.
        tensors: ``memory.*`` and ``previous`` if there are objects, the same of a second view as
            ``1.memory.*`` and ``1.previous`` and so on, and the state of the ``generator``.
    """

    key: ClassVar[str] = KEY
    writer: ClassVar[str] = "SegmentationSession.save"
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, session: "SegmentationSession") -> "SavedSession":
        """The session as it stands; shares its tensors."""
        tensors = {"generator": session.generator.get_state()}
        for view, state in enumerate(session.states):
            tensors[_prefix(view) + "previous"] = state.previous
            tensors |= {f"{_prefix(view)}memory.{name}": t for name, t in state.memory.tensors().items()}
        precision = next(name for name, dtype in PRECISIONS.items() if dtype == session.runtime.dtype)
        facts = {
            "version": VERSION,
            "model": fingerprint(session.model.config),
            "architecture": session.model.config.architecture,
            "policy": session.policy.name,
            "slots": session.layout.slots,
            "layout": asdict(session.layout),
            "candidate_every": session.candidate_every,
            "certainty": session.certainty,
            "size": session.size,
            "sample": session.sample,
            "seed": session.seed,
            "views": [asdict(view) for view in session.views],
            "postprocess": False if session.reach is None else session.reach,
            "precision": precision,
            "object_ids": session.object_ids,
            "frame_index": session.frame_index,
            "frame_size": session.frame_size,
        }
        return cls(facts, tensors)

    def write(self, path: Path | str) -> Path:
        """Write the file, beside and then renamed.

        Raises:
            StremnError: if it cannot be written.
        """
        path = Path(path)
        text = json.dumps(self.facts, default=int)
        write_tensors(
            path, self.tensors, self.key, json.dumps({"digest": _digest(text, self.tensors), "facts": text})
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
            whole = wrapped["digest"] == _digest(wrapped["facts"], tensors)
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
        views = [View(**view) for view in self.facts["views"]]
        return {name: self.facts[name] for name in SETTINGS} | {"views": views}

    @property
    def precision(self) -> str:
        """Name of the precision it ran in."""
        return self.facts["precision"]

    def check_model(self, config: ModelConfig) -> None:
        """Refuse a model that the state is not of.

        Raises:
            StremnError: if the configs differ.
        """
        if self.facts["model"] != fingerprint(config):
            raise StremnError(
                f"the saved session is of a model '{self.facts['architecture']}' with another "
                f"config than the given one ('{config.architecture}'): give the model that it was saved with"
            )

    def restore(self, session: "SegmentationSession") -> None:
        """Put the state into a session made with :attr:`settings`; shares no tensors with it."""
        session.object_ids = tuple(self.facts["object_ids"])
        session.frame_index = self.facts["frame_index"]
        size = self.facts["frame_size"]
        session.frame_size = None if size is None else (size[0], size[1])
        session.generator.set_state(self.tensors["generator"])
        if "previous" not in self.tensors:
            return
        changed = PRECISIONS[self.precision] != session.runtime.dtype
        # As in a step: tensors made under inference mode, so that both are treated alike by torch.compile.
        with torch.inference_mode():
            session.states = tuple(
                self._state(_prefix(view), session, changed) for view in range(len(session.views))
            )

    def _state(self, prefix: str, session: "SegmentationSession", changed: bool) -> State:
        banks = f"{prefix}memory."
        memory = {
            name.removeprefix(banks): self.placed(name, session.runtime, changed)
            for name in self.tensors
            if name.startswith(banks)
        }
        previous = self.tensors[f"{prefix}previous"].to(session.runtime.device, copy=True)
        return State(SlotMemory(MemoryLayout(**self.facts["layout"]), **memory), previous)

    def placed(self, name: str, runtime: Runtime, changed: bool) -> Tensor:
        """A copy of a tensor on the device, in the dtype of autocast if that ``changed`` since saving."""
        tensor = self.tensors[name]
        dtype = runtime.dtype if changed and tensor.is_floating_point() else tensor.dtype
        return tensor.to(runtime.device, dtype, copy=True)


def _prefix(view: int) -> str:
    return f"{view}." if view else ""


def fingerprint(config: ModelConfig) -> str:
    """A digest of a config, to tell whether a state is of a model."""
    return hashlib.sha256(config.to_json().encode()).hexdigest()


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
