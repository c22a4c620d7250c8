"""Motion, and what is pasted, doubled and hidden: laws of the parts that clips are made of."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_data import frame, labels, write_stills
from stremn.data import ClipRequest, StillFolder, SyntheticClips
from stremn.data.segmentation.motion import (
    CONTROLS,
    LATTICE,
    Motion,
    motion_blur,
    random_motion,
)
from stremn.data.segmentation.sprites import Sprite, cut_out, hide_objects, look_alike, random_sprite, twin_of

SIZE = 64
STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> StillFolder:
    return StillFolder(write_stills(tmp_path_factory.mktemp("stills") / "small", 2))


def motion_of(matrices: list[np.ndarray], bend: float = 0.0) -> Motion:
    shape = (len(matrices), CONTROLS, CONTROLS, 2)
    bends = np.random.default_rng(0).normal(0, bend, shape) if bend else np.zeros(shape)
    return Motion(np.stack(matrices), bends.astype(np.float32))


def square_sprite(matrices: list[np.ndarray], side: int = 12, shutter: float = 0.0) -> Sprite:
    mask = np.zeros((40, 40), np.uint8)
    mask[10 : 10 + side, 10 : 10 + side] = 1
    picture = cut_out(np.full((40, 40, 3), 255, np.uint8), mask)
    return Sprite(picture, motion_of(matrices), shutter)


def draw(sprite: Sprite, frame_index: int = 0, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    frames = len(sprite.motion.matrices)
    images = [np.zeros((size, size, 3), np.float32) for _ in range(frames)]
    ids = [np.zeros((size, size), np.uint8) for _ in range(frames)]
    sprite.paste(images, ids, 7)
    return images[frame_index], ids[frame_index]


def warp(source: np.ndarray, motion: Motion, index: int, size: int, **how: int) -> np.ndarray:
    height, width = source.shape[:2]
    return motion.pose(index, (height, width), (0, 0, size, size)).apply(source, **how)


# Motion --------------------------------------------------------------------------------------------------


def displacements(bend: np.ndarray) -> np.ndarray:
    """Where each pixel of a source as large as the lattice comes from, less its own place."""
    bends = bend[None].astype(np.float32)
    maps = Motion(STILL[None], bends).pose(0, (LATTICE, LATTICE), (0, 0, LATTICE, LATTICE)).maps
    assert maps is not None
    return np.dstack(maps) - np.dstack(np.meshgrid(np.arange(LATTICE), np.arange(LATTICE)))


def test_the_spline_goes_through_its_control_points_and_keeps_affine_maps() -> None:
    bend = np.random.default_rng(0).normal(size=(CONTROLS, CONTROLS, 2))
    every = (LATTICE - 1) // (CONTROLS - 1)
    np.testing.assert_allclose(displacements(bend)[::every, ::every], bend, atol=1e-4)
    down, right = np.meshgrid(*2 * [np.linspace(0, 1, CONTROLS)], indexing="ij")
    plane = np.dstack([1 + 2 * down - 3 * right, down - right])
    down, right = np.meshgrid(*2 * [np.linspace(0, 1, LATTICE)], indexing="ij")
    expected = np.dstack([1 + 2 * down - 3 * right, down - right])
    np.testing.assert_allclose(displacements(plane), expected, atol=1e-4)


def test_a_bend_of_equal_displacements_is_a_shift() -> None:
    source = cv2.GaussianBlur(frame(0, 64, 64), (5, 5), 0)
    bend = np.zeros((1, CONTROLS, CONTROLS, 2), np.float32)
    bend[..., 0] = 5
    shifted = warp(source, Motion(STILL[None], bend), 0, SIZE)
    np.testing.assert_allclose(shifted[:, :-5].astype(int), source[:, 5:].astype(int), atol=1)


def test_without_bend_motion_is_affine() -> None:
    source = frame(0, 64, 64)
    matrix = np.array([[0.9, -0.2, 8.0], [0.2, 0.9, 3.0]])
    expected = cv2.warpAffine(source, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(warp(source, motion_of([matrix]), 0, SIZE), expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_image_and_labels_bend_alike(seed: int, bend: float) -> None:
    """Where the labels are 1 the image is bright, whatever the motion."""
    rng = np.random.default_rng(seed)
    ids = labels(0, 64, 64)
    image = np.where(ids[..., None] == 1, 1.0, 0.0).astype(np.float32).repeat(3, axis=2)
    options = {"center": (32.0, 32.0), "target": (32.0, 32.0), "scale": 1.2, "speed": 3.0}
    motion = random_motion(rng, 3, bend=bend, **options)
    for t in range(3):
        grey = warp(image, motion, t, SIZE)[..., 0]
        moved = warp(ids, motion, t, SIZE, nearest=True) == 1
        # Interpolated borders and the nearest label may differ by a pixel.
        inner = cv2.erode(moved.astype(np.uint8), np.ones((3, 3))) > 0
        outer = cv2.dilate(moved.astype(np.uint8), np.ones((3, 3))) > 0
        assert (grey[inner] > 0.45).all()
        assert (grey[~outer] < 0.55).all()


def test_some_objects_bend_and_some_are_blurred(stills: StillFolder) -> None:
    rng = np.random.default_rng(0)
    sprites = [s for s in (random_sprite(rng, [stills], 4, SIZE) for _ in range(20)) if s]
    assert 0 < sum(s.motion.bends.any() for s in sprites) < len(sprites)
    assert 0 < sum(s.shutter > 0 for s in sprites) < len(sprites)


@pytest.mark.parametrize(("dx", "dy"), [(9, 0), (0, -7), (6, 6), (1, 1)])
def test_blur_keeps_brightness_and_spreads_along_the_way(dx: float, dy: float) -> None:
    image = np.zeros((31, 31), np.float32)
    image[15, 15] = 1
    blurred = motion_blur(image, dx, dy)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    _, _, width, height = cv2.boundingRect((blurred > 0).astype(np.uint8))
    expected = (1, 1) if dx == dy == 1 else tuple(round(abs(d)) | 1 for d in (dx, dy))
    assert np.allclose((width, height), expected, atol=2)


# Cut-outs --------------------------------------------------------------------------------------------------


def test_a_sprite_is_drawn_where_its_motion_puts_it() -> None:
    there = np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 30.0]])
    canvas, ids = draw(square_sprite([STILL, there]), 1)
    expected = np.zeros((SIZE, SIZE), np.uint8)
    # Two pixels of border belong to the cut-out.
    expected[32:44, 22:34] = 7
    np.testing.assert_array_equal(ids, expected)
    assert (canvas[ids == 7] > 0.5).all()
    assert (canvas[ids == 0] < 0.5).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5), st.integers(1, 6))
def test_a_travel_shows_its_start_first_and_its_end_last_and_zooms_evenly(
    seed: int, zoom: float, frames: int
) -> None:
    rng = np.random.default_rng(seed)
    start, end = rng.uniform(0, 50, 2), rng.uniform(0, 50, 2)
    still = random_motion(rng, frames, center=tuple(start), target=(9, 7), scale=1.5, speed=2)
    moved = still.travel(tuple(start), tuple(end), zoom)
    for t, (before, after) in enumerate(zip(still.matrices, moved.matrices, strict=True)):
        share = t / (frames - 1) if frames > 1 else 0.0
        np.testing.assert_allclose(after[:, :2], before[:, :2] * zoom**share)
        here = start + share * (end - start)
        np.testing.assert_allclose(after @ [*here, 1], before @ [*start, 1], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(-120, 180), st.integers(-120, 180))
def test_a_part_of_the_canvas_is_enough(seed: int, x: int, y: int) -> None:
    """Drawing only where the cut-out can be is drawing it everywhere, also partly or wholly outside."""
    rng = np.random.default_rng(seed)
    mask = (labels(0, 48, 48) == 1).astype(np.uint8)
    cut = cut_out(frame(0, 48, 48), mask)
    motion = random_motion(rng, 1, center=(8, 8), target=(x, y), scale=2.0, speed=0, bend=2.0)
    canvas, ids = draw(Sprite(cut, motion))
    whole = warp(cut, motion, 0, SIZE, border=cv2.BORDER_REPLICATE)
    assert (ids == 7).sum() == pytest.approx((whole[..., 3] > 0.5).sum(), abs=2)
    np.testing.assert_allclose(canvas, whole[..., :3] * whole[..., 3:], atol=0.05)


def test_a_fast_cut_out_is_blurred_along_its_way_and_keeps_its_label() -> None:
    far = np.array([[1.0, 0.0, 30.0], [0.0, 1.0, 26.0]])
    near = np.array([[1.0, 0.0, 18.0], [0.0, 1.0, 26.0]])
    sharp, sharp_ids = draw(square_sprite([near, far], side=6))
    smeared, smeared_ids = draw(square_sprite([near, far], side=6, shutter=1.0))
    assert smeared.sum() == pytest.approx(sharp.sum(), rel=0.02)
    assert 0.3 < smeared.max() < 0.9
    rows, columns = (np.ptp(np.nonzero(smeared[..., 0] > 0.05)[axis]) + 1 for axis in (0, 1))
    assert columns > rows + 6
    assert (smeared_ids == 7).sum() >= (sharp_ids == 7).sum()
    # One that stands still is not blurred.
    np.testing.assert_array_equal(draw(square_sprite([near, near], side=6, shutter=1.0))[0], sharp)


def test_a_twin_looks_alike_and_goes_its_own_way() -> None:
    sprite = square_sprite([STILL] * 4)
    twin = twin_of(np.random.default_rng(0), sprite, 4, SIZE)
    assert twin.picture is sprite.picture
    assert len(twin.motion.matrices) == 4
    assert not np.allclose(twin.motion.matrices, sprite.motion.matrices)
    scales = np.sqrt(np.abs(np.linalg.det(twin.motion.matrices[0, :, :2])))
    assert np.exp(-0.3) <= scales <= np.exp(0.3)


def test_a_look_alike_copies_one_object() -> None:
    canvas = frame(0, 64, 64).astype(np.float32) / 255
    ids = labels(0, 64, 64)
    found = {2: 0, 1: 0}
    for seed in range(12):
        sprite = look_alike(np.random.default_rng(seed), canvas, ids, 3)
        assert sprite is not None
        middle = sprite.picture[sprite.picture[..., 3] > 0.9][:, :3]
        bright = middle.mean() > 0.5
        assert middle.std(axis=0).max() < 0.05
        found[1 if bright else 2] += 1
    assert all(found.values())


@pytest.mark.parametrize("side", [0, 10, 40])
def test_no_look_alike_of_nothing_or_of_what_is_too_small_or_large(side: int) -> None:
    ids = np.zeros((64, 64), np.uint8)
    ids[:side, :side] = 1
    assert look_alike(np.random.default_rng(0), np.zeros((64, 64, 3), np.float32), ids, 3) is None


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9))
def test_hidden_objects_come_back(stills: StillFolder, seed: int, count: int) -> None:
    images = [frame(t, 64, 64).astype(np.float32) / 255 for t in range(count)]
    ids = [labels(t, 64, 64) for t in range(count)]
    hide_objects(np.random.default_rng(seed), images, ids, [stills])
    hidden = [t for t in range(count) if not ids[t].any()]
    for t in set(range(count)) - set(hidden):
        np.testing.assert_array_equal(ids[t], labels(t, 64, 64))
        np.testing.assert_array_equal(images[t], frame(t, 64, 64).astype(np.float32) / 255)
    for t in hidden:
        assert (images[t] != frame(t, 64, 64).astype(np.float32) / 255).any()
    if count < 4:
        assert not hidden
    else:
        assert 1 <= len(hidden) <= 4
        assert hidden == list(range(hidden[0], hidden[-1] + 1))
        assert 0 < hidden[0] <= hidden[-1] < count - 1


def test_in_some_clips_objects_disappear_and_return(stills: StillFolder) -> None:
    clips = SyntheticClips([stills], objects=1, seed=0)
    found = 0
    for index in range(30):
        seen = (clips[ClipRequest(index, 6, 32)].labels > 0).flatten(1).any(dim=1).tolist()
        found += any(a and not b for a, b in pairwise(seen)) and seen[-1]
    assert found


def test_stills_whose_objects_are_too_small(tmp_path: Path) -> None:
    root = write_stills(tmp_path / "stills", 1)
    tiny = np.zeros((64, 96), np.uint8)
    tiny[:5, :5] = 1
    cv2.imwrite(str(root / "masks" / "still0.png"), tiny)
    assert random_sprite(np.random.default_rng(0), [StillFolder(root)], 2, SIZE) is None
