"""Time per step and memory of a long rollout of a prediction model, by ``PredictionSession.rollout()``.

    python benchmarks/rollout.py

A few real frames are observed, and then the model goes on from its own predictions. The median time of the
last 50 steps is compared with that of steps 26-75 of the same run. Over a long run that ratio also holds the
drift of the machine, so that a second rollout, the control, begins 76 steps before the end: while the old one
does its last 50 steps, the young one does its own steps 26-75, in turns. Their ratio is free of the drift.
"""

import argparse
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch

import common
from constant_memory import EARLY, MB, WINDOW, Trace, median_ms, peak_resident, summary
from stremn import PredictionSession

COLUMNS = ("model", "steps", "ms a step, steps 26-75", "last 50 steps", "ratio", "against a young rollout")
COLUMNS += ("peak memory since step 50", "state at step 50 → end")


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    record = common.describe_run(args.threads, args.clock)
    network, weights = common.open_model(args.model)
    session = PredictionSession(network, size=0, precision=args.precision)
    source = args.source or common.default_source()[0]
    for frame in frames(source, args.observe, args.side):
        session.observe(frame)
    old, young = run(session, args.steps, common.CLOCKS[args.clock])
    record["settings"] = {
        "model": Path(args.model).name,
        "weights": weights,
        "precision": str(session.runtime.dtype).removeprefix("torch."),
        "source": source.name,
        "observe": args.observe,
        "side": args.side,
    }
    record["windows"] = summary(old)["windows"]
    record["results"] = results(old, young)
    common.publish("rollout", args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000, help="frames that are predicted, at least 152")
    parser.add_argument("--observe", type=int, default=10, help="frames that are observed before")
    parser.add_argument("--source", type=Path, help="folder of frames or video")
    parser.add_argument(
        "--side", type=int, default=64, help="frames are scaled to squares of it, and to grey"
    )
    parser.add_argument("--model", default="stremn-predict-mnist")
    parser.add_argument("--precision", default="auto")
    common.add_options(parser)
    args = parser.parse_args()
    if args.steps < 2 * EARLY.stop:
        parser.error(f"--steps must be at least {2 * EARLY.stop}")
    return args


def frames(source: Path, count: int, side: int) -> Iterator[np.ndarray]:
    """The first frames of a source, as grey squares."""
    with tempfile.TemporaryDirectory() as folder:
        files = common.unpack(source, Path(folder), count)
        for frame in islice(common.forth_and_back(files), count):
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            yield cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


def run(session: PredictionSession, steps: int, clock: Any) -> tuple[Trace, Trace]:
    """The whole rollout, and the young one beside its end."""
    process = psutil.Process()
    old, young = (session.rollout(), Trace()), (session.rollout(), Trace())
    for step in range(steps):
        turns = [old] if step < steps - EARLY.stop else [old, young]
        for rollout, trace in turns if step % 2 else reversed(turns):
            start = clock()
            next(rollout)
            trace.seconds.append(clock() - start)
            trace.resident.append(process.memory_info().rss)
            trace.peak.append(peak_resident(trace.resident[-1]))
            trace.state.append(rollout.state_bytes)
            trace.templates.append(sum(index >= 0 for index in rollout.frames_in_memory()))
        if step % 500 == 499:
            print(f"step {step + 1} of {steps}: {median_ms(old[1].seconds[-WINDOW:])} ms", flush=True)
    return old[1], young[1]


def results(old: Trace, young: Trace) -> dict[str, Any]:
    """The figures: last window against steps 26-75, its own and the young rollout's."""
    early, late = median_ms(old.seconds[EARLY.start : EARLY.stop]), median_ms(old.seconds[-WINDOW:])
    beside = median_ms(young.seconds[EARLY.start : EARLY.stop])
    return {
        "steps": len(old.seconds),
        "ms_steps_26_to_75": early,
        "ms_last_50_steps": late,
        "time_ratio": round(late / early, 4),
        "ms_young_beside_last_50": beside,
        "time_ratio_to_young": round(late / beside, 4),
        "state_bytes_at_step_50": old.state[50],
        "state_bytes_at_end": old.state[-1],
        "state_sizes": sorted(set(old.state)),
        "templates_at_end": old.templates[-1],
        "resident_bytes_at_step_50": old.resident[50],
        "resident_growth_bytes": old.resident[-1] - old.resident[50],
        "peak_bytes": old.peak[-1],
        "peak_growth_bytes": old.peak[-1] - old.peak[50],
    }


def table(record: dict[str, Any]) -> str:
    r, settings = record["results"], record["settings"]
    cells = (
        settings["model"],
        r["steps"],
        f"{r['ms_steps_26_to_75']:.2f}",
        f"{r['ms_last_50_steps']:.2f}",
        f"**{r['time_ratio']:.3f}**",
        f"**{r['time_ratio_to_young']:.3f}**",
        f"{r['peak_growth_bytes'] / MB:+.1f} MB, to {r['peak_bytes'] / MB:.0f} MB",
        f"{r['state_bytes_at_step_50']} → {r['state_bytes_at_end']} bytes",
    )
    rows = ["| " + " | ".join(map(str, row)) + " |" for row in (COLUMNS, cells)]
    rows.insert(1, "|---" * len(COLUMNS) + "|")
    note = (
        f"{settings['weights']} weights, {settings['precision']}, {settings['side']} pixels square, grey, "
        f"{settings['observe']} frames of {settings['source']} observed."
    )
    return "\n".join([*rows, "", note])


if __name__ == "__main__":
    main()
