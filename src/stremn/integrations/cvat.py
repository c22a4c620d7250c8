"""A tracker of masks, polygons and boxes for CVAT, by the interface of its auto-annotation functions.

``cvat-cli function create-native`` and ``run-agent`` take this module by ``--function-module``; parameters of
:func:`create` go along with ``-p``.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from cvat_sdk.auto_annotation import (
    TrackableShape,
    TrackingFunctionContext,
    TrackingFunctionShapeContext,
    TrackingFunctionSpec,
)
from cvat_sdk.masks import decode_mask, encode_mask
from PIL import Image

from stremn.exports.polygons import outlines
from stremn.models import ImageFeatures
from stremn.prompts import prompt_mask
from stremn.sessions import SegmentationSession

__all__ = ["Seen", "Tracker", "create"]


class Seen(NamedTuple):
    """An image ``(H, W, 3)`` uint8 RGB, and what the network sees in it, for all shapes that are tracked."""

    image: np.ndarray
    features: tuple[ImageFeatures, ...]


class Tracker:
    """CVAT's ``TrackingFunction``: the tracking state of a shape is a session of its own.

    A rectangle goes through a mask of the object in it, and comes back as that mask's bounds.

    Args:
        model: see :class:`~stremn.sessions.SegmentationSession`.
        **settings: of the sessions.

    Raises:
        StremnError: as a session does.
    """

    spec = TrackingFunctionSpec(supported_shape_types={"mask", "polygon", "rectangle"})

    def __init__(self, model: str = "stremn-lite", **settings: Any) -> None:
        self._encoder = SegmentationSession(model, **settings)

    def preprocess_image(self, context: TrackingFunctionContext, image: Image.Image) -> Seen:
        """Encode an image once, whatever is tracked in it."""
        pixels = np.asarray(image.convert("RGB"))
        return Seen(pixels, self._encoder.encode(pixels))

    def init_tracking_state(
        self, context: TrackingFunctionShapeContext, pp_image: Seen, shape: TrackableShape
    ) -> SegmentationSession:
        """A session that has seen the shape.

        Raises:
            StremnError: if the shape holds no object.
        """
        session = SegmentationSession(self._encoder.model, self._encoder.settings)
        session.step(pp_image.image, {1: _mask_of(shape, pp_image.image)}, features=pp_image.features)
        return session

    def track(
        self, context: TrackingFunctionShapeContext, pp_image: Seen, state: SegmentationSession
    ) -> TrackableShape | None:
        """Where the shape is in the next image; ``None`` if it is not seen there."""
        labels = state.step(pp_image.image, features=pp_image.features).labels
        if not labels.any():
            return None
        kind = context.original_shape_type
        return TrackableShape(type=kind, points=_points_of(labels > 0, kind))


def create(model: str = "stremn-lite", size: int | None = None, device: str = "auto") -> Tracker:
    """The tracker as CVAT's agent makes it; the parameters are those of a session."""
    return Tracker(model, size=size, device=device)


def _mask_of(shape: TrackableShape, image: np.ndarray) -> np.ndarray:
    if shape.type == "mask":
        height, width = image.shape[:2]
        return decode_mask(shape.points, image_width=width, image_height=height)
    corners = np.reshape(shape.points, (-1, 2))
    if shape.type == "polygon":
        return prompt_mask(image, polygon=corners.tolist())
    (left, top), (right, bottom) = corners
    return prompt_mask(image, box=(left, top, right - left, bottom - top))


def _points_of(mask: np.ndarray, kind: str) -> list[float]:
    """The points of the one shape that CVAT takes back, of a mask that is not empty."""
    if kind == "mask":
        return encode_mask(mask)
    if kind == "polygon":
        largest = max(outlines(mask), key=lambda corners: cv2.contourArea(corners.astype(np.float32)))
        return largest.ravel().tolist()
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return [left, top, left + width, top + height]
