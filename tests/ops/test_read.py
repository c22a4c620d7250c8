"""Laws of the space-time read, Eq. (5)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stremn.ops import affinity, space_time_read
from stremn.ops.read import Method, Similarity

SIMILARITIES = st.sampled_from(["dot", "l2"])
METHODS: tuple[Method, ...] = ("dense", "blockwise", "fused")
SIZE = st.integers(1, 6)
SEED = st.integers(0, 2**31)


def _memory(seed: int, objects: int, queries: int, places: int, ck: int, cv: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (objects, queries, ck), (objects, places, ck), (objects, places, cv)
    return tuple(torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)


def _some_occupied(seed: int, objects: int, places: int) -> Tensor:
    """Random, at least one place in every row."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(objects, places, generator=generator) < 0.5
    must = torch.randint(places, (objects, 1), generator=generator)
    return occupied.scatter(1, must, True)


@settings(max_examples=60, deadline=None)
@given(
    SEED,
    SIZE,
    st.integers(1, 17),
    st.integers(1, 13),
    SIZE,
    SIZE,
    SIMILARITIES,
    st.booleans(),
    st.sampled_from([None, 1.0, 0.3]),
    st.integers(1, 20),
)
def test_fused_blockwise_and_dense_agree(
    seed: int,
    objects: int,
    queries: int,
    places: int,
    ck: int,
    cv: int,
    similarity: Similarity,
    masked: bool,
    scale: float | None,
    block: int,
) -> None:
    memory = _memory(seed, objects, queries, places, ck, cv)
    occupied = _some_occupied(seed, objects, places) if masked else None
    dense, blockwise, fused = (
        space_time_read(
            *memory, similarity=similarity, scale=scale, occupied=occupied, method=method, block=block
        )
        for method in METHODS
    )
    assert dense.shape == (objects, queries, cv)
    torch.testing.assert_close(blockwise, dense)
    torch.testing.assert_close(fused, dense)


@settings(max_examples=40, deadline=None)
@given(
    SEED,
    st.integers(1, 3),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    SIZE,
    SIMILARITIES,
    st.booleans(),
    st.sampled_from(METHODS),
)
def test_parts_are_read_as_if_each_were_the_whole_memory(
    seed: int,
    objects: int,
    parts: list[int],
    cv: int,
    similarity: Similarity,
    masked: bool,
    method: Method,
) -> None:
    query, key, value = _memory(seed, objects, 9, sum(parts), 3, cv)
    some = [_some_occupied(seed + i, objects, n) for i, n in enumerate(parts)]
    occupied = torch.cat(some, dim=1) if masked else None
    options = {"similarity": similarity, "method": method}
    got = space_time_read(query, key, value, occupied=occupied, parts=parts, **options)
    each = zip(key.split(parts, 1), value.split(parts, 1), some, strict=True)
    expected = [space_time_read(query, k, v, occupied=o if masked else None, **options) for k, v, o in each]
    torch.testing.assert_close(got, torch.cat(expected, dim=-1))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("queries", [1, 7, 64])
@pytest.mark.parametrize("objects", [1, 2])
def test_the_number_of_threads_changes_nothing(
    objects: int, queries: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = _memory(3, objects, queries, 11, 4, 5)
    expected = space_time_read(*memory, method="dense")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.testing.assert_close(space_time_read(*memory, method="fused"), expected)


def test_parts_that_are_not_the_whole_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"parts \[2, 3\] do not add up to the 4 positions"):
        space_time_read(*_memory(0, 1, 2, 4, 2, 2), parts=[2, 3])


@settings(max_examples=25, deadline=None)
@given(SEED, SIZE, st.integers(1, 5), st.integers(1, 4), SIMILARITIES, st.sampled_from(METHODS))
def test_the_order_of_slots_does_not_matter(
    seed: int, objects: int, slots: int, positions: int, similarity: Similarity, method: Method
) -> None:
    query, key, value = _memory(seed, objects, 5, slots * positions, 3, 2)
    occupied = _some_occupied(seed, objects, slots)
    order = torch.randperm(slots, generator=torch.Generator().manual_seed(seed))

    def read(order: Tensor) -> Tensor:
        key_, value_ = (t.unflatten(1, (slots, positions))[:, order].flatten(1, 2) for t in (key, value))
        places = occupied[:, order].repeat_interleave(positions, dim=1)
        return space_time_read(query, key_, value_, similarity=similarity, occupied=places, method=method)

    torch.testing.assert_close(read(order), read(torch.arange(slots)))


