"""Tables 1-3: sessions over sequences; those that differ in memory only share what it has no part in."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stremn.data import PlayedFrame, Video, has_truth, new_objects, play, played_frames
from stremn.errors import StremnError
from stremn.memory import FUSIONS, NO_FUSION, MemoryHistory
from stremn.metrics import ScoreTable, SequenceScorer
from stremn.models import Segmenter
from stremn.sessions import MULTI_SCALE, ONE_VIEW, SegmentationSession
from stremn.sessions.settings import SegmentationSettings
from stremn.tables.engine import GROWING, Row, Trial, named_rows, policy_rows, slot_rows
from stremn.tables.paper import TABLES
from stremn.tables.store import Result

__all__ = ["CONSTANT", "GROWING_EVERY", "PlayedVideo", "Run", "SegmentVideos", "segment_video", "table_rows"]

GROWING_EVERY = 5
"""The growing memory takes a template every so many frames, as STM does (M9)."""

CONSTANT = "first and latest frame"
"""The row of what STM calls constant memory."""


@dataclass(frozen=True)
class PlayedVideo:
    """A sequence of the data set at ``root`` as an item of a table.

    It is played until ``least`` frames were shown, see :func:`~stremn.data.play`.
    """

    video: Video
    root: Path
    least: int = 0

    @property
    def name(self) -> str:
        """Of the sequence."""
        return self.video.name

    @property
    def frames(self) -> int:
        """How many are played."""
        return played_frames(self.video, self.least)

    @property
    def facts(self) -> dict[str, Any]:
        """What a result is found again by: the folder, the sequence and how many frames are played."""
        return {"root": str(self.root.resolve()), "sequence": self.name, "frames": self.frames}


class Run:
    """One session over one sequence, with the scorer of its labels and the history of its memory."""

    def __init__(self, session: SegmentationSession, video: Video) -> None:
        # Only YouTube-VOS says where objects join, and scores them from there.
        self.scorer = SequenceScorer(video.name, from_given=bool(video.joins))
        self.session = session
        self.history = MemoryHistory(limit=sys.maxsize)
        session.reset()


def segment_video(
    video: Video,
    sessions: Sequence[SegmentationSession],
    on_frame: Callable[[PlayedFrame, np.ndarray], None],
    least: int = 0,
) -> list[Run]:
    """Show a sequence to sessions of one set of weights, frame by frame, and score each.

    An object is given once, in the first frame whose annotation has it. Sessions of the same size and views
    share the encoded image.

    Args:
        video: frames and annotations; frames without annotation are segmented and not scored.
        sessions: one or more.
        on_frame: called with the frame and the labels ``(H, W)`` of each session.
        least: frames to be played at least, see :func:`~stremn.data.play`.

    Returns:
        A run for each session.

    Raises:
        StremnError: if a file cannot be read or no annotation has an object.
    """
    runs = [Run(session, video) for session in sessions]
    groups: dict[object, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.session.settings.size, run.session.settings.views), []).append(run)
    for frame in play(video, least):
        given = new_objects(frame.truth, runs[0].session.object_ids)
        for group in groups.values():
            first = group[0].session
            features = first.encode(frame.image) if given is not None or first.object_ids else None
            for run in group:
                result = run.session.step(frame.image, given, features=features)
                if frame.truth is not None:
                    run.scorer.update(result.labels, frame.truth)
                run.history.add(result.frame_index, run.session.frames_in_memory())
                on_frame(frame, result.labels)
    if not runs[0].session.object_ids:
        raise StremnError(f"sequence '{video.name}': no annotation has an object")
    return runs


class SegmentVideos:
    """Runs trials over sequences, all that lack one at once.

    Args:
        models: by the digest of their weights.
        on_frames: called with a number of frames that were segmented, those of each trial counted.
    """

    def __init__(
        self, models: Mapping[str, Segmenter], on_frames: Callable[[int], None] = lambda count: None
    ) -> None:
        self.models, self.on_frames = dict(models), on_frames

    def __call__(
        self, item: PlayedVideo, trials: Sequence[Trial[SegmentationSettings]]
    ) -> Iterator[tuple[Trial[SegmentationSettings], Result[ScoreTable]]]:
        """The result of each trial on a sequence, see :func:`stremn.tables.engine.run`."""
        for weights in dict.fromkeys(trial.weights for trial in trials):
            yield from self._run(item, weights, [trial for trial in trials if trial.weights == weights])

    def _run(
        self, item: PlayedVideo, weights: str, trials: Sequence[Trial[SegmentationSettings]]
    ) -> Iterator[tuple[Trial[SegmentationSettings], Result[ScoreTable]]]:
        sessions = []
        for trial in trials:
            sessions.append(SegmentationSession(self.models[weights], trial.settings))
            # One copy of the weights, made ready to compute, serves all sessions.
            self.models[weights] = sessions[-1].model
        runs = segment_video(item.video, sessions, lambda frame, labels: self.on_frames(1), item.least)
        for trial, run in zip(trials, runs, strict=True):
            if not has_truth(item.video):
                raise StremnError(f"sequence '{item.name}': has no mask to score against, leave it out")
            held = {str(key): slots for key, slots in run.session.frames_in_memory().items()}
            result = Result(
                item.name,
                trial.settings.to_dict(),
                item.frames,
                ScoreTable(tuple(run.scorer.result())),
                tuple(np.trim_zeros(run.history.ages, "b").tolist()),
                {"frames_in_memory_at_the_end": held},
            )
            yield trial, result


def table_rows(
    number: int, base: Trial[SegmentationSettings], seeds: int = 3
) -> list[Row[SegmentationSettings]]:
    """The rows of a table.

    Args:
        number: of the table in the paper, 1 to 3 or 6.
        base: with the settings that the table does not vary.
        seeds: how many runs a policy that draws random numbers gets.

    Raises:
        StremnError: if there is no such table, or the weights lack what it compares.
    """
    if number not in TABLES:
        raise StremnError(
            f"there is no table {number} here: choose 1 (policies), 2 (slots), 3 (testing) or 6 (fusion)"
        )
    if number == 1:
        return policy_rows(base, seeds, candidate_every=GROWING_EVERY)
    if number == 2:
        return slot_rows(base, seeds, range(3, 8))
    if number == 6:
        return _fusion_rows(base, seeds)
    # The paper has no rows without post-processing, which it always uses; we show what it is worth.
    single = base.changed(views=ONE_VIEW, postprocess=False)
    multi = single.changed(views=MULTI_SCALE)
    trials = {
        "single scale": single,
        "single scale, post-processed": single.changed(postprocess=True),
        "multi-scale": multi,
        "multi-scale, post-processed": multi.changed(postprocess=True),
        GROWING: single.changed(policy="every-nth", candidate_every=GROWING_EVERY),
        CONSTANT: single.changed(policy="first-and-last"),
    }
    return named_rows(3, trials, seeds)


def _fusion_rows(base: Trial[SegmentationSettings], seeds: int) -> list[Row[SegmentationSettings]]:
    """First what the weights were trained with, then nothing, as the paper compares; then the rest."""
    own = base.settings.fusion
    if own == NO_FUSION:
        raise StremnError(
            "table 6 needs weights with a fusion module: give --model a file that was trained with "
            "'config: {fusion: least-similar}' in its recipe"
        )
    trials = {}
    for targets in dict.fromkeys([own, NO_FUSION, *FUSIONS]):
        name = "without fusion" if targets == NO_FUSION else f"with fusion, {targets}"
        trials[name] = base.changed(fusion=targets)
    return named_rows(6, trials, seeds)
