"""Training clips, synthetic and of videos: what every clip must be, and that seeds fix it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from small_data import labels, write_davis, write_stills
from stremn.data import (
    Clip,
    ClipMixture,
    ClipRequest,
    StillFolder,
    SyntheticClips,
    Video,
    VideoClips,
    collate,
    read_videos,
)
from stremn.data.segmentation.sprites import copy_paste
from stremn.data.segmentation.video_clips import pick_frames
from stremn.errors import StremnError
from stremn.files import write_mask
from stremn.training.plan import StepSampler

LENGTH, FRAMES, SIZE, OBJECTS = 12, 3, 64, 2
SHAPES = [(3, FRAMES, SIZE), (2, 5, 48)]
KINDS = (
    "synthetic",
    "video",
    "video without stills",
    "copy-paste",
    "copy-paste without stills",
    "zoom",
    "mixture",
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> StillFolder:
    return StillFolder(write_stills(tmp_path_factory.mktemp("stills") / "small"))


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    root = write_davis(tmp_path_factory.mktemp("davis"), {"one": 8, "two": 5}, joins={"two": 2})
    return read_videos(root)


def make(kind: str, stills: StillFolder, sequences: list[Video], seed: int = 0) -> Dataset[Clip]:
    common = {"objects": OBJECTS, "seed": seed}
    if kind == "synthetic":
        return SyntheticClips([stills], **common)
    if kind == "video":
        return VideoClips(sequences, [stills], max_gap=3, **common)
    if kind == "video without stills":
        return VideoClips(sequences, [], max_gap=3, **common)
    if kind == "zoom":
        return VideoClips(sequences, [stills], max_gap=3, zoom_share=1, **common)
    if kind.startswith("copy-paste"):
        used = [] if kind.endswith("without stills") else [stills]
        return VideoClips(sequences, used, max_gap=3, copy_paste_share=1, **common)
    parts = [make("synthetic", stills, sequences, seed), make("video", stills, sequences, seed)]
    return ClipMixture(parts, [1, 2], seed)


def ask(number: int, frames: int = FRAMES, size: int = SIZE) -> ClipRequest:
    return ClipRequest(number, frames, size)


def equal(a: Clip, b: Clip) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip((a.frames, a.labels, a.valid), (b.frames, b.labels, b.valid))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_clip_is(kind: str, stills: StillFolder, sequences: list[Video]) -> None:
    clips = make(kind, stills, sequences)
    counts = set()
    for index in range(LENGTH):
        clip = clips[ask(index)]
        assert clip.frames.shape == (FRAMES, 3, SIZE, SIZE)
        assert clip.frames.dtype == torch.float32
        assert 0 <= clip.frames.min() <= clip.frames.max() <= 1
        assert clip.frames.std() > 0.01
        assert clip.labels.shape == (FRAMES, SIZE, SIZE)
        assert clip.labels.dtype == torch.int64
        count = int(clip.valid.sum())
        counts.add(count)
        # The objects are 1 to count, valid in this order, and all of them are in the first frame.
        assert clip.valid.tolist() == [i < count for i in range(OBJECTS)]
        assert set(clip.labels[0].unique().tolist()) - {0} == set(range(1, count + 1))
        assert int(clip.labels.min()) >= 0
        assert int(clip.labels.max()) <= count
    assert counts <= {1, 2}
    assert 2 in counts or kind == "video without stills"


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_depends_on_seed_and_index_only(
    kind: str, stills: StillFolder, sequences: list[Video]
) -> None:
    clips, again, other = (make(kind, stills, sequences, seed) for seed in (3, 3, 4))
    forward = [clips[ask(i)] for i in range(6)]
    backward = [again[ask(i)] for i in reversed(range(6))][::-1]
    assert all(equal(a, b) for a, b in zip(forward, backward))
    assert not any(equal(a, other[ask(i)]) for i, a in enumerate(forward))
    assert not any(equal(forward[0], clip) for clip in forward[1:])


def batches(clips: Dataset[Clip], workers: int, **plan: int) -> list[Clip]:
    sampler = StepSampler(SHAPES, 4, seed=3, **plan)
    return list(DataLoader(clips, batch_sampler=sampler, num_workers=workers, collate_fn=collate))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_change_nothing(stills: StillFolder, sequences: list[Video]) -> None:
    clips = make("mixture", stills, sequences)
    alone = batches(clips, 0)
    assert {tuple(batch.frames.shape) for batch in alone} == {(b, f, 3, s, s) for b, f, s in SHAPES}
    for workers in (1, 2, 3):
        assert all(equal(a, b) for a, b in zip(alone, batches(clips, workers), strict=True))


def test_a_run_that_starts_later_goes_on_alike(stills: StillFolder, sequences: list[Video]) -> None:
    clips = make("mixture", stills, sequences)
    later = zip(batches(clips, 0)[2:], batches(clips, 2, start=2), strict=True)
    assert all(equal(a, b) for a, b in later)


def test_collate_keeps_the_order(stills: StillFolder, sequences: list[Video]) -> None:
    clips = make("synthetic", stills, sequences)
    batch = collate([clips[ask(4)], clips[ask(2)]])
    assert batch.frames.shape == (2, FRAMES, 3, SIZE, SIZE)
    assert equal(Clip(batch.frames[1], batch.labels[1], batch.valid[1]), clips[ask(2)])


def test_shares_of_a_mixture() -> None:
    class Constant(Dataset[Clip]):
        def __init__(self, value: float) -> None:
            self.clip = Clip(torch.full((1,), value), torch.zeros(1), torch.ones(1))

        def __getitem__(self, request: ClipRequest) -> Clip:
            return self.clip

    mixed = ClipMixture([Constant(0), Constant(1)], [3, 1], seed=0)
    share = np.mean([float(mixed[ask(i)].frames) for i in range(2000)])
    assert share == pytest.approx(0.25, abs=0.04)
    alone = ClipMixture([Constant(0), Constant(1)], [0, 1], seed=0)
    assert all(float(alone[ask(i)].frames) == 1 for i in range(100))


def test_objects_and_labels_move_together(sequences: list[Video]) -> None:
    """One square is brighter than all else and one darker: so are the pixels of the two labels, always."""
    clips = VideoClips(sequences[:1], [], objects=2, max_gap=2, seed=0)
    both = 0
    for index in range(30):
        clip = clips[ask(index)]
        grey = clip.frames[:, :2].mean(dim=1)
        for object_id in (1, 2):
            contrasts = [
                float(grey[t][clip.labels[t] == object_id].mean() - grey[t][clip.labels[t] == 0].median())
                for t in range(3)
                if (clip.labels[t] == object_id).sum() > 40
            ]
            assert all(c > 0.15 for c in contrasts) or all(c < -0.15 for c in contrasts)
            both += object_id == 2 and len(contrasts) > 0
    assert both > 0


@pytest.mark.parametrize("number", [0, 202])
def test_copy_paste_lays_one_object_over_another_clip(number: int, rng: np.random.Generator) -> None:
    """What is laid over is the guest's object and no more; 0 hides what is below."""
    guest_ids = [labels(t) for t in range(3)]
    guests = [np.full((64, 96, 3), 0.9, np.float32) for _ in range(3)]
    images = [np.full((64, 96, 3), 0.1, np.float32) for _ in range(3)]
    ids = [np.full((64, 96), 7, np.uint8) for _ in range(3)]
    copy_paste(rng, guests, guest_ids, images, ids, number)
    chosen = {t: [i for i in (1, 2) if (ids[t][guest_ids[t] == i] == number).all()] for t in range(3)}
    assert chosen[0] == chosen[1] == chosen[2]
    (only,) = chosen[0]
    for t in range(3):
        inside = (guest_ids[t] == only).astype(np.uint8)
        assert ((ids[t] == number) == inside).all()
        assert images[t][cv2.erode(inside, np.ones((3, 3))) == 1].min() > 0.4
        assert (images[t][cv2.dilate(inside, np.ones((3, 3))) == 0] == np.float32(0.1)).all()


