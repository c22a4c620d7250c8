"""Random inputs for every door of the package. A case is a function of its number; it fails by raising.

Allowed is: to work, or one line that says what is wrong. Not allowed: another exception, a hang, a file that
is half written, or another number or size of frames than went in without a word.
"""

import contextlib
import io
import json
import logging
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from small_data import frame, labels, write_davis, write_frames, write_stills, write_video
from small_models import untrained_lite
from stremn import (
    PredictionSession,
    SegmentationSession,
    StremnError,
    create_model,
    from_pretrained,
    save_pretrained,
)
from stremn.commands import main
from stremn.data import open_stills, open_videos, play, read_reels
from stremn.files import MaskSchedule, open_source, read_mask, write_mask
from stremn.files.tensors import tensors_digest
from stremn.metrics import score_folders
from stremn.training import load_recipe

__all__ = ["DOORS", "Seeds", "run_case"]

SECONDS = 60
"""A case that takes longer hangs."""

NAMES = (
    "a",
    "12:30 walk",
    "walk [dQw4]",
    "-dash",
    "é ü 漢字",
    "caf\udce9",
    "x" * 245,
    "a.b.c",
    "%05d",
    "'q\" `",
    "#1",
)
"""Of files and folders as people, cameras and download tools make them."""

RECIPE = {"model": "stremn-lite", "stills": ["/nowhere"], "steps": 2, "batch": 1, "size": 64, "frames": 3}
ODD: tuple[Any, ...] = (
    -1,
    0,
    1,
    3,
    1e9,
    float("nan"),
    float("inf"),
    "",
    "x",
    None,
    True,
    [],
    [1, 2],
    {},
    {"a": 1},
)


@dataclass
class Seeds:
    """Sound inputs, made once, that the cases damage."""

    root: Path
    segmenter: Any = None
    predictor: Any = None
    videos: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        write_davis(self.root / "davis", {"one": 4, "two": 3})
        write_stills(self.root / "stills")
        write_frames(self.root / "frames", [f"{i:05d}.jpg" for i in range(4)])
        self.videos = [write_video(self.root / f"video.{kind}", 5) for kind in ("mp4", "mkv", "avi")]
        pictures = [Image.fromarray(frame(i)) for i in range(4)]
        pictures[0].save(self.root / "video.gif", save_all=True, append_images=pictures[1:])
        pictures[0].save(self.root / "video.webp", save_all=True, append_images=pictures[1:])
        self.videos += [self.root / "video.gif", self.root / "video.webp"]
        write_mask(self.root / "mask.png", labels(0))
        self.segmenter = SegmentationSession(untrained_lite(0), size=32, device="cpu", precision="fp32").model
        network = create_model("convlstm-small", hidden=(2,), channels=3)
        save_pretrained(network, self.root / "weights.safetensors")
        self.predictor = PredictionSession(network, device="cpu", precision="fp32").model
        session = PredictionSession(self.predictor, device="cpu", precision="fp32")
        session.observe(frame(0))
        session.save(self.root / f"{PredictionSession.key}.safetensors")
        following = SegmentationSession(self.segmenter, size=32, device="cpu", precision="fp32")
        following.step(frame(0), labels(0))
        following.save(self.root / f"{SegmentationSession.key}.safetensors")


Door = Callable[[random.Random, Seeds, Path], None]
DOORS: dict[str, Door] = {}


def door(case: Door) -> Door:
    DOORS[case.__name__] = case
    return case


