"""Training clips cut from annotated videos."""

import logging
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clips import Clip, ClipRequest
from stremn.data.segmentation.images import fit_labels, read_object_labels, read_rgb
from stremn.data.segmentation.motion import Motion, Part, Rng, random_motion
from stremn.data.segmentation.sprites import (
    copy_paste,
    finish_clip,
    first_usable,
    look_alike,
    present_ids,
    random_sprite,
    random_still,
)
from stremn.data.segmentation.stills import StillSet
from stremn.data.segmentation.videos import Video
from stremn.errors import StremnError
from stremn.files import Legend
from stremn.files.names import some_of

__all__ = ["VideoClips", "pick_frames"]

log = logging.getLogger("stremn")

OVER_A_STILL = 0.3  # share of copy-paste clips whose object moves over a still in place of a video

MOST_ZOOM = 4.0
"""How many times larger a close crop shows an object than the whole frame does."""


class VideoClips(Dataset[Clip]):
    """Makes endless clips of annotated videos; clip ``i`` depends only on the seed and ``i``.

    Annotated frames in order or reversed, with random gaps; one random crop, moved a little from frame to
    frame; sometimes a cut-out of a still, or a copy of the object itself, moves across and is followed too,
    or hides what is below. In some clips the objects disappear for a few frames; in some the camera zooms in
    on an object, or out from it, by up to :data:`MOST_ZOOM`. With copy-paste (the idea of
    https://arxiv.org/abs/2012.07177, for videos) an object of a second random sequence, with the motion it
    had there, is laid over this one, or over a moving still.

    Args:
        sequences: videos; of those with sparse annotation the annotated frames are used.
        stills: where cut-outs come from; may be empty.
        objects: O, the most objects to follow.
        max_gap: most frames from one frame of the clip to the next.
        hidden_share: share of clips whose objects disappear for a few frames.
        look_alike_share: share of clips with a copy of an object that moves by itself.
        copy_paste_share: share of clips with an object of a second random sequence.
        inverse_share: share of clips in which all but the object is followed.
        zoom_share: share of clips in which the camera zooms in or out.
        seed: seed of everything random.

    Raises:
        StremnError: if no sequence has two annotated frames.
    """

    def __init__(
        self,
        sequences: list[Video],
        stills: Sequence[StillSet],
        *,
        objects: int,
        max_gap: int,
        seed: int,
        hidden_share: float = 0.1,
        look_alike_share: float = 0.1,
        copy_paste_share: float = 0.0,
        inverse_share: float = 0.0,
        zoom_share: float = 0.0,
    ) -> None:
        usable = [s for s in sequences if len(s.annotated) > 1]
        left_out = [s.name for s in sequences if len(s.annotated) < 2]
        if not usable:
            known = f"sequence '{left_out[0]}'" if left_out else "the list of sequences"
            raise StremnError(
                f"{known}: fewer than two frames have a mask of the same name; training clips need several"
            )
        if left_out:
            names = some_of(left_out, 5)
            log.info("%d sequences with fewer than two masks are not trained on: %s", len(left_out), names)
        self.sequences, self.stills = usable, stills
        self.objects, self.max_gap, self.seed = objects, max_gap, seed
        self.hidden_share, self.look_alike_share = hidden_share, look_alike_share
        self.copy_paste_share, self.inverse_share = copy_paste_share, inverse_share
        self.zoom_share = zoom_share

    def __getitem__(self, request: ClipRequest) -> Clip:
        """Make the clip.

        Raises:
            StremnError: if a file is damaged, or no sequence has as many annotated frames.
        """
        rng = np.random.default_rng([self.seed, 2, request.number])
        long_enough = [s for s in self.sequences if len(s.annotated) >= request.frames]
        if not long_enough:
            raise StremnError(
                f"sequence '{self.sequences[0].name}' and all others have fewer annotated frames than a "
                f"training clip of {request.frames}; set fewer 'frames'"
            )
        where = ", ".join(sequence.name for sequence in long_enough[:5])
        return first_usable(lambda: self._attempt(rng, long_enough, request.frames, request.size), where)

    def _attempt(self, rng: Rng, sequences: list[Video], frames: int, size: int) -> Clip | None:
        # Drawn only where wanted, so that other clips do not depend on it.
        pastes = self.copy_paste_share > 0 and rng.random() < self.copy_paste_share
        if pastes and self.stills and rng.random() < OVER_A_STILL:
            host: Part | None = _moving_still(rng, self.stills, frames, size)
        else:
            zooms = self.zoom_share > 0 and rng.random() < self.zoom_share
            host = self._part(rng, sequences, frames, size, _zoom if zooms else _crop)
        if host is None:
            return None
        canvas, ids = host
        if pastes:
            guest = self._part(rng, sequences, frames, size, _path, border=cv2.BORDER_CONSTANT)
            if guest is not None:
                # Four times in five it is followed, else it hides what is below.
                copy_paste(rng, *guest, canvas, ids, 202 if rng.random() < 0.8 else 0)
        if self.stills and rng.random() < 0.5:
            sprite = random_sprite(rng, self.stills, frames, size)
            number = 200 if rng.random() < 0.5 else 0
            if sprite:
                sprite.paste(canvas, ids, number)
        if rng.random() < self.look_alike_share:
            sprite = look_alike(rng, canvas[0], ids[0], frames)
            number = 201 if rng.random() < 0.5 else 0
            if sprite:
                sprite.paste(canvas, ids, number)
        return finish_clip(rng, canvas, ids, self.stills, self.objects, self.inverse_share, self.hidden_share)

    def _part(
        self,
        rng: Rng,
        sequences: list[Video],
        frames: int,
        size: int,
        motion_for: Callable[[Rng, list[np.ndarray], int], Motion],
        border: int = cv2.BORDER_REFLECT_101,
    ) -> Part | None:
        """Draw a random sequence under the motion made for its labels.

        ``border`` is a cv2 border mode. ``None`` where the first frame has no object.
        """
        sequence = sequences[int(rng.integers(len(sequences)))]
        picks = pick_frames(rng, sequence.annotated, frames, self.max_gap)
        paths = [sequence.frames[i] for i in picks]
        masks = [found for path in paths if (found := sequence.mask_of(path))]
        legend = Legend()
        labels = [read_object_labels(mask, legend) for mask in masks]
        if not labels[0].any():
            return None
        images = [read_rgb(path) for path in paths]
        labels = [
            fit_labels(mask, file, path, image.shape[:2])
            for mask, file, path, image in zip(labels, masks, paths, images, strict=True)
        ]
        if rng.random() < 0.5:
            images, labels = ([cv2.flip(a, 1) for a in arrays] for arrays in (images, labels))
        return motion_for(rng, labels, size).film(images, labels, size, border)


