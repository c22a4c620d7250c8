"""Trials over sequences: several sessions see each frame at once and share what memory has no part in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stremn import __version__
from stremn.data import PlayedFrame, Video, new_objects, play, played_frames
from stremn.errors import StremnError
from stremn.memory import MemoryHistory
from stremn.metrics import SequenceScorer
from stremn.models import Segmenter
from stremn.runtime import Runtime
from stremn.sessions import SegmentationSession
from stremn.tables.rows import Trial
from stremn.tables.store import Result, ResultStore, key_of, weights_digest

__all__ = ["Setting", "frames_to_play", "run_trials"]


@dataclass(frozen=True)
class Setting:
    """What is the same for all trials.

    Attributes:
        model: with the one set of weights that every trial uses.
        root: of the data set, as part of a result's identity.
        least: frames to be played at least, see :func:`~stremn.data.segmentation.playing.play`.
        device: of the sessions.
        precision: of the sessions.
    """

    model: Segmenter
    root: Path
    least: int = 0
    device: str = "auto"
    precision: str = "auto"

    @cached_property
    def weights(self) -> str:
        """Digest of the weights."""
        return weights_digest(self.model)

    @cached_property
    def runtime(self) -> tuple[str, str]:
        """Device and dtype in which the sessions run here."""
        runtime = Runtime.choose(self.device, self.precision)
        return runtime.device.type, str(runtime.dtype).removeprefix("torch.")

    def key(self, trial: Trial, sequence: Video) -> str:
        """Of the trial's result on a sequence."""
        return key_of(
            {
                "trial": trial.settings(),
                "weights": self.weights,
                "root": str(self.root.resolve()),
                "sequence": [sequence.name, played_frames(sequence, self.least)],
                "runtime": self.runtime,
                "version": __version__,
            }
        )


def frames_to_play(
    setting: Setting, trials: Iterable[Trial], sequences: Iterable[Video], store: ResultStore[Result]
) -> int:
    """Frames of all runs that are not in the store yet, each trial's counted on its own."""
    trials = list(trials)
    return sum(
        played_frames(sequence, setting.least) * len(store.missing(_keys(setting, trials, sequence)))
        for sequence in sequences
    )


def run_trials(
    setting: Setting,
    trials: Iterable[Trial],
    sequences: Iterable[Video],
    store: ResultStore[Result],
    on_frame: Callable[[], None] = lambda: None,
) -> dict[Trial, list[Result]]:
    """Results of every trial on every sequence; what the store has is not run again.

    All trials that lack a sequence see it together, frame by frame. Those of the same size and views share
    the encoded image.

    Args:
        setting: what they have in common.
        trials: the sessions to be.
        sequences: the data.
        store: where results are found and kept.
        on_frame: called for every frame of every trial.

    Raises:
        StremnError: if a file cannot be read or written, or a sequence has no object.
    """
    trials = list(dict.fromkeys(trials))
    sessions: dict[Trial, SegmentationSession] = {}
    results: dict[Trial, list[Result]] = {trial: [] for trial in trials}
    for sequence in sequences:
        keys = _keys(setting, trials, sequence)
        missing = store.missing(keys)
        for trial in missing:
            if trial not in sessions:
                sessions[trial] = _opened(setting, trial, next(iter(sessions.values()), None))
        if missing:
            for result in _run_sequence(setting, {t: sessions[t] for t in missing}, sequence, on_frame):
                store.add(result)
        for trial, key in keys.items():
            kept = store.find(key)
            assert kept is not None
            results[trial].append(kept)
    return results


def _keys(setting: Setting, trials: list[Trial], sequence: Video) -> dict[Trial, str]:
    return {trial: setting.key(trial, sequence) for trial in trials}


def _opened(setting: Setting, trial: Trial, other: SegmentationSession | None) -> SegmentationSession:
    session = trial.open(setting.model, setting.device, setting.precision)
    if other is not None:
        # A model has no state: one copy of the weights serves all sessions.
        session.model = other.model
    return session


class _Run:
    """One session over one sequence."""

    def __init__(self, session: SegmentationSession, name: str) -> None:
        self.session, self.scorer, self.history = session, SequenceScorer(name), MemoryHistory(limit=2)
        session.reset()


def _run_sequence(
    setting: Setting,
    sessions: dict[Trial, SegmentationSession],
    sequence: Video,
    on_frame: Callable[[], None],
) -> list[Result]:
    runs = {trial: _Run(session, sequence.name) for trial, session in sessions.items()}
    groups: dict[object, list[_Run]] = {}
    for trial, run in runs.items():
        groups.setdefault((trial.size, trial.views), []).append(run)
    frames = 0
    for moment in play(sequence, setting.least):
        frames += 1
        for group in groups.values():
            _show(moment, group, on_frame)
    if not next(iter(sessions.values())).object_ids:
        raise StremnError(f"sequence '{sequence.name}': no annotation has an object")
    return [_result(setting, trial, run, sequence, frames) for trial, run in runs.items()]


def _show(moment: PlayedFrame, group: list[_Run], on_frame: Callable[[], None]) -> None:
    first = group[0].session
    given = new_objects(moment.truth, first.object_ids)
    features = first.encode(moment.image) if given is not None or first.object_ids else None
    for run in group:
        result = run.session.step(moment.image, given, features=features)
        if moment.truth is not None:
            run.scorer.update(result.labels, moment.truth)
        run.history.add(result.frame_index, run.session.frames_in_memory())
        on_frame()


def _result(setting: Setting, trial: Trial, run: _Run, sequence: Video, frames: int) -> Result:
    ages = np.trim_zeros(run.history.ages, "b")
    held = {str(key): slots for key, slots in run.session.frames_in_memory().items()}
    return Result(
        key=setting.key(trial, sequence),
        sequence=sequence.name,
        settings=trial.settings(),
        frames=frames,
        scores=tuple(run.scorer.result()),
        ages=tuple(ages.tolist()),
        held=held,
    )