def run_case(number: int, seeds: Seeds, folder: Path) -> str:
    """Run one case in a fresh folder; returns its door.

    Raises:
        AssertionError: naming number and door, if what happens is not allowed.
    """
    rng = random.Random(number)
    name = list(DOORS)[number % len(DOORS)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(number)
    try:
        with _deadline(), _silence(), contextlib.redirect_stderr(io.StringIO()):
            DOORS[name](rng, seeds, folder)
    except StremnError as error:
        if "\n" in str(error):
            raise AssertionError(f"case {number} ({name}): {error!r} has several lines") from error
    except Exception as error:
        raise AssertionError(f"case {number} ({name}): {type(error).__name__}: {error}") from error
    parts = [p.name for p in folder.rglob("*") if ".part" in p.name]
    assert not parts, f"case {number} ({name}): {parts} are left half written"
    return name


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No warnings and no log: a test runner may be unable to pass on the names of the files in them."""
    logger = logging.getLogger("stremn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.propagate = False
        try:
            yield
        finally:
            logger.propagate = True


@contextlib.contextmanager
def _deadline() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes with bits turned, parts cut out, doubled, zeroed or put elsewhere; often near the start."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if not found:
            break
        at = rng.randrange(min(len(found), rng.choice((64, 1024, len(found)))))
        length = rng.choice((1, 4, 64, 1024))
        match rng.randrange(6):
            case 0:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                del found[at:]
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length]
            case 4:
                found[at : at + length] = bytes(min(length, len(found) - at))
            case _:
                found[at : at + length] = rng.randbytes(length)
    return bytes(found)


def place(rng: random.Random, folder: Path, suffix: str) -> Path:
    return folder / (rng.choice(NAMES) + suffix)


def given_size(rng: random.Random) -> tuple[int, int]:
    return rng.choice(((64, 96), (17, 31), (1, 1), (2, 300), (48, 48), (120, 40)))


@door
def video_bytes(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """A damaged video is read as far as it goes."""
    seed = rng.choice(seeds.videos)
    path = place(rng, folder, seed.suffix)
    path.write_bytes(damaged(rng, seed.read_bytes()))
    with open_source(str(path)) as source:
        sizes, last = set(), -1
        for shown in source:
            assert shown.index > last
            last = shown.index
            sizes.add(shown.image.shape)
    assert len(sizes) <= 1


@door
def sound_videos(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Whatever its name, size and container: as many frames as went in, of their size."""
    count, (height, width) = rng.randrange(1, 6), given_size(rng)
    size = (height + height % 2, width + width % 2)
    path = place(rng, folder, rng.choice((".mp4", ".mkv", ".avi", ".mov")))
    made = write_video(folder / f"made{path.suffix}", count, (max(16, size[0]), max(16, size[1])))
    made.rename(path)
    with open_source(str(path)) as source:
        shapes = [shown.image.shape for shown in source]
    assert shapes == [(max(16, size[0]), max(16, size[1]), 3)] * count


@door
def folders_of_frames(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Any picture a frame: all are read, or told, or lost by number."""
    frames = folder / rng.choice(NAMES)
    frames.mkdir()
    suffixes = [
        rng.choice((".jpg", ".png", ".bmp", ".webp", ".tif", ".JPEG")) for _ in range(rng.randrange(1, 5))
    ]
    broken = 0
    for index, suffix in enumerate(suffixes):
        path = frames / f"{index}{suffix}"
        mode = rng.choice(("RGB", "RGB", "L", "RGBA", "P", "I;16"))
        mode = mode if suffix in (".png", ".tif") or mode in ("RGB", "L") else "RGB"
        image = Image.fromarray(frame(index))
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
        else:
            image = image.convert(mode)
        image.save(path)
        if index and rng.random() < 0.2:
            path.write_bytes(damaged(rng, path.read_bytes()))
            broken += 1
    if rng.random() < 0.2:
        (frames / "7.jpg").symlink_to(folder / "nowhere.jpg")
        broken += 1
    with open_source(str(frames)) as source:
        found = [shown.index for shown in source]
        assert found == sorted(set(found))
        assert len(found) + source.lost_frames == len(suffixes) + (frames / "7.jpg").is_symlink()
        assert source.lost_frames <= broken


@door
def mask_files(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """A mask in any mode is a label map of its size, or is refused."""
    path = place(rng, folder, rng.choice((".png", ".png", ".gif", ".bmp", ".jpg", ".webp", ".tif")))
    ids = labels(rng.randrange(5)) * rng.choice((1, 1, 40, 127))
    if rng.random() < 0.3:
        ids[:3] = 255
    image = Image.fromarray(ids)
    match rng.randrange(7):
        case 0:
            image.putpalette(rng.randbytes(768))
        case 1:
            image = image.convert("RGB").quantize(rng.choice((2, 3, 8)))
        case 2:
            image = image.convert(rng.choice(("RGB", "RGBA", "LA", "1", "I", "F", "CMYK")))
        case 3:
            image = Image.fromarray(ids.astype(np.uint16) * rng.choice((1, 257)))
        case 4:
            image = Image.fromarray(np.stack([ids, ids * 3, ids * 7], axis=2))
        case _:
            pass
    try:
        image.save(path)
    except (OSError, ValueError, KeyError):
        return
    sound = rng.random() < 0.5
    if not sound:
        path.write_bytes(damaged(rng, path.read_bytes()))
    found = read_mask(path, size=labels(0).shape, allow_empty=rng.random() < 0.5).labels
    assert found.dtype == np.uint8
    assert found.shape == labels(0).shape


@door
def mask_schedules(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Folders of masks by name."""
    masks = folder / "masks"
    masks.mkdir()
    for _ in range(rng.randrange(3)):
        name = rng.choice((*NAMES, "00000", "00001", "1", "99999"))
        write_mask(masks / f"{name}.png", labels(0))
    with open_source(str(seeds.root / "frames")) as source:
        schedule = MaskSchedule(masks, source.frame_names)
        for shown in source:
            schedule.at(shown)


@door
def recipes(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Recipes with odd values, odd keys, or damaged text."""
    path = folder / "recipe.yaml"
    values: dict[str, Any] = dict(RECIPE)
    if rng.random() < 0.3:
        values = {"task": "prediction", "model": "stremn-predict", "videos": ["/nowhere"]}
    for _ in range(rng.randrange(3)):
        key = rng.choice(
            (*values, "task", "learning_rate", "seed", "held_out", "workers", "nonsense", "objects")
        )
        values[key] = rng.choice(ODD)
    data = json.dumps(values).encode()
    if rng.random() < 0.5:
        data = damaged(rng, data.replace(b", ", b"\n").strip(b"{}"))
    path.write_bytes(data)
    load_recipe(
        path,
        tuple(rng.choice(("steps=3", "x", "steps=", "=", "a=b", "size=[")) for _ in range(rng.randrange(2))),
    )


@door
def weights(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Damaged weights, and whole ones whose config says something else."""
    path = folder / "w.safetensors"
    seed = seeds.root / "weights.safetensors"
    if rng.random() < 0.5:
        path.write_bytes(damaged(rng, seed.read_bytes()))
    else:
        config = json.loads(create_model("convlstm-small", hidden=(2,), channels=3).config.to_json())
        config[rng.choice((*config, "more"))] = rng.choice(ODD)
        save_file(load_file(seed), path, metadata={"stremn_config": json.dumps(config), "format": "pt"})
    from_pretrained(path)


@door
def saved_states(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Damaged states; and whole ones of which a fact says something else, to be opened or refused."""
    path, kind = folder / "s.safetensors", rng.choice((PredictionSession, SegmentationSession))
    seed = seeds.root / f"{kind.key}.safetensors"
    if rng.random() < 0.5:
        path.write_bytes(damaged(rng, seed.read_bytes()))
    else:
        tensors = load_file(seed)
        with safe_open(seed, framework="pt") as file:
            facts = json.loads(json.loads(file.metadata()[kind.key])["facts"])
        facts[rng.choice((*facts, "more"))] = rng.choice(ODD)
        text = json.dumps(facts)
        wrapped = json.dumps({"digest": tensors_digest(tensors, text), "facts": text})
        save_file(tensors, path, metadata={kind.key: wrapped, "format": "pt"})
    kind.load(path, seeds.predictor if kind is PredictionSession else seeds.segmenter, device="cpu")


@door
def data_sets(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Data sets with damaged or missing files, lists and JSON."""
    root = folder / rng.choice(("davis", "stills"))
    shutil.copytree(seeds.root / root.name, root)
    files = sorted(p for p in root.rglob("*") if p.is_file())
    for path in rng.sample(files, rng.randrange(3)):
        if rng.random() < 0.3:
            path.unlink()
        else:
            path.write_bytes(damaged(rng, path.read_bytes()))
    if root.name == "stills":
        stills = open_stills(root)
        for index in range(len(stills)):
            stills[index]
        return
    if rng.random() < 0.4:
        meta = {"videos": {"one": {"objects": {"1": {"frames": ["00000"], "category": "cat"}}}}}
        (root / "meta.json").write_bytes(damaged(rng, json.dumps(meta).encode()))
    split = folder / "list.txt"
    split.write_bytes(
        rng.choice((b"\xef\xbb\xbfone\n", b"one\ntwo", b" one \r\n", b"\xff\xfe", b"", b"my walk", b"# x\n"))
    )
    for video in open_videos(f"{root}:{split}" if rng.random() < 0.5 else str(root)):
        for shown in play(video):
            assert shown.truth is None or shown.truth.shape == shown.image.shape[:2]


@door
def scores(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Predictions of which files are damaged or missing."""
    masks = folder / "masks"
    shutil.copytree(seeds.root / "davis" / "Annotations" / "480p", masks)
    for path in rng.sample(sorted(masks.rglob("*.png")), rng.randrange(3)):
        if rng.random() < 0.5:
            path.unlink()
        else:
            path.write_bytes(damaged(rng, path.read_bytes()))
    table = score_folders(masks, seeds.root / "davis", jobs=1)
    json.dumps(table.to_dict())


@door
def videos_for_prediction(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Videos that frames are read from in any order."""
    seed = rng.choice(seeds.videos[:3])
    path = place(rng, folder, seed.suffix)
    data = seed.read_bytes()
    path.write_bytes(data if rng.random() < 0.5 else damaged(rng, data))
    from stremn.data.prediction.reels import FrameCache, Framing

    for reel in read_reels(path):
        reel.read([0, max(0, reel.count - 1)], Framing(32, grey=False), FrameCache(2**20))


@door
def segmentation_calls(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """What people hand to a segmentation session."""
    session = SegmentationSession(
        seeds.segmenter, size=32, device="cpu", precision="fp32", seed=rng.randrange(9)
    )
    height, width = rng.choice(((64, 96), (33, 50)))
    for step in range(rng.randrange(1, 4)):
        image = any_frame(rng, height, width)
        masks = any_masks(rng, height, width) if step == 0 or rng.random() < 0.3 else None
        with contextlib.suppress(StremnError):
            found = session.step(image, masks)
            assert found.labels.shape == (height, width)
            assert set(np.unique(found.labels).tolist()) <= {0, *found.object_ids}
            assert found.probabilities.shape == (len(found.object_ids), height, width)
        with contextlib.suppress(StremnError):
            session.remove(rng.choice((1, np.uint8(1), [1, 2], "1", 3.0, None, np.array([2]), -1)))
    with contextlib.suppress(StremnError):
        SegmentationSession(
            seeds.segmenter,
            device="cpu",
            **{rng.choice(("slots", "policy", "size", "seed", "x")): rng.choice(ODD)},
        )
    session.save(folder / "s.safetensors")


@door
def prediction_calls(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """What people hand to a prediction session."""
    session = PredictionSession(seeds.predictor, device="cpu", precision="fp32")
    height, width = given_size(rng)
    for _ in range(rng.randrange(3)):
        with contextlib.suppress(StremnError):
            session.observe(any_frame(rng, height, width))
    future = session.predict(rng.choice((1, 2, 0, -3)))
    assert future.shape[1:3] == (height, width)


def any_frame(rng: random.Random, height: int, width: int) -> Any:
    """A frame in some form, not always a sound one."""
    image = (
        frame(rng.randrange(5), height, width)
        if min(height, width) >= 24
        else np.zeros((height, width, 3), np.uint8)
    )
    forms: tuple[Callable[[], Any], ...] = (
        lambda: image,
        lambda: image[:, :, 0],
        lambda: Image.fromarray(image),
        lambda: Image.fromarray(image).convert(rng.choice(("L", "P", "RGBA", "CMYK"))),
        lambda: Image.fromarray(image[:, :, 0].astype(np.uint16) * 256),
        lambda: torch.from_numpy(image).permute(2, 0, 1),
        lambda: torch.from_numpy(image / 255).permute(2, 0, 1),
        lambda: image / 255,
        lambda: image.astype(float),
        lambda: image.astype(np.int64),
        lambda: np.full(image.shape, np.nan),
        lambda: image[None],
        lambda: image[:, :0],
        lambda: image[::-1, ::-1],
        lambda: None,
        lambda: "frame.png",
        lambda: image.tolist(),
    )
    return rng.choice(forms)()


def any_masks(rng: random.Random, height: int, width: int) -> Any:
    """Masks in some form, not always sound ones."""
    ids = labels(0, height, width)
    forms: tuple[Callable[[], Any], ...] = (
        lambda: ids,
        lambda: ids.astype(np.int64),
        lambda: Image.fromarray(ids),
        lambda: torch.from_numpy(ids),
        lambda: {1: ids == 1, 7: ids == 2},
        lambda: {1: (ids == 1) * 255},
        lambda: {np.uint8(2): ids == 1},
        lambda: {1: np.random.default_rng(0).normal(size=ids.shape)},
        lambda: {1: np.full(ids.shape, np.nan)},
        lambda: {"1": ids == 1},
        lambda: {},
        lambda: ids * 0,
        lambda: ids[:-1],
        lambda: ids * 200,
        lambda: ids.astype(float) / 3,
        lambda: np.where(ids == 2, 255, ids),
        lambda: "mask.png",
        lambda: [ids],
    )
    return rng.choice(forms)()


@door
def command_line(rng: random.Random, seeds: Seeds, folder: Path) -> None:
    """Commands with odd values: exit status 0 or 2, one line of error, nothing half written."""
    out = folder / rng.choice(("out", "run:1", "é", "x" * 200))
    root, davis = seeds.root, seeds.root / "davis"
    truth, mask, model = (
        davis / "Annotations" / "480p",
        root / "mask.png",
        ("--model", root / "weights.safetensors"),
    )
    source = rng.choice((seeds.videos[0], root / "frames", mask, folder / "nowhere", folder))
    value = rng.choice(("-1", "0", "1", "2", "nan", "x", "", "99999999999"))
    observe, horizon = ("--observe", rng.choice((value, 2))), ("--horizon", rng.choice((value, 1)))
    predict: list[object] = ["predict", source, *observe, *horizon, "--out", out, *model]
    segment: list[object] = ["segment", source, "--out", out, "--size", 32]
    commands: tuple[list[object], ...] = (
        predict,
        [*predict, "--size", value],
        [*predict, "--start", value],
        [*segment, "--masks", rng.choice((source, folder, mask)), *model],
        [*segment, "--masks", mask, "--slots", value, "--model", "x"],
        ["score", truth, rng.choice((davis, source)), "--json", folder / "s.json", "--jobs", 1],
        ["score", source, davis, "--csv", folder / value / "s.csv", "--jobs", 1],
        ["data", "check", rng.choice((davis, source, root / "stills")), "--json", folder / "c.json"],
        ["table", value, davis, "--out", out, *model],
        ["evaluate", davis, *model, "--observe", 1, "--horizon", 1, "--clips", value],
        ["evaluate", davis, *model, "--sequences", value],
        ["train", mask, "--out", out],
        [value, source],
        ["segment"],
    )
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        status = main([str(word) for word in rng.choice(commands)])
    assert status in (0, 2), f"exit status {status}: {said.getvalue()[-300:]}"
    assert "Traceback" not in said.getvalue()
    if status and out.is_dir():
        assert not (out / "summary.json").exists()


logging.getLogger("PIL").setLevel(logging.WARNING)