def test_copy_paste_brings_other_objects(sequences: list[Video]) -> None:
    """In a sequence whose second object joins late, clips with two objects become more."""
    joins = [s for s in sequences if s.name == "two"]
    common = {"objects": 2, "max_gap": 1, "seed": 0, "look_alike_share": 0}
    plain, pasted = (VideoClips(joins, [], copy_paste_share=share, **common) for share in (0, 1))
    both = [sum(bool(clips[ask(i, 5, 64)].valid[1]) for i in range(20)) for clips in (plain, pasted)]
    assert both[1] > both[0]


def test_a_zoom_makes_objects_much_larger_or_much_smaller(sequences: list[Video]) -> None:
    common = {"objects": 1, "max_gap": 1, "seed": 0, "look_alike_share": 0, "hidden_share": 0}
    change = []
    for share in (0, 1):
        clips = VideoClips(sequences, [], zoom_share=share, **common)
        covered = [(clips[ask(i, 4, 64)].labels[[0, -1]] == 1).float().mean((1, 2)) for i in range(30)]
        change.append(torch.stack([(last / first).log() for first, last in covered if last > 0]))
    assert change[1].abs().mean() > 2 * change[0].abs().mean()
    assert change[1].min() < -0.5
    assert change[1].max() > 0.5


def test_real_stills_and_videos(shared_data: Path) -> None:
    root = shared_data / "DAVIS2016"
    train = read_videos(root, root / "ImageSets" / "2016" / "train.txt")
    assert len(train) == 30
    stills = StillFolder(shared_data / "coco128")
    common = {"objects": 2, "seed": 0}
    for clips in (SyntheticClips([stills], **common), VideoClips(train, [stills], max_gap=5, **common)):
        for index in range(4):
            clip = clips[ask(index, 3, 96)]
            assert clip.frames.shape == (3, 3, 96, 96)
            assert clip.valid[0]
            assert (clip.labels[0] == 1).any()


