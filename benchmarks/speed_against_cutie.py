"""Frames per second of stremn-lite and of Cutie-small on the same frames, one object, in turns.

    python benchmarks/speed_against_cutie.py --cutie CHECKOUT

CHECKOUT is a clone of github.com/hkchengrex/Cutie; nothing of it is part of this repository. The packages
hydra-core and omegaconf must be importable. Both networks have random weights. See README.md for the method.
"""

import argparse
import importlib
import statistics
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import common
from stremn import SegmentationSession, create_model, from_pretrained

Step = Callable[[np.ndarray, np.ndarray | None], np.ndarray]

# Pairs of lanes whose ratio is reported, ours first.
COMPARISONS = {
    "defaults": {
        "own defaults, equal internal size": ("stremn auto", "cutie fp32"),
        "own defaults, our default internal size": ("stremn auto, default size", "cutie fp32"),
    },
    "fp32": {"both fp32, equal internal size": ("stremn fp32", "cutie fp32")},
    "bf16": {"both bf16 autocast, equal internal size": ("stremn bf16", "cutie bf16")},
}


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", category=FutureWarning)
    peer = load_cutie(args.cutie)
    record = common.describe_run(args.threads, args.clock)
    ours = create_model("stremn-lite").eval()
    record["settings"] = {
        "frames_per_lane": args.frames,
        "block": args.block,
        "warm_up_frames": args.warm_up,
        "cutie_commit": common.git_commit(args.cutie),
        "cutie_config": "eval_config, model=small: mem_every 5, max_mem_frames 5, no long-term memory",
        "parameters": {"stremn-lite": count(ours), "cutie-small": count(peer.network)},
        "stremn_default_size": shipped_size(),
        "weights": "random",
    }
    record["results"] = []
    with tempfile.TemporaryDirectory() as folder:
        source, mask = common.default_source()
        files = common.unpack(source, Path(folder), 100)
        record["settings"]["source"] = source.name
        for side in args.sides:
            row = compare(side, files, common.first_mask(mask, single=True), peer, args)
            record["results"].append(row)
    common.publish("speed_against_cutie", args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cutie", type=Path, required=True, help="checkout of Cutie")
    parser.add_argument("--frames", type=int, default=60, help="frames of each lane that are timed")
    parser.add_argument("--block", type=int, default=5, help="frames of a lane before the next one's turn")
    parser.add_argument("--warm-up", type=int, default=26, help="frames before; 26 fill both memories")
    parser.add_argument("--sides", type=int, nargs="+", default=[480, 240], choices=list(common.WIDTHS))
    parser.add_argument(
        "--precision", nargs="+", default=list(COMPARISONS), choices=list(COMPARISONS), help="comparisons"
    )
    common.add_options(parser)
    args = parser.parse_args()
    if args.frames < 2 * args.block or args.warm_up < 1:
        parser.error("--frames must hold two blocks, and --warm-up at least one frame")
    return args


class Cutie:
    """Cutie-small with random weights on the CPU, as its own scripts set it up."""

    def __init__(self, network: Any, config: Any, core: Any) -> None:
        self.network, self.config, self.core = network, config, core

    def lane(self, autocast: bool) -> Step:
        """A new video. Frames in and label maps out as in its scripting_demo.py."""
        processor = self.core(self.network, cfg=self.config)

        def step(frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                image = torch.from_numpy(frame).permute(2, 0, 1).contiguous().float() / 255
                if mask is None:
                    probabilities = processor.step(image)
                else:
                    probabilities = processor.step(image, torch.from_numpy(mask), objects=[1])
                return processor.output_prob_to_mask(probabilities).numpy().astype(np.uint8)

        return step


def load_cutie(path: Path) -> Cutie:
    """Import a checkout. Its files stay as they are: the download of ImageNet weights is replaced here."""
    if not (path / "cutie" / "inference" / "inference_core.py").is_file():
        sys.exit(f"{path} is not a checkout of Cutie: it holds no cutie/inference/inference_core.py")
    sys.path.insert(0, str(path))
    try:
        hydra = importlib.import_module("hydra")
        resnet = importlib.import_module("cutie.model.utils.resnet")
        model = importlib.import_module("cutie.model.cutie")
        inference = importlib.import_module("cutie.inference.inference_core")
        dataset = importlib.import_module("cutie.inference.utils.args_utils")
    except ImportError as error:
        sys.exit(f"Cutie at {path} cannot be imported ({error}): see benchmarks/README.md for what it needs")
    # Its encoders always fetch ImageNet weights, also where others would be loaded over them.
    vars(resnet)["model_zoo"] = types.SimpleNamespace(load_url=lambda *_, **__: {})
    vars(resnet)["load_weights_add_extra_dim"] = lambda *_, **__: None
    with hydra.initialize_config_dir(version_base="1.3.2", config_dir=str((path / "cutie/config").resolve())):
        config = hydra.compose(config_name="eval_config", overrides=["model=small"])
    importlib.import_module("omegaconf").OmegaConf.set_struct(config, False)
    dataset.get_dataset_cfg(config)
    torch.manual_seed(0)
    return Cutie(model.CUTIE(config).eval(), config, inference.InferenceCore)


def shipped_size() -> int:
    """Internal size of the weights that ship; a model of random weights need not have it."""
    return int(from_pretrained("stremn-lite").config.size)


def our_lane(precision: str, size: int) -> Step:
    torch.manual_seed(0)
    session = SegmentationSession(create_model("stremn-lite"), precision=precision, size=size, device="cpu")
    return lambda frame, mask: session.step(frame, mask).labels


def compare(
    side: int, files: list[Path], mask: np.ndarray, peer: Cutie, args: argparse.Namespace
) -> dict[str, Any]:
    """All lanes on one frame size, in blocks that take turns."""
    pairs = {name: pair for key in args.precision for name, pair in COMPARISONS[key].items()}
    make: dict[str, Callable[[], Step]] = {
        "cutie fp32": lambda: peer.lane(autocast=False),
        "cutie bf16": lambda: peer.lane(autocast=True),
        "stremn auto": lambda: our_lane("auto", side),
        "stremn auto, default size": lambda: our_lane("auto", shipped_size()),
        "stremn fp32": lambda: our_lane("fp32", side),
        "stremn bf16": lambda: our_lane("bf16", side),
    }
    wanted = [name for name in make if any(name in pair for pair in pairs.values())]
    steps, failures = {}, {}
    mask = cv2.resize(mask, (common.WIDTHS[side], side), interpolation=cv2.INTER_NEAREST)
    for name in wanted:
        steps[name] = make[name]()
        try:
            warm_up(steps[name], frames_of(files, side), mask, args.warm_up)
        except RuntimeError as error:
            failures[name] = str(error).splitlines()[0]
            del steps[name]
        print(f"{side}p: {name} {'failed: ' + failures[name] if name in failures else 'ready'}", flush=True)
    seconds = run_blocks(steps, frames_of(files, side), args)
    return {
        "frame": [common.WIDTHS[side], side],
        "frames_per_second": {n: round(args.block / statistics.median(s), 3) for n, s in seconds.items()},
        "seconds_of_blocks": {n: [round(x, 4) for x in s] for n, s in seconds.items()},
        "ratios": {
            name: spread([b / a for a, b in zip(seconds[mine], seconds[theirs], strict=True)])
            for name, (mine, theirs) in pairs.items()
            if mine in seconds and theirs in seconds
        },
        "failures": failures,
    }


def frames_of(files: list[Path], side: int) -> Iterator[np.ndarray]:
    for frame in common.forth_and_back(files):
        yield cv2.resize(frame, (common.WIDTHS[side], side), interpolation=cv2.INTER_AREA)


def warm_up(step: Step, frames: Iterator[np.ndarray], mask: np.ndarray, count: int) -> None:
    step(next(frames), mask)
    for frame in islice(frames, count - 1):
        step(frame, None)


def run_blocks(
    steps: dict[str, Step], frames: Iterator[np.ndarray], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of each block of each lane; every lane gets the same frames, the order rotates."""
    clock = common.CLOCKS[args.clock]
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(args.frames // args.block):
        block = list(islice(frames, args.block))
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = clock()
            for frame in block:
                steps[name](frame, None)
            seconds[name].append(clock() - start)
        print(", ".join(f"{n} {args.block / s[-1]:.2f}/s" for n, s in seconds.items()), flush=True)
    return seconds


def spread(ratios: list[float]) -> dict[str, float]:
    """Median, least and largest of the ratios of the turns."""
    values = {"median": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)}
    return {name: round(value, 3) for name, value in values.items()}


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def table(record: dict[str, Any]) -> str:
    lines = ["| frame | compared | stremn-lite, frames/s | Cutie-small, frames/s | ratio (least-largest) |"]
    lines.append("|---|---|---|---|---|")
    pairs = {name: pair for group in COMPARISONS.values() for name, pair in group.items()}
    for row in record["results"]:
        width, height = row["frame"]
        rate = row["frames_per_second"]
        for name, ratio in row["ratios"].items():
            mine, theirs = pairs[name]
            lines.append(
                f"| {width}x{height} | {name} | {rate[mine]:.2f} | {rate[theirs]:.2f} "
                f"| **{ratio['median']:.1f}** ({ratio['least']:.1f}-{ratio['largest']:.1f}) |"
            )
        for name, reason in row["failures"].items():
            lines.append(f"| {width}x{height} | {name} did not run: {reason} | | | |")
    settings = record["settings"]
    lines += [
        "",
        f"Parameters: stremn-lite {settings['parameters']['stremn-lite'] / 1e6:.1f} M, Cutie-small "
        f"{settings['parameters']['cutie-small'] / 1e6:.1f} M (commit {settings['cutie_commit'][:10]}). "
        f"Our default internal size is {settings['stremn_default_size']}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
