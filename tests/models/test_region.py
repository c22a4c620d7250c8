"""An object that is looked for around where it was is found as in the whole frame."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from small_data import frame, labels
from stremn import SegmentationSession, StremnError
from stremn.memory import MemoryLayout, SlotMemory, Template, get_policy
from stremn.models import MODELS
from stremn.models.region import (
    BORDER,
    EVERYWHERE,
    MARGIN,
    SEEN,
    SNAP,
    WINDOW,
    WORTH,
    Region,
    Window,
    regions_of,
    share_of,
    window_of,
)
from stremn.sessions import SegmentationSettings
from stremn.sessions.confidence import CHECK_EVERY

GRID = (30, 54)
SPAN = st.tuples(st.integers(0, 11), st.integers(1, 12)).filter(lambda ends: ends[0] < ends[1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SPAN, SPAN), min_size=1, max_size=4), st.data())
def test_a_region_holds_its_object_and_a_margin(
    boxes: list[tuple[tuple[int, int], tuple[int, int]]], data: st.DataObject
) -> None:
    near = [data.draw(st.booleans()) for _ in boxes]
    masks = torch.full((len(boxes), 1, 4 * GRID[0], 4 * GRID[1]), SEEN / 2)
    for mask, ((top, bottom), (left, right)) in zip(masks, boxes, strict=True):
        mask[0, 4 * top : 4 * bottom, 4 * left : 4 * right] = 1
    regions = regions_of(masks, GRID, near)
    assume(regions)
    assert share_of(regions, GRID) <= WORTH
    for region, box, close in zip(regions, boxes, near, strict=True):
        for (first, last), (start, end), whole in zip((region.rows, region.columns), box, GRID, strict=True):
            assert (first, last) == (0, whole) or close
            assert first == max(0, start - MARGIN) or first < start - MARGIN or not first
            assert 0 <= first <= max(0, start - MARGIN)
            assert min(whole, end + MARGIN) <= last <= whole


def test_an_object_that_is_nowhere_is_looked_for_everywhere() -> None:
    masks = torch.zeros(2, 1, 120, 216)
    assert regions_of(masks, GRID, [True, True]) == []
    masks[0, 0, 8:12, 8:12] = 1
    assert regions_of(masks, GRID, [True, True])[1] == Region((0, 30), (0, 54))


def test_many_objects_are_looked_for_everywhere_in_turn() -> None:
    whole, masks = Region((0, 30), (0, 54)), torch.zeros(50, 1, 120, 216)
    for i, mask in enumerate(masks):
        mask[0, 40, 4 * i] = 0.9 if i % 2 else 0.1  # half of them are seen, none surely
    turns: list[int] = []
    for frame_index in range(0, 51, CHECK_EVERY):
        regions = regions_of(masks, GRID, [False] * 50, frame_index)
        turn = [i for i, region in enumerate(regions) if region == whole]
        assert len(turn) == EVERYWHERE
        turns += turn
        assert all(r.rows[0] <= 10 < r.rows[1] for r in regions)
        assert all(r.columns[0] <= i < r.columns[1] for i, r in enumerate(regions))
    assert set(turns) == set(range(50))
    few = regions_of(masks[:4], GRID, [False] * EVERYWHERE + [True], 7)
    assert few == [] or few[:EVERYWHERE] == [whole] * EVERYWHERE
    assert regions_of(masks, GRID, []) == []


def test_what_is_cut_is_pasted_back_but_for_its_border() -> None:
    grid = (12, 20)
    maps, region = torch.rand(1, 3, 24, 40), Region((0, 5), (8, 20))
    part, target = region.cut(maps, grid), torch.full((1, 3, 24, 40), -1.0)
    assert part.shape == (1, 3, 10, 24)
    region.paste(target, part, grid)
    inside = torch.zeros(24, 40, dtype=torch.bool)
    # At the edge of the frame there is nothing beside it.
    inside[: 2 * (5 - BORDER), 2 * (8 + BORDER) :] = True
    assert torch.equal(target[..., inside], maps[..., inside])
    assert (target[..., ~inside] == -1).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SPAN, SPAN), min_size=1, max_size=4))
def test_a_window_holds_all_objects_and_what_is_around_them(
    boxes: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    masks = torch.zeros(len(boxes), 1, 4 * GRID[0], 4 * GRID[1])
    for mask, ((top, bottom), (left, right)) in zip(masks, boxes, strict=True):
        mask[0, 4 * top : 4 * bottom, 4 * left : 4 * right] = 1
    window = window_of(masks, GRID, [True] * len(boxes))
    assert window is not None  # the boxes lie in one corner
    assert share_of([window], GRID) <= WORTH
    for by, ((first, last), whole) in enumerate(zip((window.rows, window.columns), GRID, strict=True)):
        start, end = min(box[by][0] for box in boxes), max(box[by][1] for box in boxes)
        assert max(0, start - WINDOW - SNAP) < first + 1
        assert first <= max(0, start - WINDOW)
        assert min(whole, end + WINDOW) <= last <= min(whole, end + WINDOW + SNAP)
        assert first % SNAP == 0
        assert last % SNAP == 0 or last == whole
    assert window_of(masks, GRID, [True] * (len(boxes) - 1) + [False]) is None
    assert window_of(masks, GRID, []) is None
    assert window_of(torch.cat([masks, 0 * masks[:1]]), GRID, [True] * (len(boxes) + 1)) is None


def test_there_is_no_window_around_nearly_everything() -> None:
    masks = torch.zeros(2, 1, 120, 216)
    masks[0, 0, 4, 4] = masks[1, 0, 100, 200] = 1
    assert window_of(masks[:1], GRID, [True]) is not None
    assert window_of(masks[1:], GRID, [True]) is not None
    assert window_of(masks, GRID, [True, True]) is None


def test_a_template_of_a_window_is_completed_by_the_newest() -> None:
    grid, window = (4, 6), Window((0, 3), (2, 6), (4, 6))

    def template(value: float, positions: int) -> Template:
        return Template(*(torch.full((2, positions, channels), value) for channels in (3, 5, 2)))

    def on(whole: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        maps = whole.transpose(1, 2).unflatten(2, grid)
        return window.on(maps, part.transpose(1, 2).unflatten(2, (3, 4))).flatten(2).transpose(1, 2)

    with torch.inference_mode():
        memory = SlotMemory.of_first_frame(template(1, 24), 0, MemoryLayout.of_slots(3))
        assert set(memory.completed(template(9, 12), on).value.unique().tolist()) == {1.0, 9.0}
        memory = memory.update(template(2, 24), 5, get_policy("oldest"))
        whole = memory.completed(template(9, 12), on)
    for part in whole:
        found = part.transpose(1, 2).unflatten(2, grid)
        assert (window.of(found)[..., : 3 - BORDER, BORDER:] == 9).all()
        assert (found == 2).sum() == 2 * part.shape[2] * (24 - (3 - BORDER) * (4 - BORDER))


def test_what_is_far_from_all_objects_is_not_looked_at() -> None:
    """Where they are given, and where the session asks itself whether it is sure, it is."""
    frames, mask = [frame(i, 240, 400) for i in range(CHECK_EVERY)], labels(0, 240, 400)
    mask[:, 200:] = 0
    other = [f.copy() for f in frames]
    for i, image in enumerate(other[1:]):
        image[:, 330:] = frame(20 + i, 240, 400)[:, :70][::-1]
    near, same, all_of_it, differs = (
        SegmentationSession("stremn-lite", size=0, search_region=where, device="cpu")
        for where in (True, True, False, False)
    )
    for i, (image, changed) in enumerate(zip(frames, other, strict=True)):
        given_now = mask if i == 0 else None
        a, b = near.step(image, given_now), same.step(changed, given_now)
        assert np.array_equal(a.probabilities, b.probabilities)
        c, d = all_of_it.step(image, given_now), differs.step(changed, given_now)
    assert not np.array_equal(c.probabilities, d.probabilities)


@pytest.mark.parametrize("objects", [1, 2])
def test_what_is_not_sure_keeps_the_window_from_no_other(objects: int) -> None:
    frames, mask = [frame(i, 240, 400) for i in range(2)], labels(0, 240, 400) > 0
    mask[:, 200:] = 0
    rows = np.flatnonzero(mask.any(axis=1))
    given = mask.astype(np.uint8)
    given[rows[len(rows) // 2] :] *= objects  # one object, or one above the other
    changed = frames[1].copy()
    changed[:, 330:] = frame(20, 240, 400)[:, :70][::-1]
    found = []
    for image in (frames[1], changed):
        session = SegmentationSession("stremn-lite", size=0, device="cpu")
        session.step(frames[0], given)
        session._confidence[objects] = 0.1
        found.append(session.step(image).probabilities)
    # The second frame is not checked; one object alone is looked for in all of it.
    assert np.array_equal(*found) == (objects == 2)


def followed(frames: list[np.ndarray], mask: np.ndarray, *, search_region: bool) -> list[np.ndarray]:
    session = SegmentationSession("stremn-lite", size=0, search_region=search_region, device="cpu")
    return [session.step(f, mask if i == 0 else None).labels for i, f in enumerate(frames)]


def test_objects_are_found_as_in_the_whole_frame() -> None:
    """Also where one object joins later, so that a template of a whole frame is between."""
    frames, mask = [frame(i, 240, 400) for i in range(8)], labels(0, 240, 400)
    found = [followed(frames, mask, search_region=where) for where in (True, False)]
    assert np.mean([(a == b).mean() for a, b in zip(*found, strict=True)]) > 0.998
    overlap = [(a == labels(i, 240, 400)).mean() for i, a in enumerate(found[0])]
    assert min(overlap) > 0.97


def test_an_object_that_was_away_is_found_where_it_comes_back() -> None:
    mask = np.zeros((240, 400), np.uint8)
    mask[90:150, 40:100] = 1
    empty = frame(0, 240, 400)
    empty[labels(0, 240, 400) > 0] = 120
    far = np.roll(mask, 240, axis=1)
    shown = [np.where(m[..., None] > 0, np.uint8([240, 230, 60]), empty) for m in (mask, 0 * mask, far)]
    found = followed([shown[0]] * 3 + [shown[1]] * 4 + [shown[2]] * 3, mask, search_region=True)
    assert not found[6].any()
    assert (found[-1] & far).sum() > 0.8 * far.sum()


def test_what_cannot_look_at_regions_says_so() -> None:
    with pytest.raises(StremnError, match="a model 'stm' looks at all of a frame: leave search_region out"):
        SegmentationSettings(search_region=True).resolved(MODELS["stremn-r50"])
    with pytest.raises(StremnError, match="a compiled session looks at all of a frame"):
        SegmentationSession("stremn-lite", search_region=True, compile="eager")
    assert SegmentationSession("stremn-lite", device="cpu").settings.search_region is True
    assert SegmentationSession("stremn-lite", device="cpu", compile="eager").settings.search_region is False