# Errors ------------------------------------------------------------------------------------------------


def clips_of(root: Path) -> SyntheticClips:
    return SyntheticClips([StillFolder(root)], objects=1, seed=0)


def exhaust(clips: Dataset[Clip]) -> None:
    for index in range(50):
        clips[ask(index, 2, 32)]


def test_no_stills(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"nowhere: no image in 'images' has a mask of the same name"):
        StillFolder(tmp_path / "nowhere")


def test_images_without_mask_are_left_out(tmp_path: Path) -> None:
    root = write_stills(tmp_path / "stills", 3)
    (root / "masks" / "still1.png").unlink()
    assert [image.stem for image in StillFolder(root).images] == ["still0", "still2"]


@pytest.mark.parametrize(("data", "said"), [(b"no image", "[^)]*"), (b"", "it is empty")])
def test_damaged_still(data: bytes, said: str, tmp_path: Path) -> None:
    root = write_stills(tmp_path / "stills", 1)
    (root / "images" / "still0.jpg").write_bytes(data)
    with pytest.raises(StremnError, match=rf"still0\.jpg: not a readable image \({said}\); remove it"):
        exhaust(clips_of(root))


def test_damaged_mask(tmp_path: Path) -> None:
    root = write_stills(tmp_path / "stills", 1)
    path = root / "masks" / "still0.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(StremnError, match=r"still0\.png is not a readable image"):
        exhaust(clips_of(root))


