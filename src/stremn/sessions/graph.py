"""The whole step of a segmentation session as one ONNX graph: frame and state in, logits and state out.

Shapes are fixed. How many objects there are is a matter of occupancy: the graph has places for so many, and
is told at each frame which are followed and which are given anew. :class:`stremn.sessions.OnnxSession` runs
it.
"""

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stremn.errors import StremnError
from stremn.files.outputs import replacing
from stremn.memory import NO_FUSION, Rules, SlotMemory, surely_visible
from stremn.memory.slots import when
from stremn.models import SegmentationState, Segmenter
from stremn.sessions.confidence import CHECK_EVERY, check
from stremn.sessions.inputs import internal_size
from stremn.sessions.onnx import KEY, NEXT, VERSION
from stremn.sessions.segmentation import SegmentationSession
from stremn.sessions.settings import SegmentationSettings
from stremn.sessions.views import is_plain

__all__ = ["Step", "export_onnx"]

ABSENT = -1e4
"""Logit of an object that is not followed: in float32 its probability is exactly zero."""

OPSET = 18

ASKED = ("frame", "frame_index", "followed", "new", "given")
"""What the graph is given at each frame; all other inputs are the state."""


class Step(nn.Module):
    """What a session computes at a frame, for a fixed number of objects, any of which may be absent.

    Args:
        model: made for inference.
        rules: of the memory.
        names: of the memory's tensors, in the order in which they are given.
    """

    def __init__(self, model: Segmenter, rules: Rules, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.rules, self.names = model, rules, names

    def forward(
        self,
        frame: Tensor,
        frame_index: Tensor,
        followed: Tensor,
        new: Tensor,
        given: Tensor,
        before: Tensor,
        previous: Tensor,
        confidence: Tensor,
        *memory: Tensor,
    ) -> tuple[Tensor, ...]:
        """Take a frame.

        Args:
            frame: RGB ``(h, w, 3)`` uint8 at the internal size.
            frame_index: of the frame ``()`` int64, larger than ``before``.
            followed: objects known since an earlier frame ``(O,)`` bool.
            new: objects whose masks are given with this frame ``(O,)`` bool.
            given: their masks, and zeros for the others ``(O, 1, h', w')`` in [0, 1], at the logits' size.
            before: index of the frame before ``()`` int64.
            previous: probabilities after it ``(O, 1, h', w')``.
            confidence: in each object after it ``(O,)``.
            *memory: the slots after it.

        Returns:
            Logits of the followed objects ``(O, 1, h', w')``, very low for the others; then the state for the
            next frame in the order in which it came.
        """
        model, rules = self.model, self.rules
        # The memory is written in place, and what a caller gives is not ours.
        tensors = {name: tensor.clone() for name, tensor in zip(self.names, memory, strict=True)}
        features = model.encode_image(frame.permute(2, 0, 1).unsqueeze(0).float() / 255)
        here, fresh = (of.view(-1, 1, 1, 1) for of in (followed, new))
        state = SegmentationState(SlotMemory(rules.layout, **tensors), previous * here)
        logits = torch.where(here, model.segment(features, state), ABSENT)
        left = 1 - given.sum(dim=0, keepdim=True).clamp(0, 1)
        found = torch.where(fresh, given, model.aggregate(logits) * left)
        template = model.encode_template(features, found)
        present = followed & surely_visible(found, rules.certainty) if rules.certainty else followed
        turn: Any = rules.candidate  # of numbers, here of tensors
        after = state.memory.update(
            template,
            frame_index,
            rules.policy,
            candidate=turn(frame_index, before),
            present=present,
        )

        def checked(confidence: Tensor, found: Tensor) -> Tensor:
            return check(model, features, SegmentationState(after, found), confidence)

        due = frame_index // CHECK_EVERY > before // CHECK_EVERY
        sure = torch.where(new, 1.0, when(due, checked, confidence, confidence, found))
        kept = after.begin(template, frame_index, new).tensors()
        return (logits, frame_index.clone(), found, sure, *(kept[name] for name in self.names))


def export_onnx(
    model: Segmenter | Path | str,
    path: Path | str,
    *,
    frame_size: tuple[int, int],
    objects: int = 1,
    settings: SegmentationSettings | None = None,
    **changes: Any,
) -> Path:
    """Write the step of a session as one ONNX file, which :class:`~stremn.sessions.OnnxSession` runs.

    Args:
        model: a model, or what :func:`stremn.from_pretrained` takes.
        path: of the file; one that is there is replaced when the new one is complete.
        frame_size: (H, W) of the frames of the videos that it is for.
        objects: most objects that can be followed at a time; the graph computes as much for fewer.
        settings: how to follow; ``None`` is what the model says. The graph is for float32.
        **changes: fields of :class:`SegmentationSettings`, in place of those of ``settings``.

    Returns:
        The file.

    Raises:
        StremnError: if the packages of ``stremn[onnx]`` are missing, the settings need what no graph can do,
            or the file cannot be written.
    """
    if not 1 <= objects <= 255:
        raise StremnError(f"a graph for {objects} objects: give a number from 1 to 255")
    # A program of torch.compile can do what a graph can, so the same settings are refused.
    fixed = {"device": "cpu", "precision": "fp32", "compile": "eager"}
    session = SegmentationSession(model, settings, **(changes | fixed))
    rules, chosen = session.rules, session.settings
    if rules.fusion != NO_FUSION or not is_plain(chosen.views) or chosen.views[0].scale != 1:
        raise StremnError("a graph has one view of the frame and no fusion: leave out what asks for them")
    assert chosen.size is not None
    size = internal_size(frame_size, chosen.size, session.model.stride)
    facts = {
        "version": VERSION,
        "frame_size": frame_size,
        "shorter": chosen.size,
        "stride": session.model.stride,
        "architecture": session.model.config.architecture,
        "policy": chosen.policy,
        "slots": chosen.slots,
        "candidate_every": chosen.candidate_every,
        "certainty": chosen.certainty,
    }
    proto = _graph(session.model, rules, size, objects)
    proto.metadata_props.add(key=KEY, value=json.dumps(facts))
    with replacing(Path(path)) as part:
        part.write_bytes(proto.SerializeToString())
    return Path(path)


def _graph(model: Segmenter, rules: Rules, size: tuple[int, int], objects: int) -> Any:
    """The step as an ONNX model without metadata."""
    try:
        import onnxscript  # noqa: F401
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError as error:
        raise StremnError(
            "to write ONNX files install what that needs: pip install 'stremn[onnx]'"
        ) from error
    # Under no_grad, not inference_mode, whose tensors cannot be traced.
    with torch.no_grad(), _quiet():
        features = model.encode_image(torch.zeros(1, 3, *size))
        masks = torch.zeros(objects, 1, *features.logit_size)
        template = model.encode_template(features, masks)
        memory = SlotMemory.of_first_frame(template, 0, rules.layout).tensors()
        none, index = torch.zeros(objects, dtype=torch.bool), torch.tensor(0)
        asked = (torch.zeros(*size, 3, dtype=torch.uint8), index, none, none.clone(), masks)
        state = {"before": index.clone(), "previous": masks.clone(), "confidence": masks[:, 0, 0, 0].clone()}
        state |= {f"memory.{name}": torch.zeros_like(tensor) for name, tensor in memory.items()}
        step = Step(model, rules, tuple(memory)).eval()
        # Not strict is tried first otherwise, and cannot take the shapes in a branch as fixed.
        program = torch.onnx.export(
            torch.export.export(step, (*asked, *state.values()), strict=True),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=[*ASKED, *state],
            output_names=["logits", *(NEXT + name for name in state)],
        )
        assert program is not None
        # Notes on where each node comes from, with paths of this machine.
        ClearMetadataAndDocStringPass()(program.model)
        program.model.metadata_props.clear()
        return program.model_proto


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep what PyTorch's exporter has to say of its own insides from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
