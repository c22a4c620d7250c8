"""Frames as people have them, the internal size, and where and how a session computes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stremn.errors import StremnError
from stremn.memory import EXACT
from stremn.models import Segmenter
from stremn.runtime import Runtime
from stremn.sessions import SegmentationSession
from stremn.sessions.inputs import as_frame, as_frame_index, as_object_masks, internal_size, to_input

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]


def forms_of_frame(frame: np.ndarray) -> dict[str, Any]:
    planes = torch.from_numpy(frame).permute(2, 0, 1)
    return {
        "array": frame,
        "strided array": np.asfortranarray(frame),
        "float array": frame / 255,
        "float32 array": (frame / 255).astype(np.float32),
        "picture": Image.fromarray(frame),
        "tensor": planes,
        "float tensor": planes.float() / 255,
        "tensor with gradient": (planes.float() / 255).requires_grad_(),
        "tensor, channels last": torch.from_numpy(frame),
    }


def forms_of_mask(mask: np.ndarray) -> dict[str, Any]:
    picture = Image.fromarray(mask)
    palette = picture.copy()
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    return {
        "array": mask,
        "int64 array": mask.astype(np.int64),
        "float array": mask.astype(np.float32),
        "picture": picture,
        "palette picture": palette,
        "tensor": torch.from_numpy(mask),
        "tensor with a channel": torch.from_numpy(mask).unsqueeze(0),
        "mapping of tensors": {int(i): torch.from_numpy(mask == i) for i in np.unique(mask) if i},
    }


def test_every_form_of_frame_is_the_same_frame(video: list[np.ndarray]) -> None:
    for name, form in forms_of_frame(video[0]).items():
        frame = as_frame(form)
        assert frame.dtype == np.uint8, name
        assert np.array_equal(frame, video[0]), name


def test_every_form_of_mask_is_the_same_mask(boxes: Boxes) -> None:
    labels = boxes(1, 3)
    for name, form in forms_of_mask(labels).items():
        masks = as_object_masks(form, labels.shape)
        assert list(masks) == [1, 3], name
        assert all(np.array_equal(mask, labels == i) for i, mask in masks.items()), name


def test_every_form_gives_the_same_result(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    def run(frame: str, mask: str) -> np.ndarray:
        session = open_session()
        session.step(forms_of_frame(video[0])[frame], forms_of_mask(boxes(1, 3))[mask])
        return session.step(forms_of_frame(video[1])[frame]).probabilities

    expected = run("array", "array")
    for frame, mask in [("picture", "palette picture"), ("float tensor", "tensor"), ("tensor", "picture")]:
        assert np.array_equal(run(frame, mask), expected)


def test_grey_frames_are_coloured_frames_without_colour(video: list[np.ndarray]) -> None:
    grey = np.ascontiguousarray(video[0][:, :, 0])
    expected = np.stack([grey] * 3, axis=2)
    forms = [
        grey,
        grey[:, :, None],
        Image.fromarray(grey),
        torch.from_numpy(grey),
        torch.from_numpy(grey)[None],
        grey / 255,
    ]
    for form in forms:
        assert np.array_equal(as_frame(form), expected)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((1, 3, 4, 4), np.uint8),
        torch.zeros(2, 4, 5),
        np.zeros(3, np.uint8),
        None,
        "frame.png",
        torch.zeros(4, 4, 3).to_sparse(),
        torch.zeros(4, 4, 3, device="meta"),
        [[1, 2], [3]],
    ],
    ids=lambda frame: f"{type(frame).__name__} {getattr(frame, 'shape', frame)}",
)
def test_what_is_no_frame_is_refused_in_one_line(frame: Any) -> None:
    with pytest.raises(StremnError) as caught:
        as_frame(frame)
    assert "\n" not in str(caught.value)


def test_pictures_of_16_bits_are_scaled(video: list[np.ndarray]) -> None:
    grey = np.ascontiguousarray(video[0][:, :, 0])
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(as_frame(deep), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("kind", [np.float64, np.float32, torch.float32, torch.float16])
@pytest.mark.parametrize("damage", [255.0, -1.0, np.nan, np.inf])
def test_floating_point_beyond_0_to_1_is_refused(damage: float, kind: Any) -> None:
    frame = np.full((4, 5, 3), 0.5)
    frame[2, 2, 2] = damage
    given = torch.from_numpy(frame).to(kind) if isinstance(kind, torch.dtype) else frame.astype(kind)
    with pytest.raises(StremnError, match=r"must be in \[0, 1\], this one goes from") as caught:
        as_frame(given)
    assert "\n" not in str(caught.value)
    assert as_frame(np.full((4, 5, 3), 1.0000001)).max() == 255


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("value", [0.7, 6.0, -6.0, np.nan, 2.0])
def test_masks_of_logits_or_probabilities_are_refused(value: float, form: Any) -> None:
    mask = np.zeros((6, 8), np.float32)
    mask[2:4] = value
    with pytest.raises(StremnError, match=r"of object 3 .*of logits give mask > 0") as caught:
        as_object_masks({3: form(mask)}, mask.shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("white", [1, 255, 1.0, 255.0, True])
def test_masks_of_two_values_are_taken(white: float) -> None:
    mask = np.zeros((6, 8), type(white))
    mask[2:4] = white
    (found,) = as_object_masks({np.int64(3): mask}, mask.shape).values()
    assert np.array_equal(found, mask != 0)


def test_255_beside_other_ids_of_a_label_map_is_void(boxes: Boxes, caplog: pytest.LogCaptureFixture) -> None:
    labels = boxes(1, 3)
    bordered = labels.copy()
    bordered[-3:] = 255
    for form in (bordered, bordered.astype(np.int64), torch.from_numpy(bordered), Image.fromarray(bordered)):
        masks = as_object_masks(form, labels.shape)
        assert list(masks) == [1, 3]
        assert not masks[3][-3:].any()
        assert "255 beside other ids" in caplog.text
        caplog.clear()
    alone = np.where(labels == 3, 255, 0)
    assert list(as_object_masks(alone, labels.shape)) == [255]


def test_a_palette_picture_that_begins_with_the_object(boxes: Boxes) -> None:
    labels = boxes(1)
    picture = Image.fromarray(1 - labels)
    picture.putpalette([255, 255, 255, 0, 0, 0])
    assert np.array_equal(as_object_masks(picture, labels.shape)[1], labels == 1)


def test_numbers_of_numpy_are_object_ids(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    session = open_session()
    session.step(video[0], boxes(1, 3, 7))
    session.remove(np.uint8(1))
    assert session.object_ids == (3, 7)
    session.remove(np.array([7, 200]))
    assert session.object_ids == (3,)
    for wrong in ("3", "a", None, 0, 256, 1.5, True):
        with pytest.raises(StremnError, match="whole number from 1 to 255"):
            session.remove(wrong)
    session.remove({3})
    assert session.object_ids == ()


def test_a_mask_that_is_no_array_is_refused_in_one_line() -> None:
    for mask in ([[1], [1, 2]], {1: [[1], [1, 2]]}, torch.ones(4, 4, dtype=torch.uint8).to_sparse()):
        with pytest.raises(StremnError, match=r"^a mask must be an array or a dense tensor \(.*\)$"):
            as_object_masks(mask, (4, 4))


@pytest.mark.parametrize("number", ["a", 2**70, 1.5, None, [1]])
def test_what_numbers_no_frame_is_refused(number: Any) -> None:
    with pytest.raises(StremnError, match="is no number of a frame: give a whole number from 0"):
        as_frame_index(number)
    assert as_frame_index(np.int32(7)) == 7


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    shorter=st.integers(0, 1200),
    stride=st.sampled_from([8, 16, 32]),
)
def test_the_internal_size_fits_the_network_and_the_setting(
    height: int, width: int, shorter: int, stride: int
) -> None:
    inner = internal_size((height, width), shorter, stride)
    assert all(side >= stride and side % stride == 0 for side in inner)
    factor = min(shorter / min(height, width), 8 * shorter / max(height, width)) if shorter else 1
    for side, own in zip(inner, (height, width), strict=True):
        assert abs(side - own * factor) <= stride / 2 + 1e-6 or side == stride
    assert internal_size((width, height), shorter, stride) == inner[::-1]


@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_a_size_that_fits_is_kept(rows: int, columns: int) -> None:
    size = (16 * rows, 16 * columns)
    assert internal_size(size, 0, 16) == size
    assert internal_size(size, min(size), 16) == size or max(size) > 8 * min(size)


def test_a_strip_is_computed_in_memory_that_is_there() -> None:
    assert internal_size((1, 70_000), 480, 16) == (16, 3840)
    assert internal_size((70_000, 1), 480, 16) == (3840, 16)


@pytest.mark.parametrize("size", [(64, 96), (32, 48), (128, 192), (33, 47)])
def test_the_networks_input_is_the_frame_in_0_to_1(size: tuple[int, int]) -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[..., 1], frame[..., 2] = 51, 255
    tensor = to_input(frame, size, torch.device("cpu"))
    assert tensor.shape == (1, 3, *size)
    assert tensor.dtype == torch.float32
    for channel, value in enumerate((0.0, 0.2, 1.0)):
        assert torch.allclose(tensor[0, channel], torch.tensor(value))


@pytest.mark.parametrize("shape", [(64, 96), (61, 101), (17, 200)])
def test_results_have_the_frames_own_size(open_session: Open, shape: tuple[int, int]) -> None:
    session = open_session(size=32)
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2] = 6
    session.step(frame, mask)
    result = session.step(frame)
    assert result.labels.shape == shape
    assert result.probabilities.shape == (1, *shape)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there_is_refused(open_session: Open, device: str) -> None:
    with pytest.raises(StremnError, match=device) as caught:
        open_session(device=device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"device": "abacus"}, "abacus"),
        ({"precision": "fp8"}, "bf16"),
        ({"policy": "best"}, "learned"),
        ({"slots": 1}, "slots"),
        ({"candidate_every": 0}, "candidate_every"),
        ({"size": -1}, "size"),
        ({"compile": "no-such-backend"}, "no-such-backend"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    open_session: Open, settings: dict[str, object], word: str
) -> None:
    with pytest.raises(StremnError, match=word) as caught:
        open_session(**settings)
    assert "\n" not in str(caught.value)


def test_names_of_precisions() -> None:
    named = {name: Runtime.choose("cpu", name).dtype for name in ("fp32", "bf16", "fp16")}
    assert named == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    auto = Runtime.choose("cpu")
    assert auto.device == torch.device("cpu")
    assert auto.dtype in (torch.float32, torch.bfloat16)


def test_half_precision_is_close_to_full(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes
) -> None:
    full, half = open_session(), open_session(precision="bf16")
    for t in range(3):
        a, b = (s.step(video[t], boxes(1) if t == 0 else None) for s in (full, half))
    assert half.memory is not None
    assert full.memory is not None
    assert half.memory.key.dtype == torch.bfloat16
    # What is solved with stays in float32.
    exact = [tensor for name, tensor in half.memory.tensors().items() if name in EXACT]
    assert {t.dtype for t in exact} == {torch.float32}
    kept = sum(t.nbytes for t in exact)
    assert half.state_bytes - kept < 0.6 * (full.state_bytes - kept)
    assert np.abs(a.probabilities - b.probabilities).mean() < 0.02
    assert next(model.parameters()).dtype == torch.float32


def test_defaults_come_from_the_models_config(model: Segmenter) -> None:
    session = SegmentationSession(model, device="cpu")
    config = model.config
    assert (session.settings.policy, session.settings.slots) == (config.policy, config.slots)
    found = (session.settings.size, session.settings.candidate_every)
    assert found == (config.size, config.candidate_every)


def test_gradients_are_off_in_a_session_and_back_on_after(
    open_session: Open, video: list[np.ndarray]
) -> None:
    session = open_session()
    session.step(video[0], np.ones((64, 96), np.uint8))
    assert torch.is_grad_enabled()
    assert session.memory is not None
    assert not session.memory.key.requires_grad


def test_torchs_default_precision_changes_nothing(video: list[np.ndarray], boxes: Boxes) -> None:
    def run() -> np.ndarray:
        session = SegmentationSession("stremn-lite", size=48, device="cpu", precision="fp32")
        session.step(video[0], boxes(1, 3))
        return session.step(video[1]).probabilities

    expected = run()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert np.allclose(run(), expected, atol=1e-5)
    finally:
        torch.set_default_dtype(before)
