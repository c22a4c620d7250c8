"""Time per frame and memory of a long stream: the learned policy beside the growing memory of STM.

    python benchmarks/constant_memory.py [--engine onnx]

Each policy runs in a process of its own, so that its resident memory is its own. The frames are read from
disk one by one, forth and back, and handed to the processes in turn: the policies are interleaved frame by
frame, and whatever else the machine does meets them alike. Another process, the control, runs the learned
policy too, over the last 3,000 frames, but begins again every 76 of them, so that in each of the last 50
frames of the stream a session at its own frame 26-75 is timed next to the old one; their ratio is free of the
machine's drift. A graph for ONNX Runtime has one policy, the learned one.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import common
from stremn import SegmentationSession, StremnError
from stremn.files.images import read_image
from stremn.sessions import OnnxSession, export_onnx

WINDOW = 50
EARLY = range(26, 76)
CONTROL = 3000
MB = 2**20


@dataclass(frozen=True)
class Lane:
    """One session in one process."""

    name: str
    policy: str
    frames: int
    first: int = 0
    restart: int = 0


@dataclass
class Trace:
    """What was measured at each frame."""

    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    templates: list[int] = field(default_factory=list)


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        source, mask = (args.source, args.mask) if args.source else common.default_source()
        files = common.unpack(source, Path(folder), args.clip)
        lanes = [
            Lane("learned", "learned", args.frames),
            Lane("control", "learned", args.frames, max(0, args.frames - CONTROL), restart=EARLY.stop),
        ]
        if args.engine == "torch":
            lanes.insert(1, Lane("every-nth", "every-nth", min(args.growing_frames, args.frames)))
        record = common.describe_run(args.threads, args.clock)
        settings, traces = stream(lanes, files, common.first_mask(mask), args)
    record["settings"] = settings | {"source": source.name, "clip_frames": len(files), "size": args.size}
    record["lanes"] = {lane.name: asdict(lane) | summary(traces[lane.name]) for lane in lanes}
    record["results"] = results(traces, args.frames)
    args.out.mkdir(parents=True, exist_ok=True)
    plot(traces, args.out / f"{args.name}.png", record)
    common.publish(args.name, args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=3000, help="length of the stream, at least 126")
    parser.add_argument(
        "--growing-frames", type=int, default=600, help="where every-nth stops: its time grows without bound"
    )
    parser.add_argument("--source", type=Path, help="folder of frames or video, with --mask")
    parser.add_argument("--mask", type=Path, help="mask of the source's first frame")
    parser.add_argument("--clip", type=int, default=200, help="most frames of the source that are played")
    parser.add_argument("--size", type=int, default=240, help="internal resolution, the shorter side")
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--precision", default="auto", help="of the torch engine")
    parser.add_argument("--engine", choices=["torch", "onnx"], default="torch")
    parser.add_argument(
        "--name", default="constant_memory", help="of the record, and of its marks in results.md"
    )
    common.add_options(parser)
    args = parser.parse_args()
    if min(args.frames, args.growing_frames) < EARLY.stop + WINDOW:
        parser.error(f"--frames and --growing-frames must be at least {EARLY.stop + WINDOW}")
    if (args.source is None) != (args.mask is None):
        parser.error("--source and --mask go together")
    return args


def stream(
    lanes: list[Lane], files: list[Path], mask: np.ndarray, args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Trace]]:
    """Hand every frame to every lane that still runs, one after the other, in rotating order."""
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    traces = {lane.name: Trace() for lane in lanes}
    settings: dict[str, Any] = {}
    for lane in lanes:
        ends[lane.name], far = context.Pipe()
        context.Process(target=work, args=(far, lane.policy, files[0], args), daemon=True).start()
        far.close()
        settings = receive(ends[lane.name], lane.name)
    for frame_index, frame in zip(range(args.frames), common.forth_and_back(files), strict=False):
        active = [lane for lane in lanes if lane.first <= frame_index < lane.frames]
        turn = frame_index % len(active)
        for lane in active[turn:] + active[:turn]:
            first = frame_index == lane.first or restarts(lane, frame_index)
            ends[lane.name].send((frame, mask if first else None))
            for key, value in receive(ends[lane.name], lane.name).items():
                getattr(traces[lane.name], key).append(value)
            if frame_index == lane.frames - 1:
                ends[lane.name].send(None)
        if frame_index % 100 == 99:
            report(frame_index + 1, args.frames, traces, [lane.name for lane in active])
    return settings, traces


def restarts(lane: Lane, frame_index: int) -> bool:
    """Counted back from the end, so that the last window is the lane's own early window."""
    return lane.restart > 0 and (lane.frames - frame_index) % lane.restart == 0


