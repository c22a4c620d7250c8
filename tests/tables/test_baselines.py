"""Baselines foresee what they claim to: nothing moves, or all goes on as it moved."""

import cv2
import numpy as np
import pytest

from stremn.tables.baselines import BASELINES, carry_on, copy_last


def texture(channels: int, height: int = 96, width: int = 120) -> np.ndarray:
    """``(height, width, channels)`` float32: smooth spots of every grey, or of every colour."""
    spots = np.random.default_rng(3).uniform(0, 255, (height // 6, width // 6, channels)).astype(np.float32)
    return cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def moving(speed: tuple[float, float], frames: int, channels: int, side: int = 48) -> np.ndarray:
    """A window that goes over the texture by ``speed`` (x, y) pixels a frame, ``(T, side, side[, 3])``."""
    whole = texture(channels).clip(0, 255)
    shown = [
        cv2.getRectSubPix(whole, (side, side), (50 + speed[0] * t, 46 + speed[1] * t)) for t in range(frames)
    ]
    return np.stack(shown).round().astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("speed", [(2.0, 0.0), (-1.5, 0.75), (0.4, -0.3)])
def test_what_moves_evenly_is_foreseen(channels: int, speed: tuple[float, float]) -> None:
    clip = moving(speed, 8, channels)
    found, copied = carry_on(clip[:3], 5), copy_last(clip[:3], 5)
    assert (found.shape, found.dtype) == (clip[3:].shape, np.uint8)
    # What comes in at the edges was never seen.
    inner = (slice(None), slice(14, -14), slice(14, -14))
    error, still = (np.abs(f.astype(int) - clip[3:])[inner].mean(axis=(1, 2)) for f in (found, copied))
    assert error.max() < 3
    assert (error < still / 2).all()
    np.testing.assert_array_equal(found, carry_on(clip[1:3], 5))


def test_each_frame_is_as_sharp_as_the_last_one_observed() -> None:
    """A frame that were sampled from the one before, and that from its own, would lose its steps of grey."""
    board = np.kron(np.indices((40, 40)).sum(axis=0) % 2, np.ones((4, 4))).astype(np.uint8) * 255
    clip = np.stack([board[:64, t : t + 64] for t in range(2)])
    found = carry_on(clip, 30)[:, 16:-16, 2:30]
    steps = np.abs(np.diff(found.astype(int), axis=2)).max(axis=(1, 2))
    assert steps.min() > 200


@pytest.mark.parametrize("shape", [(40, 56), (40, 56, 3), (11, 9), (1, 1, 3)])
def test_a_still_scene_is_copied_bit_by_bit(shape: tuple[int, ...]) -> None:
    still = np.repeat(np.random.default_rng(0).integers(0, 256, (1, *shape), dtype=np.uint8), 4, axis=0)
    for baseline in BASELINES.values():
        np.testing.assert_array_equal(baseline(still[:2], 2), still[:2])


def test_of_one_frame_nothing_moves() -> None:
    clip = moving((2, 1), 3, 3)
    np.testing.assert_array_equal(carry_on(clip[:1], 2), clip[[0, 0]])
