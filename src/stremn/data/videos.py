"""Training clips cut from annotated videos."""

import logging
from collections import abc

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clip import Clip, ClipRequest
from stremn.data.davis import Sequence
from stremn.data.images import check_sizes, read_object_labels, read_rgb
from stremn.data.motion import Motion, random_motion, warp
from stremn.data.sprites import (
    Sprite,
    finish_clip,
    first_usable,
    hide_objects,
    look_alike,
    present_ids,
    random_sprite,
)
from stremn.data.stills import StillSet
from stremn.errors import StremnError

__all__ = ["VideoClips"]

log = logging.getLogger("stremn")

Rng = np.random.Generator


class VideoClips(Dataset[Clip]):
    """Endless clips of annotated videos; clip ``i`` depends only on the seed and ``i``.

    Annotated frames in order or reversed, with random gaps; one random crop, moved a little from frame to
    frame; sometimes a cut-out of a still, or a copy of the object itself, moves across and is followed too,
    or hides what is below. In some clips the objects disappear for a few frames.

    Args:
        sequences: videos; of those with sparse annotation the annotated frames are used.
        stills: where cut-outs come from; may be empty.
        objects: O, the most objects to follow.
        max_gap: most frames from one frame of the clip to the next.
        hidden_share: share of clips whose objects disappear for a few frames.
        look_alike_share: share of clips with a copy of an object that moves by itself.
        seed: of everything random.
    """

    def __init__(
        self,
        sequences: list[Sequence],
        stills: abc.Sequence[StillSet],
        *,
        objects: int,
        max_gap: int,
        seed: int,
        hidden_share: float = 0.1,
        look_alike_share: float = 0.1,
    ) -> None:
        """See the class.

        Raises:
            StremnError: if no sequence has two annotated frames.
        """
        usable = [s for s in sequences if len(s.annotated) > 1]
        left_out = [s.name for s in sequences if len(s.annotated) < 2]
        if not usable:
            known = f"sequence '{left_out[0]}'" if left_out else "the list of sequences"
            raise StremnError(
                f"{known}: fewer than two frames have a mask of the same name; training clips need several"
            )
        if left_out:
            names = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
            log.info("%d sequences with fewer than two masks are not trained on: %s", len(left_out), names)
        sequences = usable
        self.sequences, self.stills = sequences, stills
        self.objects, self.max_gap, self.seed = objects, max_gap, seed
        self.hidden_share, self.look_alike_share = hidden_share, look_alike_share

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
        return first_usable(
            lambda rng: self._attempt(rng, long_enough, request.frames, request.size), rng, where
        )

    def _attempt(self, rng: Rng, sequences: list[Sequence], frames: int, size: int) -> Clip | None:
        sequence = sequences[int(rng.integers(len(sequences)))]
        picks = self._pick_frames(rng, sequence.annotated, frames)
        paths = [sequence.frames[i] for i in picks]
        masks = [found for path in paths if (found := sequence.mask_of(path))]
        labels = [read_object_labels(mask) for mask in masks]
        if not labels[0].any():
            return None
        images = [read_rgb(path) for path in paths]
        for file, image, mask in zip(masks, images, labels, strict=True):
            check_sizes(file, image, mask)
        if rng.random() < 0.5:
            images, labels = ([cv2.flip(a, 1) for a in arrays] for arrays in (images, labels))
        motion = self._crop(rng, labels[0], frames, size)
        border = cv2.BORDER_REFLECT_101
        canvas = [
            warp(image, motion, t, size, border=border).astype(np.float32) / 255
            for t, image in enumerate(images)
        ]
        ids = [warp(m, motion, t, size, nearest=True, border=border) for t, m in enumerate(labels)]
        if self.stills and rng.random() < 0.5:
            sprite = random_sprite(rng, self.stills, frames, size)
            _paste_all(sprite, canvas, ids, 200 if rng.random() < 0.5 else 0)
        if rng.random() < self.look_alike_share:
            sprite = look_alike(rng, canvas[0], ids[0], frames)
            _paste_all(sprite, canvas, ids, 201 if rng.random() < 0.5 else 0)
        if self.stills and rng.random() < self.hidden_share:
            hide_objects(rng, canvas, ids, self.stills)
        return finish_clip(rng, canvas, ids, self.objects)

    def _pick_frames(self, rng: Rng, annotated: abc.Sequence[int], frames: int) -> list[int]:
        """Indices of frames; ``max_gap`` counts frames, also where only every fifth is annotated."""
        count = len(annotated)
        if frames == 1:
            return [annotated[int(rng.integers(count))]]
        stride = max(1, (annotated[-1] - annotated[0]) // (count - 1))
        longest = max(1, min(self.max_gap // stride, (count - 1) // (frames - 1)))
        gaps = rng.integers(1, int(rng.integers(1, longest + 1)) + 1, frames - 1)
        picks = int(rng.integers(0, count - gaps.sum())) + np.concatenate([[0], np.cumsum(gaps)])
        return [annotated[i] for i in (picks[::-1] if rng.random() < 0.5 else picks)]

    def _crop(self, rng: Rng, labels: np.ndarray, frames: int, size: int) -> Motion:
        """A crop that holds at least part of a random object, with a slight motion of the camera."""
        height, width = labels.shape
        ys, xs = np.nonzero(labels == rng.choice(present_ids(labels)))
        pick = int(rng.integers(len(xs)))
        # From the whole height up to 540 pixels of height, the scales at which videos are segmented; small
        # videos are not blown up beyond half their size more.
        least = size / height
        most = max(1.3 * least, min(1.5, 540 / height))
        scale = np.exp(rng.uniform(np.log(least), np.log(most)))
        half = size / 2 / scale
        center = [
            np.clip(value + rng.uniform(-0.6, 0.6) * half, half, max(half, limit - half))
            for value, limit in ((xs[pick], width), (ys[pick], height))
        ]
        return random_motion(
            rng,
            frames,
            center=(float(center[0]), float(center[1])),
            target=(size / 2, size / 2),
            scale=scale,
            speed=size * rng.choice([0.0, 0.01, 0.03]),
            turn=rng.choice([0.5, 4.0]),
            zoom=rng.choice([0.03, 0.12]),
        )


def _paste_all(
    sprite: Sprite | None, images: list[np.ndarray], labels: list[np.ndarray], number: int
) -> None:
    """Draw a cut-out on all frames of a clip, in place."""
    for t in range(len(images) if sprite else 0):
        sprite.paste(images[t], labels[t], number, t)  # type: ignore[union-attr]