def pick_frames(rng: Rng, annotated: Sequence[int], frames: int, max_gap: int) -> list[int]:
    """Draw frames of a clip, in order or reversed, from those that are annotated.

    Args:
        rng: source of randomness.
        annotated: indices of the annotated frames, in order, at least as many as are drawn.
        frames: T, how many to draw.
        max_gap: most frames of the video from one to the next, also where only every fifth is annotated.
    """
    count = len(annotated)
    if frames == 1:
        return [annotated[int(rng.integers(count))]]
    stride = max(1, (annotated[-1] - annotated[0]) // (count - 1))
    longest = max(1, min(max_gap // stride, (count - 1) // (frames - 1)))
    gaps = rng.integers(1, int(rng.integers(1, longest + 1)) + 1, frames - 1)
    picks = int(rng.integers(0, count - gaps.sum())) + np.concatenate([[0], np.cumsum(gaps)])
    return [annotated[i] for i in (picks[::-1] if rng.random() < 0.5 else picks)]


def _crop(rng: Rng, labels: list[np.ndarray], size: int) -> Motion:
    """Draw a crop that holds part of a random object of the first frame, with a slightly moving camera."""
    point = _point(rng, labels[0])
    least, most = _scales(labels[0], size)
    scale = np.exp(rng.uniform(np.log(least), np.log(most)))
    return random_motion(
        rng,
        len(labels),
        center=_center(rng, point, labels[0], size / 2 / scale),
        target=(size / 2, size / 2),
        scale=scale,
        speed=size * rng.choice([0.0, 0.01, 0.03]),
        turn=rng.choice([0.5, 4.0]),
        zoom=rng.choice([0.03, 0.12]),
    )


def _zoom(rng: Rng, labels: list[np.ndarray], size: int) -> Motion:
    """Go from a wide crop around a random object of the first frame to a close one of the last, or back."""
    least, _ = _scales(labels[0], size)
    scales = least * np.array(
        [np.exp(rng.uniform(0, np.log(1.2))), np.exp(rng.uniform(0.6, 1) * np.log(MOST_ZOOM))]
    )
    first, last = scales if rng.random() < 0.5 else scales[::-1]
    start = _center(rng, _point(rng, labels[0]), labels[0], size / 2 / first)
    end = start
    if labels[-1].any():
        end = _center(rng, _point(rng, labels[-1]), labels[-1], size / 2 / last)
    motion = random_motion(
        rng,
        len(labels),
        center=start,
        target=(size / 2, size / 2),
        scale=first,
        speed=size * rng.choice([0.0, 0.01]),
        turn=rng.choice([0.5, 4.0]),
        zoom=0.03,
    )
    return motion.travel(start, end, last / first)


def _scales(labels: np.ndarray, size: int) -> tuple[float, float]:
    """Compute least and most canvas pixels per pixel of a video, from its whole height up to 540 pixels.

    These are the scales at which videos are segmented; small ones are not blown up by more than a half.
    """
    height = labels.shape[0]
    least = size / height
    return least, max(1.3 * least, min(1.5, 540 / height))


def _point(rng: Rng, labels: np.ndarray) -> tuple[int, int]:
    """Draw (x, y) of a random pixel of a random object."""
    ys, xs = np.nonzero(labels == rng.choice(present_ids(labels)))
    pick = int(rng.integers(len(xs)))
    return xs[pick], ys[pick]


def _center(rng: Rng, point: tuple[int, int], labels: np.ndarray, half: float) -> tuple[float, float]:
    """Draw the centre of a crop of twice ``half`` a side that lies within the frame and holds the point."""
    x, y = (
        float(np.clip(value + rng.uniform(-0.6, 0.6) * half, half, max(half, limit - half)))
        for value, limit in zip(point, labels.shape[::-1], strict=True)
    )
    return x, y


def _path(rng: Rng, labels: list[np.ndarray], size: int) -> Motion:
    """Draw a path that puts all objects of the first frame, at a random size, somewhere on the canvas."""
    left, top, width, height = cv2.boundingRect((labels[0] > 0).astype(np.uint8))
    wanted = size * np.exp(rng.uniform(np.log(0.15), np.log(0.8)))
    return random_motion(
        rng,
        len(labels),
        center=(left + width / 2, top + height / 2),
        target=tuple(rng.uniform(0.2 * size, 0.8 * size, 2)),
        # No more than twice its own size: what is blown up further is only blurred.
        scale=min(2.0, wanted / max(width, height)),
        speed=size * rng.choice([0.0, 0.01, 0.03]),
        turn=rng.choice([0.5, 4.0]),
        zoom=rng.choice([0.03, 0.12]),
    )


def _moving_still(rng: Rng, stills: Sequence[StillSet], frames: int, size: int) -> Part:
    """Move a still slowly, with no ids."""
    still = random_still(rng, stills)
    height, width = still.labels.shape
    motion = random_motion(
        rng,
        frames,
        center=(width / 2, height / 2),
        target=(size / 2, size / 2),
        scale=size / min(height, width) * np.exp(rng.uniform(0, 0.6)),
        speed=size * rng.uniform(0, 0.03),
        turn=rng.choice([0.5, 4.0]),
        zoom=rng.choice([0.03, 0.12]),
    )
    nothing = np.zeros_like(still.labels)
    return motion.film([still.image] * frames, [nothing] * frames, size, cv2.BORDER_REFLECT_101)
