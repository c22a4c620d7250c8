"""Time and operations by frame, constant memory beside STM's growing one and both beside Appendix A.

    python benchmarks/cost_by_frame.py --model stremn-r50 --size 160 --frames 30

Every frame is a candidate of the constant memory; the growing one takes every fifth. The two sessions take
turns frame by frame, in alternating order. Then the same frames are shown again to count operations, by
PyTorch's counter: those of the memory are its matrix products, the rest is convolutions of the networks.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

import common
from stremn import SegmentationSession
from stremn.runtime import for_inference

GAMMA = 5
"""STM keeps a template of every so many frames."""

POLICIES = {
    "constant": {"policy": "learned", "candidate_every": 1},
    "growing": {"policy": "every-nth", "candidate_every": GAMMA},
}
# The counter knows the fused attention of GPUs only.
COUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop}
GIGA = 1e9


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    network, weights = common.open_model(args.model)
    options = {"size": args.size, "device": args.device, "precision": args.precision}
    sessions = {n: SegmentationSession(network, **chosen, **options) for n, chosen in POLICIES.items()}
    record = common.describe_run(args.threads, args.clock)
    with tempfile.TemporaryDirectory() as folder:
        source, mask = common.default_source()
        files = common.unpack(source, Path(folder), args.frames)
        frames = list(islice(common.forth_and_back(files), args.frames))
        first = common.first_mask(mask, single=True)
        seconds = timed(sessions, frames, first, common.CLOCKS[args.clock])
        counts = {name: counted(session, network, frames, first) for name, session in sessions.items()}
    memory = sessions["constant"].memory
    assert memory is not None
    slots, positions, width, value_width = *memory.key.shape[1:], memory.value.shape[-1]
    record["settings"] = {
        "model": Path(args.model).name,
        "weights": weights,
        "size": args.size,
        "device": device_name(sessions),
        "precision": str(sessions["constant"].runtime.dtype).removeprefix("torch."),
        "frames": args.frames,
        "slots": slots,
        "positions": positions,
        "key_dim": width,
        "value_dim": value_width,
    }
    moments = np.arange(1, args.frames)
    read = 2 * positions**2 * (width + value_width)
    record["formula"] = {
        "constant": (slots * read + 2 * (slots + 1) * positions * width**2 + 0 * moments).tolist(),
        "growing": (moments / GAMMA * read).tolist(),
    }
    record["lanes"] = {name: {"seconds": seconds[name], **counts[name]} for name in sessions}
    name = f"cost_by_frame_{record['settings']['model']}"
    args.out.mkdir(parents=True, exist_ok=True)
    plot(record, args.out / f"{name}.png")
    common.publish(name, args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--size", type=int, default=240, help="internal resolution, the shorter side")
    parser.add_argument("--frames", type=int, default=60, help="at least 20")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    common.add_options(parser)
    args = parser.parse_args()
    if args.frames < 20:
        parser.error("--frames must be at least 20")
    return args


def timed(
    sessions: dict[str, SegmentationSession],
    frames: list[np.ndarray],
    mask: np.ndarray,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Seconds of each frame after the one with the mask; a pass over a few frames warms up."""
    for part in (frames[:4], frames):
        seconds: dict[str, list[float]] = {name: [] for name in sessions}
        for index, frame in enumerate(part):
            order = list(sessions) if index % 2 else list(sessions)[::-1]
            for name in order:
                if index == 0:
                    sessions[name].reset()
                wait(sessions[name])
                start = clock()
                sessions[name].step(frame, mask if index == 0 else None)
                wait(sessions[name])
                seconds[name].append(clock() - start)
    return {name: values[1:] for name, values in seconds.items()}


def wait(session: SegmentationSession) -> None:
    if session.runtime.device.type == "cuda":
        torch.cuda.synchronize(session.runtime.device)