def test_masks_of_other_sizes_and_kinds(tmp_path: Path) -> None:
    root = write_stills(tmp_path / "stills", 1)
    path = root / "masks" / "still0.png"
    write_mask(path, labels(0, 32, 48))
    with pytest.raises(StremnError, match=r"still0\.png is 48x32, its image is 96x64"):
        exhaust(clips_of(root))
    cv2.imwrite(str(path), labels(0).astype(np.uint16) * 1000)
    with pytest.raises(StremnError, match=r"still0\.png holds id 2000"):
        exhaust(clips_of(root))


def test_masks_without_objects_end_in_an_error(tmp_path: Path) -> None:
    root = write_stills(tmp_path / "stills", 2)
    for path in (root / "masks").iterdir():
        write_mask(path, np.zeros((64, 96), np.uint8))
    with pytest.raises(StremnError, match="stills: hardly a mask holds an object"):
        clips_of(root)[ask(0)]


def video_clips(root: Path) -> VideoClips:
    return VideoClips(read_videos(root), [], objects=1, max_gap=2, seed=0)


def test_videos_that_cannot_be_trained_on(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"one": 4})
    masks, images = (root / kind / "480p" / "one" for kind in ("Annotations", "JPEGImages"))
    with pytest.raises(
        StremnError, match=r"sequence 'one' and all others have fewer annotated frames than a"
    ):
        video_clips(root)[ask(0, 5)]

    write_mask(masks / "00003.png", labels(0, 32, 48))
    with pytest.raises(StremnError, match=r"00003\.png is 48x32, its image is 96x64"):
        exhaust(video_clips(root))
    write_mask(masks / "00003.png", labels(3))
    (images / "00001.jpg").write_bytes(b"no image")
    with pytest.raises(StremnError, match=r"00001\.jpg: not a readable image"):
        exhaust(video_clips(root))
    for path in masks.iterdir():
        path.rename(path.with_name(f"mask{path.name}"))
    with pytest.raises(
        StremnError, match="sequence 'one': fewer than two frames have a mask of the same name"
    ):
        video_clips(root)
    with pytest.raises(StremnError, match="the list of sequences"):
        VideoClips([], [], objects=1, max_gap=2, seed=0)


# Sparse annotation ---------------------------------------------------------------------------------------


def test_annotated_frames_alone_are_used(tmp_path: Path) -> None:
    """Frames without a mask are damaged here, and nothing stumbles over them."""
    root = write_davis(tmp_path / "davis", {"one": 16})
    masks, images = (root / kind / "480p" / "one" for kind in ("Annotations", "JPEGImages"))
    for index in range(16):
        if index % 5:
            (masks / f"{index:05d}.png").unlink()
            (images / f"{index:05d}.jpg").write_bytes(b"no image")
    clips = video_clips(root)
    assert clips.sequences[0].annotated == (0, 5, 10, 15)
    for index in range(20):
        assert clips[ask(index, 4, 32)].valid[0]
    with pytest.raises(StremnError, match="fewer annotated frames than a training clip of 5"):
        clips[ask(0, 5)]


@pytest.mark.parametrize(("every", "max_gap", "gaps"), [(5, 3, {5}), (5, 10, {5, 10}), (1, 3, {1, 2, 3})])
def test_gaps_count_frames(every: int, max_gap: int, gaps: set[int], rng: np.random.Generator) -> None:
    found = set()
    for _ in range(100):
        steps = np.diff(pick_frames(rng, range(0, 100, every), 4, max_gap))
        assert (steps > 0).all() or (steps < 0).all()
        found |= set(np.abs(steps).tolist())
    assert found == gaps


def test_sequences_with_one_mask_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_davis(tmp_path / "davis", {"full": 4, "first": 4})
    for path in sorted((root / "Annotations" / "480p" / "first").iterdir())[1:]:
        path.unlink()
    with caplog.at_level("INFO", "stremn"):
        clips = video_clips(root)
    assert [s.name for s in clips.sequences] == ["full"]
    assert caplog.messages == ["1 sequences with fewer than two masks are not trained on: first"]
