"""Tables of segmentation: sessions over sequences; what memory has no part in is computed once for all."""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from stremn.data import PlayedFrame, Video, has_truth, new_objects, play, played_frames
from stremn.errors import StremnError
from stremn.memory import FUSIONS, NO_FUSION, MemoryHistory
from stremn.metrics import ScoreTable, SeenTable, SequenceScorer
from stremn.models import Segmenter
from stremn.sessions import MULTI_SCALE, ONE_VIEW, SegmentationSession
from stremn.sessions.settings import SegmentationSettings
from stremn.tables.engine import GROWING, Line, Row, Trial, named_rows, policy_rows, slot_rows
from stremn.tables.paper import TABLES
from stremn.tables.store import Result, ResultStore, digest_of
from stremn.tables.submission import Submission

__all__ = [
    "CONSTANT",
    "GROWING_EVERY",
    "HELD",
    "PlayedVideo",
    "Run",
    "SegmentVideos",
    "forget_lost_masks",
    "seen_lines",
    "segment_video",
    "table_rows",
]

GROWING_EVERY = 5
"""The growing memory takes a template every so many frames, as STM does (M9)."""

HELD, MASKS = "frames_in_memory_at_the_end", "masks_sha256"
"""Details of a result: frames by object id; digest of the masks where there is no score."""

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

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a result is found again by: the folder, the sequence, its files and how many are played."""
        files = digest_of([*self.video.frames, *self.video.masks])
        return {
            "root": str(self.root.resolve()),
            "sequence": self.name,
            "files": files,
            "frames": self.frames,
        }


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
    on_frame: Callable[[SegmentationSession, PlayedFrame, np.ndarray], None],
    least: int = 0,
) -> list[Run]:
    """Show a sequence to sessions of one set of weights, frame by frame, and score each.

    An object is given once, in the first frame whose annotation has it. Sessions of the same size and views
    share the encoded image, if they look at all of it.

    Args:
        video: frames and annotations; frames without annotation are segmented and not scored.
        sessions: one or more.
        on_frame: called with each session, the frame and its labels ``(H, W)``.
        least: frames to be played at least, see :func:`~stremn.data.play`.

    Returns:
        A run for each session.

    Raises:
        StremnError: if a file cannot be read or no annotation has an object.
    """
    runs = [Run(session, video) for session in sessions]
    groups: dict[object, list[Run]] = {}
    for run in runs:
        settings = run.session.settings
        own = () if settings.sees_all else (id(run),)
        groups.setdefault((settings.size, settings.views, *own), []).append(run)
    for frame in play(video, least):
        given = new_objects(frame.truth, runs[0].session.object_ids)
        for group in groups.values():
            first = group[0].session
            shared = first.settings.sees_all and (given is not None or first.object_ids)
            features = first.encode(frame.image) if shared else None
            for run in group:
                result = run.session.step(frame.image, given, features=features)
                if frame.truth is not None:
                    run.scorer.update(result.labels, frame.truth)
                run.history.add(result.frame_index, run.session.frames_in_memory())
                on_frame(run.session, frame, result.labels)
    if not runs[0].session.object_ids:
        raise StremnError(f"sequence '{video.name}': no annotation has an object")
    return runs


class SegmentVideos:
    """Runs trials over sequences, all that lack one at once.

    Args:
        models: by the digest of their weights.
        on_frames: called with a number of frames that were segmented, those of each trial counted.
        submissions: where the masks of each trial go, if the data has no truth and nothing is scored.
    """

    def __init__(
        self,
        models: Mapping[str, Segmenter],
        on_frames: Callable[[int], None] = lambda count: None,
        submissions: Mapping[Trial[SegmentationSettings], Submission] | None = None,
    ) -> None:
        self.models, self.on_frames, self.submissions = dict(models), on_frames, submissions or {}

    def __call__(
        self, item: PlayedVideo, trials: Sequence[Trial[SegmentationSettings]]
    ) -> Iterator[tuple[Trial[SegmentationSettings], Result[ScoreTable]]]:
        """The result of each trial on a sequence, see :func:`stremn.tables.engine.run`."""
        if not self.submissions and not has_truth(item.video):
            raise StremnError(f"sequence '{item.name}': has no mask to score against, leave it out")
        for weights in dict.fromkeys(trial.weights for trial in trials):
            yield from self._run(item, weights, [trial for trial in trials if trial.weights == weights])

    def _run(
        self, item: PlayedVideo, weights: str, trials: Sequence[Trial[SegmentationSettings]]
    ) -> Iterator[tuple[Trial[SegmentationSettings], Result[ScoreTable]]]:
        sessions: dict[SegmentationSession, Trial[SegmentationSettings]] = {}
        for trial in trials:
            session = SegmentationSession(self.models[weights], trial.settings)
            sessions[session] = trial
            # One copy of the weights, made ready to compute, serves all sessions.
            self.models[weights] = session.model

        def keep(session: SegmentationSession, frame: PlayedFrame, labels: np.ndarray) -> None:
            if self.submissions:
                self.submissions[sessions[session]].add(item.video, frame.path, labels)
            self.on_frames(1)

        runs = segment_video(item.video, [*sessions], keep, item.least)
        for trial, run in zip(trials, runs, strict=True):
            submission = self.submissions.get(trial)
            digest = submission and submission.digest(item.video)
            held = {str(key): slots for key, slots in run.session.frames_in_memory().items()}
            result = Result(
                item.name,
                trial.settings.to_dict(),
                item.frames,
                None if submission else ScoreTable(tuple(run.scorer.result())),
                tuple(np.trim_zeros(run.history.ages, "b").tolist()),
                {HELD: held} | ({MASKS: digest} if digest else {}),
            )
            yield trial, result


def forget_lost_masks(
    store: ResultStore[ScoreTable],
    items: Iterable[PlayedVideo],
    trials: Iterable[Trial[SegmentationSettings]],
    submissions: Mapping[Trial[SegmentationSettings], Submission],
) -> None:
    """Let the results be made again whose masks are not, or not any more, those that a submission holds.

    Args:
        store: with the results of earlier runs.
        items: the sequences.
        trials: of the rows.
        submissions: of each trial, where the data has no truth; else none.
    """
    for item, trial in product(items, trials):
        found = store.find(trial.key(item))
        if found is None:
            continue
        submission = submissions.get(trial)
        there = submission and submission.digest(item.video)
        if found.details.get(MASKS) != there or (submission and there is None):
            store.forget(trial.key(item))


def seen_lines(
    lines: Sequence[Line[ScoreTable]], videos: Iterable[Video], seen: Collection[str]
) -> list[Line[SeenTable]] | None:
    """Lines that tell objects of the categories of training from others; ``None`` if one has no category.

    Args:
        lines: with scores.
        videos: what they are of.
        seen: the categories of training.
    """
    known = {(video.name, key): name for video in videos for key, name in video.categories.items()}
    if not seen or any(
        (score.sequence, score.object_id) not in known
        for line in lines
        for s in line.scores
        for score in s.objects
    ):
        return None

    def told(result: Result[ScoreTable]) -> Result[SeenTable]:
        assert result.score is not None
        objects = result.score.objects
        table = SeenTable(objects, tuple(known[o.sequence, o.object_id] in seen for o in objects))
        return Result(**(vars(result) | {"score": table}))

    return [Line(line.row, tuple(tuple(map(told, run)) for run in line.results)) for line in lines]


def table_rows(
    number: int, base: Trial[SegmentationSettings], seeds: int = 3
) -> list[Row[SegmentationSettings]]:
    """The rows of a table.

    Args:
        number: of the table in the paper, 1 to 4 or 6.
        base: with the settings that the table does not vary.
        seeds: how many runs a policy that draws random numbers gets.

    Raises:
        StremnError: if there is no such table, or the weights lack what it compares.
    """
    if number not in TABLES:
        raise StremnError(
            f"there is no table {number} here: choose 1 (policies), 2 (slots), 3 (testing), "
            "4 (YouTube-VOS) or 6 (fusion)"
        )
    if number == 1:
        return policy_rows(base, seeds, candidate_every=GROWING_EVERY)
    if number == 2:
        return slot_rows(base, seeds, range(3, 8))
    if number == 4:
        views = {"STReMN": ONE_VIEW, "STReMN-MS": MULTI_SCALE}
        return named_rows(4, {name: base.changed(views=v) for name, v in views.items()}, seeds)
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