def counted(
    session: SegmentationSession, network: Any, frames: list[np.ndarray], mask: np.ndarray
) -> dict[str, list[int]]:
    """By frame all operations, those of the memory, and templates read; a product and a sum are two."""
    # Packed convolutions are operators that the counter does not know; without, they are the same operations.
    runtime = session.runtime
    session.model = for_inference(network, runtime.device, runtime.dtype, packed=False)
    session.reset()
    session.step(frames[0], mask)
    found: dict[str, list[int]] = {"operations": [], "memory_operations": [], "templates": []}
    for frame in frames[1:]:
        (held,) = session.frames_in_memory().values()
        with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
            session.step(frame)
        by_operator = counter.get_flop_counts()["Global"]
        found["operations"].append(sum(by_operator.values()))
        found["memory_operations"].append(
            sum(n for o, n in by_operator.items() if "convolution" not in str(o))
        )
        found["templates"].append(sum(index >= 0 for index in held))
    return found


def device_name(sessions: dict[str, SegmentationSession]) -> str:
    device = sessions["constant"].runtime.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def table(record: dict[str, Any]) -> str:
    given, window = record["settings"], max(5, record["settings"]["frames"] // 6)
    rows = [
        "| memory | templates | ms a frame | operations, 10⁹ | of them of the memory | Appendix A |",
        "|---|---|---|---|---|---|",
    ]
    for name, lane in record["lanes"].items():
        ms = [1000 * value for value in lane["seconds"]]
        cells = [f"{statistics.median(ms[7 : 7 + window]):.0f} → {statistics.median(ms[-window:]):.0f}"]
        for values in (lane["operations"], lane["memory_operations"], record["formula"][name]):
            cells.append(f"{values[7] / GIGA:.2f} → {values[-1] / GIGA:.2f}")
        templates = f"{lane['templates'][7]} → {lane['templates'][-1]}"
        rows.append(f"| {name} | {templates} | {' | '.join(cells)} |")
    letters = {"M": "slots", "N": "positions", "Dk": "key_dim", "Dv": "value_dim"}
    notes = [
        "From frame 8 to the last; times are medians of {window} frames from the one on and up to the other.",
        "{model} ({weights} weights), internal size {size}, {precision}, {device}, {frames} frames, of which",
        f"the growing memory keeps one in {GAMMA};",
        ", ".join(f"{letter} = {given[name]}" for letter, name in letters.items()) + ".",
        "A product and a sum are two operations, in the formula too.",
    ]
    rows += ["", " ".join(notes).format(window=window, **given)]
    return "\n".join(rows)


def plot(record: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    times, every, memory = figure.subplots(1, 3)
    for (name, lane), colour in zip(record["lanes"].items(), ("C0", "C3"), strict=True):
        frames = np.arange(1, len(lane["seconds"]) + 1)
        times.plot(frames, 1000 * np.array(lane["seconds"]), ".-", color=colour, lw=0.8, ms=4, label=name)
        every.plot(frames, np.array(lane["operations"]) / GIGA, color=colour, lw=2, label=name)
        memory.plot(
            frames, np.array(lane["memory_operations"]) / GIGA, color=colour, lw=2, label=f"{name}, measured"
        )
        formula = {"constant": "M N² (Dk + Dv) + (M + 1) N Dk²", "growing": f"T/{GAMMA} N² (Dk + Dv)"}[name]
        memory.plot(
            frames, np.array(record["formula"][name]) / GIGA, "--", color=colour, lw=1.2, label=formula
        )
    for panel, title in (
        (times, f"milliseconds, {record['clock']} time"),
        (every, "operations, 10⁹"),
        (memory, "operations of the memory, 10⁹"),
    ):
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("frame")
        panel.set_ylim(0, 1.25 * max(np.percentile(line.get_ydata(), 98) for line in panel.lines))
        panel.grid(color="0.9")
        panel.legend(fontsize=8, frameon=False)
    s = record["settings"]
    figure.suptitle(
        f"{s['model']} at {s['size']} pixels, {s['precision']}, {s['device']} ({record['machine']['cpu']})",
        fontsize=10,
    )
    part = path.with_name(f".{path.name}.tmp")
    figure.savefig(part, dpi=120, format="png")
    part.replace(path)


if __name__ == "__main__":
    main()