def receive(end: Connection, name: str) -> dict[str, Any]:
    try:
        answer = end.recv()
    except EOFError:
        sys.exit(f"the process of '{name}' ended early")
    if isinstance(answer, str):
        sys.exit(f"{name}: {answer}")
    return answer


def work(end: Connection, policy: str, frame: Path, args: argparse.Namespace) -> None:
    """The body of a process: a session that answers every frame with what it cost."""
    torch.set_num_threads(args.threads)
    clock = common.CLOCKS[args.clock]
    process = psutil.Process()
    try:
        network, weights = common.open_model(args.model)
        session: SegmentationSession | OnnxSession
        if args.engine == "torch":
            session = SegmentationSession(network, policy=policy, size=args.size, precision=args.precision)
            dtype = str(session.runtime.dtype).removeprefix("torch.")
        else:
            shape = read_image(frame).pixels.shape[:2]
            with tempfile.TemporaryDirectory() as folder:
                path = export_onnx(network, f"{folder}/step.onnx", frame_size=shape, size=args.size)
                session, dtype = OnnxSession(path, threads=args.threads), "float32, ONNX Runtime"
        end.send({"model": Path(args.model).name, "weights": weights, "precision": dtype})
        while (message := end.recv()) is not None:
            frame, mask = message
            if mask is not None:
                session.reset()
            start = clock()
            session.step(frame, mask)
            seconds = clock() - start
            resident = process.memory_info().rss
            held = session.frames_in_memory().values()
            end.send(
                {
                    "seconds": seconds,
                    "resident": resident,
                    "peak": peak_resident(resident),
                    "state": session.state_bytes,
                    "templates": max(sum(index >= 0 for index in slots) for slots in held),
                }
            )
    except StremnError as error:
        end.send(str(error))


