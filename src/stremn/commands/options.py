"""Options that several commands share, each declared once."""

from typing import Annotated

import typer

from stremn.errors import StremnError
from stremn.memory import get_policy
from stremn.sessions import SegmentationSession

__all__ = [
    "CandidateEvery",
    "Device",
    "Model",
    "Policy",
    "Precision",
    "Seed",
    "Size",
    "Slots",
    "describe_session",
    "open_session",
]

MOST_PIXELS = 8192
"""A shorter side beyond it is a slip of the finger, and would ask for more memory than there is."""

Model = Annotated[str, typer.Option(help="Name of a model that ships with weights, or a weights file.")]
Policy = Annotated[
    str | None, typer.Option(help="Which template is replaced; default is the learned choice.")
]
Slots = Annotated[int | None, typer.Option(help="K, slots of memory per object, first and latest included.")]
Size = Annotated[
    int | None, typer.Option(help="Internal resolution, the shorter side in pixels; 0 is the video's own.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
CandidateEvery = Annotated[
    int | None, typer.Option(help="Every how many frames a template competes for a chosen slot.")
]
Seed = Annotated[int, typer.Option(help="Of the random policies.")]


def open_session(
    model: str,
    policy: str | None,
    slots: int | None,
    size: int | None,
    device: str,
    precision: str,
    candidate_every: int | None,
    seed: int,
) -> SegmentationSession:
    """A session as the shared options ask for it.

    Raises:
        StremnError: naming the option at fault; settings are refused before weights are read.
    """
    if policy is not None:
        get_policy(policy)
    if slots is not None and slots < 2:
        raise StremnError(f"--slots {slots} is too few: at least 2, for the first and for the latest frame")
    if size is not None and not 0 <= size <= MOST_PIXELS:
        raise StremnError(
            f"--size {size} is not from 0 to {MOST_PIXELS}: give pixels of the shorter side, or 0 for the "
            "video's own"
        )
    if candidate_every is not None and candidate_every < 1:
        raise StremnError(f"--candidate-every {candidate_every} is too few: give 1 for every frame, or more")
    return SegmentationSession(
        model,
        policy=policy,
        slots=slots,
        size=size,
        device=device,
        precision=precision,
        candidate_every=candidate_every,
        seed=seed,
    )


def describe_session(session: SegmentationSession, model: str) -> dict[str, object]:
    """The settings of a session, for ``summary.json`` and reports."""
    return {
        "model": model,
        "policy": session.policy.name,
        "slots": session.layout.slots,
        "candidate_every": session.candidate_every,
        "size": session.size,
        "device": str(session.runtime.device),
        "precision": str(session.runtime.dtype).removeprefix("torch."),
        "seed": session.seed,
    }
