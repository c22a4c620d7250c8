"""A widget for napari: objects painted in one frame of a labels layer are followed through the others."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from stremn.errors import StremnError
from stremn.sessions import SegmentationSession

if TYPE_CHECKING:
    from magicgui.widgets import FunctionGui
    from napari.layers import Image, Labels

__all__ = ["follow", "widget"]


def follow(
    image: "Image", labels: "Labels", start: int, *, backward: bool = False, **settings: Any
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of each frame after the one with the objects, and its labels ``(H, W)`` uint8.

    Frames are read one at a time as the layer shows them, so what is lazy stays so; grey ones by its contrast
    limits.

    Args:
        image: frames ``(T, H, W)`` or, of a layer that is RGB, ``(T, H, W, 3 or 4)``.
        labels: of the same frames, ``(T, H, W)``.
        start: number of the frame whose labels, 1 to 255, are the objects.
        backward: whether to go on from there to the beginning, when the end is reached.
        **settings: of a :class:`~stremn.sessions.SegmentationSession`.

    Raises:
        StremnError: if the layers do not fit each other, or the frame holds no object.
    """
    frames = image.data[0] if image.multiscale else image.data
    shape = tuple(frames.shape[:3])
    if len(frames.shape) - image.rgb != 3 or labels.data.shape != shape:
        raise StremnError(
            f"layer {labels.name} of {labels.data.shape} for layer {image.name} of {tuple(frames.shape)}: "
            "choose frames (T, H, W), and labels of the same frames"
        )
    if not 0 <= start < shape[0]:
        raise StremnError(f"frame {start} is not in layer {image.name}: show the frame with the objects")
    given = np.array(labels.data[start])
    session = SegmentationSession(**settings)
    for way in (range(start, shape[0]), range(start, -1, -1))[: 1 + backward]:
        session.reset()
        for index in way:
            found = session.step(_shown(image, frames[index]), given if index == start else None)
            if index != start:
                yield index, found.labels


def widget() -> "FunctionGui[None]":
    """The widget: two layers to choose, and a button that follows from the frame shown, or stops that."""
    from magicgui import magicgui
    from napari import Viewer
    from napari.layers import Image, Labels
    from napari.qt.threading import create_worker

    running: list[Any] = []

    def follow_objects(viewer: Viewer, image: Image, objects: Labels, backward: bool = False) -> None:
        if running:
            running.pop().quit()
            return
        start = before = viewer.dims.current_step[-3:][0]  # of a picture alone follow() refuses it

        def show(found: tuple[int, np.ndarray]) -> None:
            nonlocal before
            objects.data[found[0]] = found[1]
            # Whoever looks at the latest frame goes along, whoever looks elsewhere stays there.
            if viewer.dims.current_step[-3] == before:
                viewer.dims.set_current_step(viewer.dims.ndim - 3, found[0])
            before = found[0]
            objects.refresh()

        def ended() -> None:
            running.clear()
            form.call_button.text = "Follow"

        form.call_button.text = "Stop"
        steps = len(objects.data) - 1 if backward else len(objects.data) - 1 - start
        worker = create_worker(
            follow,
            image,
            objects,
            start,
            backward=backward,
            _connect={"yielded": show, "finished": ended},
            _progress={"total": steps},
        )
        running.append(worker)

    form = magicgui(follow_objects, call_button="Follow")
    return form


def _shown(image: "Image", frame: Any) -> np.ndarray:
    """A frame of a layer, as it is shown, in a form that a session takes."""
    pixels = np.asarray(frame)
    if image.rgb:
        return pixels[..., :3]
    low, high = image.contrast_limits
    return ((pixels.astype(np.float32) - low) / (high - low)).clip(0, 1)