def peak_resident(now: int) -> int:
    """Largest resident memory of this process so far; where the system does not say, the present one."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return now
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), now)


def report(done: int, frames: int, traces: dict[str, Trace], names: list[str]) -> None:
    parts = [f"{n} {1000 * statistics.median(traces[n].seconds[-WINDOW:]):.1f} ms" for n in names]
    print(f"frame {done} of {frames}: {', '.join(parts)}", flush=True)


def median_ms(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 3)


def summary(trace: Trace) -> dict[str, Any]:
    """Medians of windows of 50 frames, and memory at the end of each."""
    starts = range(0, len(trace.seconds) - WINDOW + 1, WINDOW)
    windows = [
        {
            "last_frame": start + WINDOW - 1,
            "ms": median_ms(trace.seconds[start : start + WINDOW]),
            "resident_bytes": trace.resident[start + WINDOW - 1],
            "peak_bytes": trace.peak[start + WINDOW - 1],
            "state_bytes": trace.state[start + WINDOW - 1],
            "templates": trace.templates[start + WINDOW - 1],
        }
        for start in starts
    ]
    return {"windows": windows}


def results(traces: dict[str, Trace], frames: int) -> dict[str, Any]:
    """The figures: last window against frames 26-75, and memory since frame 50."""
    figures: dict[str, Any] = {}
    for name, trace in traces.items():
        if name == "control":
            continue
        early = median_ms(trace.seconds[EARLY.start : EARLY.stop])
        late = median_ms(trace.seconds[-WINDOW:])
        figures[name] = {
            "frames": len(trace.seconds),
            "ms_frames_26_to_75": early,
            "ms_last_50_frames": late,
            "time_ratio": round(late / early, 4),
            "state_bytes_at_frame_50": trace.state[50],
            "state_bytes_at_end": trace.state[-1],
            "resident_bytes_at_frame_50": trace.resident[50],
            "resident_growth_bytes": trace.resident[-1] - trace.resident[50],
            "peak_growth_bytes": max(trace.peak) - max(trace.peak[:51]),
            "templates_at_end": trace.templates[-1],
        }
    control = median_ms(traces["control"].seconds[-WINDOW:])
    learned = figures["learned"]
    learned["ms_control_beside_last_50"] = control
    learned["time_ratio_to_control"] = round(learned["ms_last_50_frames"] / control, 4)
    return figures


def table(record: dict[str, Any]) -> str:
    rows = [
        "| policy | frames | templates | ms a frame, frames 26-75 | last 50 frames | ratio | "
        "peak memory since frame 50 | state at frame 50 → end |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, r in record["results"].items():
        rows.append(
            f"| {name} | {r['frames']} | {r['templates_at_end']} | {r['ms_frames_26_to_75']:.1f} "
            f"| {r['ms_last_50_frames']:.1f} | **{r['time_ratio']:.3f}** "
            f"| {r['peak_growth_bytes'] / MB:+.1f} MB "
            f"| {r['state_bytes_at_frame_50'] / MB:.2f} → {r['state_bytes_at_end'] / MB:.2f} MB |"
        )
    learned, settings = record["results"]["learned"], record["settings"]
    rows += [
        "",
        f"Learned policy, last 50 frames against a young session timed beside them: "
        f"**{learned['time_ratio_to_control']:.3f}**. {settings['model']} ({settings['weights']} weights), "
        f"internal size {settings['size']}, {settings['precision']}, sequence {settings['source']}.",
    ]
    return "\n".join(rows)


def plot(traces: dict[str, Trace], path: Path, record: dict[str, Any]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    times, memory = figure.subplots(1, 2)
    control = running_median(1000 * np.array(traces["control"].seconds))
    frames = len(traces["learned"].seconds)
    times.plot(
        range(frames - len(control), frames),
        control,
        **{"color": "0.2", "lw": 0.7, "zorder": 5, "label": "control: learned, begun again every 76 frames"},
    )
    top = 0.0
    for (name, trace), colour in zip(((n, t) for n, t in traces.items() if n != "control"), ("C0", "C3")):
        ms = 1000 * np.array(trace.seconds)
        times.plot(ms, ".", color=colour, ms=1.5, alpha=0.2)
        window = running_median(ms)
        times.plot(window, color=colour, lw=2, label=name)
        state = np.array(trace.state) / MB
        resident = running_median(np.array(trace.resident) / MB)
        memory.plot(state, color=colour, lw=2, label=f"{name}: state")
        grown = resident - resident[EARLY.stop - 1]
        memory.plot(grown, "--", color=colour, lw=1, label=f"{name}: resident, beyond frame 75")
        top = max(top, state.max(), grown.max())
        if len(ms) < frames:
            text = f" stopped by us at\n {trace.templates[-1]} templates"
            times.text(len(ms), window[-1], text, color=colour, va="center", fontsize=8)
            memory.text(len(ms), state[-1], text, color=colour, va="center", fontsize=8)
    times.set_ylim(0, 1.15 * max(np.percentile(1000 * np.array(t.seconds), 98) for t in traces.values()))
    memory.set_ylim(-0.1 * top, 1.15 * top)
    times.set_ylabel(f"milliseconds a frame, {record['clock']} time")
    memory.set_ylabel("MB")
    for panel in (times, memory):
        panel.set_xlabel("frame (lines: median of 50)" if panel is times else "frame")
        panel.legend(fontsize=8, frameon=False, loc="center right")
        panel.spines[["top", "right"]].set_visible(False)
    settings = record["settings"]
    figure.suptitle(
        f"{settings['model']}, sequence {settings['source']} at {settings['size']} pixels; "
        f"{record['machine']['cpu']}, threads: {record['threads']}",
        fontsize=10,
    )
    part = path.with_name(f".{path.name}.tmp")
    figure.savefig(part, dpi=120, format="png")
    part.replace(path)


def running_median(values: np.ndarray) -> np.ndarray:
    """Median of each value and up to 49 before it."""
    return np.array([np.median(values[max(0, i - WINDOW + 1) : i + 1]) for i in range(len(values))])


if __name__ == "__main__":
    main()