@settings(max_examples=40, deadline=None)
@given(
    SEED,
    SIZE,
    st.integers(1, 9),
    SIMILARITIES,
    st.sampled_from(METHODS),
    st.sampled_from([torch.float32, torch.float64]),
    st.floats(-1e30, 1e30),
)
def test_whatever_unoccupied_places_hold_changes_neither_readout_nor_gradient(
    seed: int,
    objects: int,
    places: int,
    similarity: Similarity,
    method: Method,
    dtype: torch.dtype,
    garbage: float,
) -> None:
    query, key, value = (t.to(dtype) for t in _memory(seed, objects, 4, places, 3, 2))
    occupied = _some_occupied(seed, objects, places)
    query.requires_grad_()

    def read(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        readout = space_time_read(query, key, value, similarity=similarity, occupied=occupied, method=method)
        return readout.detach(), torch.autograd.grad(readout.square().sum(), query)[0]

    empty = ~occupied.unsqueeze(-1)
    clean = read(key.masked_fill(empty, 0), value.masked_fill(empty, 0))
    dirty = read(key.masked_fill(empty, garbage), value.masked_fill(empty, garbage))
    torch.testing.assert_close(dirty, clean)


@pytest.mark.parametrize("scale", [None, 1.0, 0.25])
@pytest.mark.parametrize("method", METHODS)
def test_l2_is_the_softmax_of_negative_squared_distances(method: Method, scale: float | None) -> None:
    query, key, value = _memory(0, 2, 5, 7, 4, 3)
    factor = 1 / math.sqrt(4) if scale is None else scale
    distance = (query.unsqueeze(2) - key.unsqueeze(1)).square().sum(dim=-1)
    weights = torch.softmax(-distance * factor, dim=-1)
    torch.testing.assert_close(affinity(query, key, similarity="l2", scale=scale), weights)
    readout = space_time_read(query, key, value, similarity="l2", scale=scale, method=method)
    torch.testing.assert_close(readout, weights @ value)


@pytest.mark.parametrize("scale", [1.0, None], ids=["to the letter", "by the square root"])
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_dot_is_equation_5_by_loops(method: Method, scale: float | None) -> None:
    query, key, value = _memory(1, 2, 3, 4, 5, 2)
    readout = space_time_read(query, key, value, scale=scale, method=method)
    for o in range(2):
        for i in range(3):
            products = [sum(float(a * b) for a, b in zip(query[o, i], key[o, j])) for j in range(4)]
            weights = [math.exp(x if scale else x / math.sqrt(5)) for x in products]
            expected = sum(w * value[o, j] for j, w in enumerate(weights)) / sum(weights)
            torch.testing.assert_close(readout[o, i], expected, rtol=1e-13, atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(SEED, SIMILARITIES, st.booleans())
def test_affinity_is_a_distribution_over_occupied_places(
    seed: int, similarity: Similarity, masked: bool
) -> None:
    query, key, _ = _memory(seed, 3, 4, 6, 5, 1)
    occupied = _some_occupied(seed, 3, 6) if masked else torch.ones(3, 6, dtype=torch.bool)
    weights = affinity(query, key, similarity=similarity, occupied=occupied)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 4, dtype=torch.float64))
    assert (weights >= 0).all()
    assert (weights.transpose(1, 2)[~occupied] == 0).all()


@pytest.mark.parametrize("option", [{"similarity": "cosine"}, {"method": "sparse"}])
def test_an_unknown_name_is_refused_and_named(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(option.values()))):
        space_time_read(*_memory(0, 1, 2, 2, 2, 2), **option)  # type: ignore[arg-type]
