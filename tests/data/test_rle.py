"""Run lengths: what is packed is unpacked, and a string that COCO's own tool wrote is read right."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layouts import pack, runs
from stremn.data.segmentation.coco import decode_runs, unpack_runs

# Written by pycocotools 2.0.11 for the mask of `test_a_string_of_the_coco_tool`.
OF_THE_TOOL = "e<i0?" + 18 * "0" + "^O" + 9 * "B:>F" + "B:>8" + 38 * "0" + "[<"


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))
)
def test_masks_survive(mask: np.ndarray) -> None:
    numbers = unpack_runs(pack(runs(mask)))
    assert numbers == runs(mask)
    np.testing.assert_array_equal(decode_runs(numbers, *mask.shape), mask)


@given(st.lists(st.integers(0, 2**40), max_size=30))
def test_long_runs_survive(numbers: list[int]) -> None:
    assert unpack_runs(pack(numbers)) == numbers


@given(st.text(max_size=20))
def test_any_text_is_unpacked_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(number, int) for number in unpack_runs(text))


def test_a_string_of_the_coco_tool() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:30, 10:50] = 1
    mask[12, 20:30] = 0
    np.testing.assert_array_equal(decode_runs(unpack_runs(OF_THE_TOOL), 40, 60), mask)
    assert pack(runs(mask)) == OF_THE_TOOL


@pytest.mark.parametrize("numbers", [[5], [3, 2], [-1, 7], []])
def test_runs_of_another_size(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fill 3x2 pixels"):
        decode_runs(numbers, 2, 3)
