"""The clips of a test are the same ones always, and those that the data set's protocol asks for."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_data import write_davis, write_digits, write_video
from stremn.data import ClipRequest, MemoryClips, MovingMnist, read_digits, read_reels
from stremn.errors import StremnError
from stremn.files.names import read_names
from stremn.metrics.prediction.frames import CONVENTIONS
from stremn.tables import Wanted, open_clips

PARTS = ("train", "choose", "report")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "t10k-images")


def test_generated_digits(digits: Path) -> None:
    wanted = Wanted((str(digits),), clips=3, digits=(30, None), seed=5)
    clips = open_clips(wanted, grey=True)
    assert (clips.kind, clips.frames, clips.numbers) == ("moving-mnist", 20, (0, 1, 2))
    expected = MovingMnist(read_digits(digits, 30, 40), seed=5)[ClipRequest(2, 20, 64)].frames
    assert np.array_equal(clips.read(2), (255 * expected[:, 0]).numpy())
    assert not np.array_equal(clips.read(2), clips.read(0))
    assert "digits 30 to 39 of t10k-images with seed 5, 3 clips of 64x64, grey, 10 frames to 10" in clips.note
    assert len(open_clips(Wanted((str(digits),), digits=(0, 9)), grey=True).numbers) == 1000
    # Fewer clips are the first ones, and facts tell clips apart.
    others = [replace(wanted, seed=6), replace(wanted, digits=(29, None)), replace(wanted, horizon=3)]
    facts = [open_clips(other, grey=True).facts for other in others]
    assert all(found != clips.facts for found in facts)
    assert open_clips(replace(wanted, clips=2), grey=True).facts == clips.facts


def test_the_public_test_file(tmp_path: Path) -> None:
    path = tmp_path / "mnist_test_seq.npy"
    sequences = np.random.default_rng(0).integers(0, 256, (20, 4, 64, 64), dtype=np.uint8)
    np.save(path, sequences)
    clips = open_clips(Wanted((str(path),)), grey=True)
    assert (clips.kind, clips.numbers) == ("moving-mnist-file", (0, 1, 2, 3))
    assert np.array_equal(clips.read(3), sequences[:, 3])
    assert open_clips(Wanted((str(path),), clips=2), grey=True).numbers == (0, 1)
    with pytest.raises(StremnError, match="has 4 clips, not 5"):
        open_clips(Wanted((str(path),), clips=5), grey=True)
    with pytest.raises(StremnError, match="20 frames of 64"):
        open_clips(Wanted((str(path),), horizon=11), grey=True)
    # Three dimensions are digits.
    np.save(tmp_path / "digits.npy", sequences[:, 0])
    found = open_clips(Wanted((str(tmp_path / "digits.npy"),), digits=(2, None)), grey=True)
    assert found.facts["digits"] == [2, 20]


def test_videos_and_davis_frames_of_named_sequences(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"one": 9, "two": 4, "three": 9})
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    write_video(tmp_path / "clip.mp4", 8)
    data = (f"{root}:{tmp_path / 'names.txt'}", str(tmp_path / "clip.mp4"))
    wanted = Wanted(data, observe=2, horizon=2, size=32)
    clips = open_clips(wanted, grey=False)
    # Nine frames hold two clips of four, four hold one, eight hold two.
    assert len(clips.numbers) == 2 + 1 + 2
    assert clips.read(4).shape == (4, 32, 32, 3)
    assert "3 videos (one, two, clip)" in clips.note
    assert open_clips(wanted, grey=True).read(0).shape == (4, 32, 32)
    some = open_clips(replace(wanted, sequences=("clip", "two")), grey=False)
    assert len(some.numbers) == 3
    spread = open_clips(replace(wanted, clips=3), grey=False)
    assert spread.numbers == (0, 2, 4)
    assert len(open_clips(replace(wanted, gap=2), grey=False).numbers) == 1 + 0 + 1
    with pytest.raises(StremnError, match=r"no sequence 'three'.*clip, one, two"):
        open_clips(replace(wanted, sequences=("three",)), grey=False)
    with pytest.raises(StremnError, match="no video has 40 frames"):
        open_clips(replace(wanted, horizon=38), grey=False)


def test_the_published_sets_are_read_by_their_protocol(tmp_path: Path) -> None:
    for person in range(17, 26):
        path = tmp_path / "kth" / "boxing" / f"person{person}_boxing_d1_uncomp.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, 31 if person == 17 else 5)
    kth = open_clips(Wanted((f"kth:{tmp_path / 'kth'}",)), grey=True)
    assert kth.protocol.conventions == tuple(CONVENTIONS)
    assert kth.numbers == (0,)
    assert kth.read(0).shape == (30, 128, 128)
    assert "KTH test split" in kth.note
    for subject in ("S9", "S11"):
        folder = tmp_path / "human" / subject / "Walking.54138969"
        folder.mkdir(parents=True)
        for index in range(9):
            Image.fromarray(np.full((20, 20, 3), index, np.uint8)).save(folder / f"{index:06d}.png")
    human = open_clips(Wanted((f"human36m:{tmp_path / 'human'}",)), grey=False)
    # Folders of frames are taken to be those that count.
    assert (human.frames, human.facts["gap"], len(human.numbers)) == (8, 1, 2)


def test_clips_to_be_remembered() -> None:
    wanted = Wanted(("memory:5",), size=32)
    clips = open_clips(wanted, grey=False)
    assert (clips.kind, clips.frames, clips.numbers) == ("memory", 40, tuple(range(99)))
    expected = MemoryClips(5)[ClipRequest(4, 40, 32)].frames
    assert np.array_equal(clips.read(4), (255 * expected).round().permute(0, 2, 3, 1).numpy())
    assert "seed 5 (periodic, panning, uncovering), 99 clips of 32x32, colour, 30 frames to 10" in clips.note
    assert open_clips(wanted, grey=True).read(4).shape == (40, 32, 32)
    some = open_clips(replace(wanted, sequences=("uncovering", "periodic"), clips=5), grey=False)
    assert some.numbers == (0, 2, 3, 5, 6)
    others = [replace(wanted, data=("memory:6",)), replace(wanted, observe=20)]
    assert all(open_clips(other, grey=False).facts != clips.facts for other in others)
    for changes, words in (
        ({"data": ("memory:two",)}, "memory:two: has no seed; give a number"),
        ({"data": ("memory:1", "memory:2")}, "give a table each"),
        ({"sequences": ("walking",)}, "no sequence 'walking'.*periodic, panning, uncovering"),
        ({"gap": 2}, "give no gap"),
    ):
        with pytest.raises(StremnError, match=words):
            open_clips(replace(wanted, **changes), grey=False)


def test_no_video_is_trained_on_chosen_by_and_reported(shared_data: Path) -> None:
    split = Path(str(files("stremn"))) / "recipes" / "predict" / "split"
    davis = shared_data / "DAVIS2016"
    every = {
        "davis": read_names(davis / "ImageSets" / "2016" / "train.txt"),
        "clips": [reel.name for reel in read_reels(shared_data / "clips")],
    }
    for kind, names in every.items():
        found = [name for part in PARTS for name in read_names(split / f"{kind}-{part}.txt")]
        assert sorted(found) == sorted(names)
    assert {path.stem for path in split.iterdir()} == {f"{kind}-{part}" for kind in every for part in PARTS}


@pytest.mark.parametrize(
    ("changes", "grey", "words"),
    [
        ({}, False, "is grey and the model is for colour"),
        ({"sequences": ("a",)}, True, "no videos to choose by name"),
        ({"gap": 2}, True, "give no gap"),
        ({"size": 20}, True, "20 pixels are smaller than a digit"),
        ({"digits": (39, 50)}, True, "has 40 whole digits, not all from 39 to 49"),
    ],
)
def test_what_does_not_go_with_digits(digits: Path, changes: dict, grey: bool, words: str) -> None:
    with pytest.raises(StremnError, match=words) as caught:
        open_clips(Wanted((str(digits),), **({"digits": (0, None)} | changes)), grey=grey)
    assert "\n" not in str(caught.value)


def test_data_that_is_not_there(tmp_path: Path, digits: Path) -> None:
    with pytest.raises(StremnError, match="does not exist"):
        open_clips(Wanted((str(tmp_path / "none"),)), grey=True)
    with pytest.raises(StremnError, match="measured differently"):
        open_clips(Wanted((str(digits), str(tmp_path))), grey=True)
    (tmp_path / "broken.npy").write_bytes(b"none")
    with pytest.raises(StremnError, match=r"broken\.npy: not a readable"):
        open_clips(Wanted((str(tmp_path / "broken.npy"),)), grey=True)
