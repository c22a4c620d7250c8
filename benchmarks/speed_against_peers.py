"""Time of a frame of stremn-lite and of other networks on the same frames, one object, in turns.

    python benchmarks/speed_against_peers.py --cutie CHECKOUT --xmem CHECKOUT ...

Each CHECKOUT is a clone of a network's own repository; nothing of it is part of this one, and only what it
offers is called. Its weights are random. See README.md for the method and for the packages it needs.
"""

import argparse
import importlib
import statistics
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import common
from stremn import SegmentationSession
from stremn.files.images import read_image

Step = Callable[[np.ndarray, np.ndarray | None], np.ndarray]

PRECISIONS = {"both fp32": ("fp32", "fp32"), "both bf16": ("bf16", "bf16"), "as it comes": ("auto", "fp32")}
"""Of our lane and of the peer's: on a CPU the peers compute in float32 if nothing is said."""


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore")
    record = common.describe_run(args.threads, args.clock)
    record["settings"] = {
        "frames_per_lane": args.frames,
        "block": args.block,
        "weights": "ours as they ship, the peers' random",
        "peers": {name: common.git_commit(getattr(args, name)) for name in args.peers},
    }
    record["results"] = []
    source, mask = common.default_source()
    record["settings"]["source"] = source.name
    for side in args.sides:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = prepare(source, mask, side, folder, OURS + args.frames)
            record["results"].append(compare(side, folder, first, args))
    common.publish("speed_against_peers", args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, peer in PEERS.items():
        parser.add_argument(f"--{name}", type=Path, help=f"checkout of {peer.title}'s repository")
    parser.add_argument("--frames", type=int, default=60, help="frames of each lane that are timed")
    parser.add_argument("--block", type=int, default=5, help="frames of a lane before the next one's turn")
    parser.add_argument("--sides", type=int, nargs="+", default=[480, 240], choices=list(common.WIDTHS))
    common.add_options(parser)
    args = parser.parse_args()
    args.peers = [name for name in PEERS if getattr(args, name)]
    if args.frames < 2 * args.block or not args.peers:
        parser.error("name a checkout; --frames must hold two blocks")
    return args


def prepare(source: Path, mask: Path, side: int, folder: Path, count: int) -> np.ndarray:
    """Write the frames as JPEG, the one form that all networks here read; the mask of the first."""
    size = (common.WIDTHS[side], side)
    with tempfile.TemporaryDirectory() as unpacked:
        files = common.unpack(source, Path(unpacked), 100)
        for index, frame in enumerate(islice(common.forth_and_back(files), count)):
            scaled = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{index:05d}.jpg"), scaled[..., ::-1])
    return cv2.resize(common.first_mask(mask, single=True), size, interpolation=cv2.INTER_NEAREST)


def our_step(side: int, precision: str) -> Step:
    """As a session runs on a CPU; with trained weights, as time depends on where the object is seen."""
    session = SegmentationSession("stremn-lite", precision=precision, size=side, device="cpu")
    return lambda frame, mask: session.step(frame, mask).labels


def peer_step(name: str, checkout: Path, folder: Path, precision: str) -> Step:
    """A new video of a peer whose modules are those of a checkout."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    torch.manual_seed(0)
    try:
        step = PEERS[name].video(checkout, folder)
    except ImportError as error:
        sys.exit(f"{checkout} cannot be imported ({error}): see benchmarks/README.md for what it needs")

    def within(frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return step(frame, mask)

    return within


def without_download(resnet: types.ModuleType) -> None:
    """Replace what fetches ImageNet weights whenever an encoder is built; no file is changed."""
    vars(resnet)["model_zoo"] = types.SimpleNamespace(load_url=lambda *_, **__: {})
    vars(resnet)["load_weights_add_extra_dim"] = lambda *_, **__: None


def as_image(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1).contiguous().float() / 255


def cutie(checkout: Path, _: Path) -> Step:
    """Cutie-small by its evaluation settings: a template every 5 frames, 5 of them, no long-term memory."""
    hydra = importlib.import_module("hydra")
    without_download(importlib.import_module("cutie.model.utils.resnet"))
    importlib.import_module("hydra.core.global_hydra").GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(
        version_base="1.3.2", config_dir=str((checkout / "cutie/config").resolve())
    ):
        config = hydra.compose(config_name="eval_config", overrides=["model=small"])
    importlib.import_module("omegaconf").OmegaConf.set_struct(config, False)
    importlib.import_module("cutie.inference.utils.args_utils").get_dataset_cfg(config)
    network = importlib.import_module("cutie.model.cutie").CUTIE(config).eval()
    core = importlib.import_module("cutie.inference.inference_core").InferenceCore(network, cfg=config)

    def step(frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        given = () if mask is None else (torch.from_numpy(mask), [1])
        return core.output_prob_to_mask(core.step(as_image(frame), *given)).numpy().astype(np.uint8)

    return step


def xmem(checkout: Path, _: Path) -> Step:
    """XMem by the defaults of its ``eval.py``; its memory goes on growing until 50 frames."""
    without_download(importlib.import_module("model.resnet"))
    config = {
        "mem_every": 5,
        "deep_update_every": -1,
        "enable_long_term": True,
        "enable_long_term_count_usage": False,
        "max_mid_term_frames": 10,
        "min_mid_term_frames": 5,
        "max_long_term_elements": 10000,
        "num_prototypes": 128,
        "top_k": 30,
    }
    network = importlib.import_module("model.network").XMem(config).eval()
    core = importlib.import_module("inference.inference_core").InferenceCore(network, config)
    normalized = importlib.import_module("dataset.range_transform").im_normalization
    core.set_all_labels([1])

    def step(frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        given = () if mask is None else (torch.from_numpy(mask)[None].float(), [1])
        return core.step(normalized(as_image(frame)), *given).argmax(0).numpy().astype(np.uint8)

    return step


def livos(checkout: Path, _: Path) -> Step:
    """LiVOS, its base model, which has a state of constant size instead of templates."""
    without_download(importlib.import_module("livos.model.utils.resnet"))
    network = importlib.import_module("livos.model.livos_wrapper").LIVOS(model_type="base").eval()
    core = importlib.import_module("livos.eval").InferenceCore(network)

    def step(frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        given = () if mask is None else (torch.from_numpy(mask), [1])
        return core.step(as_image(frame), *given).argmax(0).numpy().astype(np.uint8)

    return step


def efficienttam(checkout: Path, folder: Path) -> Step:
    """EfficientTAM-Ti at 512x512, the smallest of its configurations."""
    build = "build_efficienttam.build_efficienttam_video_predictor"
    config = "configs/efficienttam/efficienttam_ti_512x512.yaml"
    return after_sam2("efficient_track_anything", build, config, folder)


def edgetam(checkout: Path, folder: Path) -> Step:
    """EdgeTAM, which scales every frame to 1024x1024."""
    timm = importlib.import_module("timm.models")
    vars(importlib.import_module("sam2.modeling.backbones.timm"))["create_model"] = (
        lambda name, pretrained, **more: timm.create_model(name, **more)
    )
    return after_sam2("sam2", "build_sam.build_sam2_video_predictor", "configs/edgetam.yaml", folder)


def after_sam2(package: str, build: str, config: str, folder: Path) -> Step:
    """A predictor like SAM 2's, which reads and scales all frames of a folder beforehand, untimed."""
    hydra = importlib.import_module("hydra")
    importlib.import_module("hydra.core.global_hydra").GlobalHydra.instance().clear()
    hydra.initialize_config_module(package, version_base="1.2")
    module, name = build.split(".")
    predictor = getattr(importlib.import_module(f"{package}.{module}"), name)(config, device="cpu")
    state = predictor.init_state(str(folder))
    labels = iter(())

    def step(_: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        nonlocal labels
        if mask is not None:
            predictor.add_new_mask(state, 0, 1, torch.from_numpy(mask > 0))
            labels = predictor.propagate_in_video(state)
        logits = next(labels)[2]
        return (logits[0, 0] > 0).numpy().astype(np.uint8)

    return step


@dataclass(frozen=True)
class Peer:
    """A network beside which ours is timed.

    Attributes:
        title: its name in the table.
        video: what makes a new video of it, from its checkout and the folder of frames.
        fills: frames until its memory is as large as it becomes.
        fixed: whether it scales every frame to one size of its own, so that 480 lines say it all.
    """

    title: str
    video: Callable[[Path, Path], Step]
    fills: int
    fixed: bool = False


PEERS = {
    "cutie": Peer("Cutie-small", cutie, 26),
    "xmem": Peer("XMem", xmem, 26),
    "livos": Peer("LiVOS", livos, 2),
    "efficienttam": Peer("EfficientTAM-Ti at 512x512", efficienttam, 16, fixed=True),
    "edgetam": Peer("EdgeTAM at 1024x1024", edgetam, 16, fixed=True),
}

OURS = 26
"""Frames that fill the memory of stremn-lite."""


def compare(side: int, folder: Path, mask: np.ndarray, args: argparse.Namespace) -> dict[str, Any]:
    """All networks on one frame size, in blocks that take turns."""
    frames = [read_image(file).pixels for file in sorted(folder.iterdir())]
    lanes = {f"ours {precision}": (our_step(side, precision), OURS) for precision in ("fp32", "bf16", "auto")}
    peers = [name for name in args.peers if side == max(args.sides) or not PEERS[name].fixed]
    for name in peers:
        for precision in ("fp32", "bf16"):
            step = peer_step(name, getattr(args, name), folder, precision)
            lanes[f"{name} {precision}"] = step, PEERS[name].fills
    seconds, failures = run_blocks(lanes, frames, mask, args)
    rows = []
    for name, (precision, (ours, theirs)) in product(peers, PRECISIONS.items()):
        mine, other = seconds[f"ours {ours}"], seconds.get(f"{name} {theirs}")
        if other:
            rows.append(
                {
                    "peer": PEERS[name].title,
                    "precision": precision,
                    "milliseconds": [milliseconds(mine, args.block), milliseconds(other, args.block)],
                    "ratio": spread([b / a for a, b in zip(mine, other, strict=True)]),
                }
            )
    return {
        "frame": [common.WIDTHS[side], side],
        "rows": rows,
        "seconds_of_blocks": {name: [round(x, 4) for x in s] for name, s in seconds.items()},
        "failures": failures,
    }


def run_blocks(
    lanes: dict[str, tuple[Step, int]], frames: list[np.ndarray], mask: np.ndarray, args: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each block of each lane, the order rotating; and why lanes failed."""
    clock = common.CLOCKS[args.clock]
    videos, failures = {}, {}
    for name, (step, fills) in lanes.items():
        videos[name] = iter(frames)
        try:
            step(next(videos[name]), mask)
            for frame in islice(videos[name], fills - 1):
                step(frame, None)
        except RuntimeError as error:
            failures[name] = str(error).splitlines()[0]
        print(f"{name} {failures.get(name, 'ready')}", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in lanes if name not in failures}
    names = list(seconds)
    for turn in range(args.frames // args.block):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            block = list(islice(videos[name], args.block))
            start = clock()
            for frame in block:
                lanes[name][0](frame, None)
            seconds[name].append(clock() - start)
        told = (f"{name} {milliseconds(s[-1:], args.block):.0f}" for name, s in seconds.items())
        print(f"ms a frame: {', '.join(told)}", flush=True)
    return seconds, failures


def milliseconds(seconds: list[float], block: int) -> float:
    return round(1000 * statistics.median(seconds) / block, 1)


def spread(ratios: list[float]) -> dict[str, float]:
    """Median, least and largest of the ratios of the turns."""
    values = {"median": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)}
    return {name: round(value, 3) for name, value in values.items()}


def table(record: dict[str, Any]) -> str:
    lines = ["| frame | against | precision | stremn-lite, ms a frame | the other | ratio (least-largest) |"]
    lines.append("|---|---|---|---|---|---|")
    for result in record["results"]:
        frame = "x".join(map(str, result["frame"]))
        for row in result["rows"]:
            (mine, other), ratio = row["milliseconds"], row["ratio"]
            lines.append(
                f"| {frame} | {row['peer']} | {row['precision']} | {mine:.0f} | {other:.0f} "
                f"| **{ratio['median']:.1f}** ({ratio['least']:.1f}-{ratio['largest']:.1f}) |"
            )
        lines += [f"| {frame} | {n} did not run: {why} | | | | |" for n, why in result["failures"].items()]
    commits = (f"{PEERS[name].title} {commit[:10]}" for name, commit in record["settings"]["peers"].items())
    return "\n".join([*lines, "", f"Commits: {', '.join(commits)}."])


if __name__ == "__main__":
    main()
