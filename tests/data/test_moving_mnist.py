"""Moving MNIST: generated, and from the public file."""

import gzip
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from stremn.data import ClipRequest, MovingMnist, MovingMnistFile, collate_frames, read_digits
from stremn.data.prediction.mnist import move_digits
from stremn.errors import StremnError


def blocks(count: int = 5, side: int = 28) -> np.ndarray:
    """Digits without an empty rim, each of its own brightness."""
    return np.stack([np.full((side, side), 50 + 40 * i, np.uint8) for i in range(count)])


def idx(digits: np.ndarray) -> bytes:
    return struct.pack(">4I", 0x803, *digits.shape) + digits.tobytes()


def test_all_kinds_of_digit_files(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    files = [tmp_path / name for name in ("a-ubyte", "a.gz", "a.npy", "one.npz", "keras.npz")]
    files[0].write_bytes(idx(digits))
    files[1].write_bytes(gzip.compress(idx(digits)))
    np.save(files[2], digits)
    np.savez(files[3], digits)
    np.savez(files[4], x_train=digits, y_train=np.zeros(7), x_test=digits[:1])
    for file in files:
        np.testing.assert_array_equal(read_digits(file), digits)
        np.testing.assert_array_equal(read_digits(file, 2, 5), digits[2:5])


def test_cut_off_file_gives_its_whole_digits_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    file = tmp_path / "digits.gz"
    file.write_bytes(gzip.compress(idx(digits))[:-3000])
    with caplog.at_level(logging.WARNING, "stremn"):
        np.testing.assert_array_equal(read_digits(file, 0, 40), digits[:40])
    assert "cut off" in caplog.text
    with pytest.raises(StremnError, match="whole digits, not all from 40 to 49"):
        read_digits(file, 40, 50)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.gz", None),
        ("labels", struct.pack(">2I", 0x801, 3) + bytes(30)),
        ("short", b"\0\0"),
        ("empty.gz", b""),
        ("broken.gz", b"\x1f\x8b" + bytes(40)),
        ("text.npy", b"digits"),
        ("text.npz", b"PK digits"),
    ],
)
def test_what_is_no_digit_file(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StremnError, match=name) as caught:
        read_digits(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_arrays_of_another_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 28, 28), np.float32))
    with pytest.raises(StremnError, match="8 bits"):
        read_digits(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", a=blocks(), b=blocks())
    with pytest.raises(StremnError, match="2 arrays"):
        read_digits(tmp_path / "b.npz")
    np.save(tmp_path / "c.npy", blocks(4))
    with pytest.raises(StremnError, match="has 4 whole digits"):
        read_digits(tmp_path / "c.npy", 2, 5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(28, 70), st.integers(1, 3), st.integers(1, 60))
def test_digits_stay_inside_and_move_straight(seed: int, size: int, count: int, frames: int) -> None:
    clip = move_digits(np.random.default_rng(seed), blocks(1), frames, size, count=count)
    assert clip.shape == (frames, size, size, 1)
    seen = clip[..., 0] > 0
    for t in range(frames):
        # Inside, so whole: the rows that a block covers are 28 at least, and one digit has all its pixels.
        assert seen[t].any(axis=1).sum() >= 28
        assert seen[t].any(axis=0).sum() >= 28
        if count == 1:
            assert seen[t].sum() == 28 * 28
    if count == 1:
        rows, columns = (seen.any(axis=axis).argmax(axis=1) for axis in (2, 1))
        speed = 0.1 * (size - 28)
        for corner in (rows, columns):
            assert np.abs(np.diff(corner)).max(initial=0) <= speed + 1
        if size > 40 and frames == 60:
            assert len(set(zip(rows, columns, strict=True))) > 1


def test_a_digit_turns_back_at_the_wall() -> None:
    clip = move_digits(np.random.default_rng(3), blocks(1), 200, 64, count=1)[..., 0] > 0
    for axis in (2, 1):
        corner = clip.any(axis=axis).argmax(axis=1).astype(int)
        assert corner.min() >= 0
        assert corner.max() <= 36
        moves = np.sign(np.diff(corner))
        assert {-1, 1} <= set(moves)
        turns = np.flatnonzero(np.diff(moves[moves != 0]))
        assert len(turns) >= 2


def test_the_brighter_digit_shows() -> None:
    digits = blocks(2)
    clip = move_digits(np.random.default_rng(0), digits, 20, 28, count=2)
    assert (clip == clip.max()).all()


def test_clip_depends_on_seed_and_number_only() -> None:
    data = MovingMnist(blocks(), seed=1)
    a, b = data[ClipRequest(7, 12, 64)].frames, MovingMnist(blocks(), seed=1)[ClipRequest(7, 12, 64)].frames
    assert torch.equal(a, b)
    assert torch.equal(a[:5], data[ClipRequest(7, 5, 64)].frames)
    assert not torch.equal(a, data[ClipRequest(8, 12, 64)].frames)
    assert not torch.equal(a, MovingMnist(blocks(), seed=2)[ClipRequest(7, 12, 64)].frames)
    assert a.shape == (12, 1, 64, 64)
    assert a.dtype == torch.float32
    assert a.min() == 0
    assert 0 < a.max() <= 1


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_clips(workers: int) -> None:
    data = MovingMnist(blocks(), seed=0)
    batches = [[ClipRequest(4 * i + j, 6, 40) for j in range(4)] for i in range(3)]
    loader = DataLoader(data, batch_sampler=batches, num_workers=workers, collate_fn=collate_frames)
    for batch, requests in zip(loader, batches, strict=True):
        assert torch.equal(batch.frames, torch.stack([data[r].frames for r in requests]))


def test_frame_smaller_than_a_digit() -> None:
    with pytest.raises(StremnError, match="set 'size' to 28"):
        MovingMnist(blocks(), seed=0)[ClipRequest(0, 5, 27)]


def test_digits_at_hand(shared_data: Path) -> None:
    digits = read_digits(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz", 0, 8000)
    assert digits.shape == (8000, 28, 28)
    clip = MovingMnist(digits, seed=0)[ClipRequest(0, 20, 64)].frames
    assert clip.max() == 1
    assert 0.01 < (clip > 0.5).float().mean() < 0.2


def public_file(path: Path, count: int = 3) -> np.ndarray:
    sequences = np.random.default_rng(0).integers(0, 256, (20, count, 64, 64), dtype=np.uint8)
    np.save(path, sequences)
    return sequences


def test_public_file(tmp_path: Path) -> None:
    sequences = public_file(tmp_path / "mnist_test_seq.npy")
    data = MovingMnistFile(tmp_path / "mnist_test_seq.npy")
    assert len(data) == 3
    clip = data[ClipRequest(1, 20, 64)].frames
    np.testing.assert_array_equal((clip * 255).round().numpy().astype(np.uint8)[:, 0], sequences[:, 1])
    assert data[ClipRequest(2, 11, 64)].frames.shape == (11, 1, 64, 64)
    with pytest.raises(IndexError):
        data[ClipRequest(3, 20, 64)]
    for frames, size in ((21, 64), (20, 128)):
        with pytest.raises(StremnError, match="'frames' and 'size'"):
            data[ClipRequest(0, frames, size)]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 20, 64, 64), np.uint8),
        np.zeros((20, 3, 64, 64), np.float32),
        np.zeros((20, 64, 64), np.uint8),
        np.zeros((20, 0, 64, 64), np.uint8),
    ],
)
def test_public_file_of_another_layout(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(StremnError, match=r"is uint8 \(20, 10000, 64, 64\), frames first"):
        MovingMnistFile(tmp_path / "a.npy")


def test_public_file_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "mnist_test_seq.npy"
    public_file(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(StremnError, match="download it again"):
        MovingMnistFile(path)
