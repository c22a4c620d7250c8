"""Training clips cut from annotated videos."""

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clip import Clip, ClipRequest
from stremn.data.davis import Sequence
from stremn.data.images import check_sizes, read_labels, read_rgb
from stremn.data.motion import Motion, random_motion, warp
from stremn.data.sprites import finish_clip, first_usable, hide_objects, look_alike, random_sprite
from stremn.data.stills import StillFolder
from stremn.errors import StremnError

__all__ = ["VideoClips"]


class VideoClips(Dataset[Clip]):
    """Endless clips of annotated videos; clip ``i`` depends only on the seed and ``i``.

    Frames are in order or reversed, with random gaps; one random crop, moved a little from frame to frame;
    sometimes a cut-out of a still, or a copy of the object itself, moves across and is followed too, or hides
    what is below. In some clips the objects disappear for a few frames.

    Args:
        sequences: videos with masks.
        stills: where cut-outs come from; may be empty.
        objects: O, the most objects to follow.
        max_gap: most frames from one frame of the clip to the next.
        seed: of everything random.
    """

    def __init__(
        self,
        sequences: list[Sequence],
        stills: list[StillFolder],
        *,
        objects: int,
        max_gap: int,
        seed: int,
    ) -> None:
        """See the class.

        Raises:
            StremnError: if a sequence has fewer masks than frames, or other names.
        """
        for sequence in sequences:
            if len(sequence.masks) != len(sequence.frames):
                raise StremnError(
                    f"sequence '{sequence.name}': {len(sequence.frames)} frames and {len(sequence.masks)} "
                    "masks; training clips need a mask for every frame"
                )
            if [f.stem for f in sequence.frames] != [m.stem for m in sequence.masks]:
                raise StremnError(
                    f"sequence '{sequence.name}': masks and frames have different names; name each mask "
                    "like its frame"
                )
        self.sequences, self.stills = sequences, stills
        self.objects, self.max_gap, self.seed = objects, max_gap, seed

    def __getitem__(self, request: ClipRequest) -> Clip:
        """Make the clip.

        Raises:
            StremnError: if a file is damaged, or no sequence has as many frames.
        """
        rng = np.random.default_rng([self.seed, 2, request.number])
        long_enough = [s for s in self.sequences if len(s.frames) >= request.frames]
        if not long_enough:
            raise StremnError(
                f"sequence '{self.sequences[0].name}' and all others are shorter than a training clip of "
                f"{request.frames} frames; set fewer 'frames'"
            )
        where = ", ".join(sequence.name for sequence in long_enough[:5])
        return first_usable(
            lambda rng: self._attempt(rng, long_enough, request.frames, request.size), rng, where
        )

    def _attempt(
        self, rng: np.random.Generator, sequences: list[Sequence], frames: int, size: int
    ) -> Clip | None:
        sequence = sequences[int(rng.integers(len(sequences)))]
        picks = self._pick_frames(rng, len(sequence.frames), frames)
        labels = [read_labels(sequence.masks[i]) for i in picks]
        if not labels[0].any():
            return None
        images = [read_rgb(sequence.frames[i]) for i in picks]
        for i, image, mask in zip(picks, images, labels, strict=True):
            check_sizes(sequence.masks[i], image, mask)
        if rng.random() < 0.5:
            images = [np.ascontiguousarray(image[:, ::-1]) for image in images]
            labels = [np.ascontiguousarray(mask[:, ::-1]) for mask in labels]
        motion = self._crop(rng, labels[0], frames, size)
        border = cv2.BORDER_REFLECT_101
        canvas = [
            warp(image, motion, t, size, border=border).astype(np.float32) / 255
            for t, image in enumerate(images)
        ]
        ids = [warp(m, motion, t, size, nearest=True, border=border) for t, m in enumerate(labels)]
        if self.stills and rng.random() < 0.5:
            sprite = random_sprite(rng, self.stills, frames, size)
            number = 200 if rng.random() < 0.5 else 0
            for t in range(frames if sprite else 0):
                canvas[t], alpha = sprite.paste(canvas[t], t)  # type: ignore[union-attr]
                ids[t][alpha > 0.5] = number
        if rng.random() < 0.2:
            sprite = look_alike(rng, canvas[0], ids[0], frames)
            number = 201 if rng.random() < 0.5 else 0
            for t in range(frames if sprite else 0):
                canvas[t], alpha = sprite.paste(canvas[t], t)  # type: ignore[union-attr]
                ids[t][alpha > 0.5] = number
        if self.stills and rng.random() < 0.3:
            hide_objects(rng, canvas, ids, self.stills)
        return finish_clip(rng, canvas, ids, self.objects)

    def _pick_frames(self, rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
        longest = max(1, min(self.max_gap, (count - 1) // (frames - 1)))
        gaps = rng.integers(1, int(rng.integers(1, longest + 1)) + 1, frames - 1)
        picks = int(rng.integers(0, count - gaps.sum())) + np.concatenate([[0], np.cumsum(gaps)])
        return picks[::-1] if rng.random() < 0.5 else picks

    def _crop(self, rng: np.random.Generator, labels: np.ndarray, frames: int, size: int) -> Motion:
        """A crop that holds at least part of a random object, with a slight motion of the camera."""
        height, width = labels.shape
        ys, xs = np.nonzero(labels == rng.choice(np.unique(labels[labels > 0])))
        pick = int(rng.integers(len(xs)))
        # From the whole height up to 540 pixels of height, the scales at which videos are segmented.
        least = size / height
        scale = least * np.exp(rng.uniform(0.0, np.log(max(1.3, 540 / height / least))))
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
            zoom=0.03,
        )
