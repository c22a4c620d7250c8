r"""Teach stremn-lite to read a box and points as a template: the weights of `stremn.prompts`.

    python benchmarks/train_prompts.py --videos DATA/DAVIS2016:TRAIN.txt DATA/DAVIS2017 \
        --stills DATA/stills DATA/coco128 --held-out dance-jump drift-turn kite-walk soccerball --out FILE

Image encoder and keys stay as they are; value encoder, value and decoder are trained. A window around an
object shows a box (a belief of one half inside it), points (1 on the object, 0 beside it), or both; in a
third of the batches points are where the network errs, and the belief is what it found before.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn import from_pretrained, save_pretrained
from stremn.data import Video, open_stills, open_videos
from stremn.files.images import read_image
from stremn.files.masks import read_ids
from stremn.memory import MemoryLayout, SlotMemory, Template
from stremn.models.layers import to_tokens
from stremn.models.segmenter import ImageFeatures
from stremn.ops import balanced_weights, target_moments
from stremn.prompts.network import SIDE, STRIDE
from stremn.runtime import for_inference

CELLS = SIDE // STRIDE
RADIUS = 2
LAYOUT = MemoryLayout.of_slots(2)
START = Path(__file__).parent / "weights" / "stremn-lite-held-out.safetensors"


class Sample(NamedTuple):
    """A window with what shows its object; maps are `(CELLS, CELLS)`."""

    window: np.ndarray
    truth: np.ndarray
    valid: np.ndarray
    box: np.ndarray
    belief: np.ndarray
    on: np.ndarray
    beside: np.ndarray


class Objects:
    """Objects of videos and stills at random."""

    def __init__(self, videos: Sequence[Video], stills: Sequence[str], rng: np.random.Generator) -> None:
        self.rng = rng
        self.videos = [(video, i) for video in videos for i in video.annotated]
        self.stills = [(layout, i) for layout in map(open_stills, stills) for i in range(len(layout))]

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Image `(H, W, 3)` uint8, and mask of one object, of 60 pixels and 2 per mille at least."""
        while True:
            if not self.stills or self.rng.random() < 0.35:
                video, index = self.videos[self.rng.integers(len(self.videos))]
                mask = video.mask_of(video.frames[index])
                assert mask is not None
                image, labels = read_image(video.frames[index]).pixels, read_ids(mask)
            else:
                layout, index = self.stills[self.rng.integers(len(self.stills))]
                image, labels = layout[index].image, layout[index].labels
            ids = [i for i in np.unique(labels) if 0 < i < 255]
            if ids and image.shape[:2] == labels.shape:
                chosen = labels == ids[self.rng.integers(len(ids))]
                if chosen.sum() >= max(60, 0.002 * chosen.size):
                    return image, chosen


def sample(objects: Objects) -> Sample:
    rng = objects.rng
    image, mask = objects.draw()
    if rng.random() < 0.5:
        image, mask = (np.ascontiguousarray(array[:, ::-1]) for array in (image, mask))
    if rng.random() < 0.5:
        changed = image.astype(np.float32) * rng.uniform(0.75, 1.25, 3) + rng.uniform(-20, 20)
        image = changed.clip(0, 255).astype(np.uint8)
    kind = rng.random()
    boxed = kind < 0.8
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    side = max(width, height) * (rng.uniform(1.25, 1.9) if boxed else rng.uniform(1.2, 3.5))
    centre = np.array([x + width / 2, y + height / 2]) + rng.uniform(-0.05, 0.05, 2) * side
    factor = SIDE / side
    shift = SIDE / 2 - factor * centre
    warp = np.column_stack([np.eye(2) * factor, shift + 0.5 * factor - 0.5])
    if factor < 0.75:
        image = cv2.GaussianBlur(image, (0, 0), 0.3 / factor)
    window = cv2.warpAffine(image, warp, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    truth, valid = (
        cv2.resize(
            cv2.warpAffine(m.astype(np.float32), warp, (SIDE, SIDE)),
            (CELLS, CELLS),
            interpolation=cv2.INTER_AREA,
        )
        for m in (mask, np.ones_like(mask))
    )
    box = np.ones((CELLS, CELLS), np.float32)
    if boxed:
        amount = rng.choice([0, 0.05, 0.12]) if rng.random() < 0.7 else 0
        moved = rng.uniform(-amount, amount, 4)
        left, right = (
            (side * factor + shift[0]) / STRIDE
            for side in (x + moved[0] * width, x + width + moved[2] * width)
        )
        top, bottom = (
            (side * factor + shift[1]) / STRIDE
            for side in (y + moved[1] * height, y + height + moved[3] * height)
        )
        box = np.outer(covered(top, bottom), covered(left, right)).astype(np.float32)
    on, beside = np.zeros_like(box), np.zeros_like(box)
    for click in range(0 if kind < 0.5 else rng.integers(1, 4)):
        positive = (click == 0 and not boxed) or rng.random() < 0.5
        place = inner(truth > 0.7 if positive else (truth < 0.2) & (box > 0.5), rng)
        if place is not None:
            (on if positive else beside)[disc(place)] = 1
    return Sample(window, truth, valid, box, 0.5 * box if boxed else np.zeros_like(box), on, beside)


def covered(start: float, end: float) -> np.ndarray:
    index = np.arange(CELLS)
    return np.clip(np.minimum(index + 1, end) - np.maximum(index, start), 0, 1)


def disc(place: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:CELLS, :CELLS]
    return (y - place[0]) ** 2 + (x - place[1]) ** 2 <= RADIUS**2


def inner(region: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A cell well inside a region; `None` if it is empty."""
    depth = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    cells = np.argwhere((depth > 0) & (depth >= 0.5 * depth.max()))
    return cells[rng.integers(len(cells))] if len(cells) else None


def worst(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """The middle of the largest region in which a mask is wrong, and whether it belongs to the object."""
    best, place = 0, None
    for positive, wrong in ((True, truth & ~found), (False, found & ~truth)):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(np.pad(wrong.astype(np.uint8), 1))
        if len(stats) > 1 and stats[1:, cv2.CC_STAT_AREA].max() > best:
            part = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
            best = stats[part, cv2.CC_STAT_AREA]
            depth = cv2.distanceTransform((parts == part).astype(np.uint8), cv2.DIST_L2, 5)
            place = np.array(np.unravel_index(depth.argmax(), depth.shape)) - 1, positive
    return place


def decode(model: torch.nn.Module, features: ImageFeatures, belief: Tensor, excluded: Tensor) -> Tensor:
    """Logits of one object a frame, as `stremn.prompts.network` has them of pairs of masks."""
    encoded = model.value_encoder(features.maps, belief, excluded)
    value = to_tokens(model.value(encoded))
    mask, others = (model.resize(m, features.grid).flatten(1) for m in (belief, excluded))
    targets = torch.cat([value, torch.stack([mask, others], -1)], -1)
    moments = target_moments(model._target_features(features), targets, balanced_weights(mask))
    update_key = to_tokens(model.update_key(encoded))
    memory = SlotMemory.of_first_frame(Template(features.key, value, update_key, moments), 0, LAYOUT)
    return model.decode(features, model.read(features, memory)).float()


def with_points(belief: Tensor, box: Tensor, on: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
    """What is believed of the object, and where it is excluded."""
    beside = beside * (1 - on)
    return torch.where(on > 0, 1.0, belief * (1 - beside)), torch.maximum(1 - box, beside) * (1 - on)


def loss_of(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Cross entropy, half of Dice and half of 1 - IoU."""
    entropy = (F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * valid).mean()
    found, truth = logits.sigmoid() * valid, truth * valid
    both, sizes = (found * truth).sum((1, 2, 3)), (found + truth).sum((1, 2, 3))
    dice = 1 - (2 * both + 1) / (sizes + 1)
    return entropy + 0.5 * (dice + 1 - (both + 1) / (sizes - both + 1)).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", nargs="+", required=True)
    parser.add_argument("--stills", nargs="*", default=[])
    parser.add_argument("--held-out", nargs="*", default=[])
    parser.add_argument("--start", type=Path, default=START)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    videos = [v for entry in args.videos for v in open_videos(entry) if v.name not in args.held_out]
    objects = Objects(videos, args.stills, np.random.default_rng(args.seed))
    model = from_pretrained(args.start).to(memory_format=torch.channels_last).requires_grad_(False)
    eyes = for_inference(from_pretrained(args.start), torch.device("cpu"), torch.float32)
    taught = [p for part in (model.value_encoder, model.value, model.decoder) for p in part.parameters()]
    for parameter in taught:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(taught, weight_decay=1e-4)
    averages = [parameter.detach().clone() for parameter in taught]
    begun, step = time.monotonic(), 0
    while (share := (time.monotonic() - begun) / (60 * args.minutes)) < 1:
        rate = args.rate * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * share)) / 2 + 2e-6
        optimizer.param_groups[0]["lr"] = rate
        batch = [sample(objects) for _ in range(args.batch)]
        window, *maps = (torch.from_numpy(np.stack(column)) for column in zip(*batch))
        truth, valid, box, belief, on, beside = (m.unsqueeze(1).float() for m in maps)
        with torch.no_grad():
            seen = eyes.encode_image(window.permute(0, 3, 1, 2).float() / 255)
            features = ImageFeatures(seen.image, seen.key.clone(), tuple(m.clone() for m in seen.maps))
        with torch.autocast("cpu", torch.bfloat16):
            if objects.rng.random() < 0.35:
                with torch.no_grad():
                    found = decode(model, features, *with_points(belief, box, on, beside)).sigmoid()
                for _ in range(objects.rng.integers(1, 3)):
                    for i in range(args.batch):
                        wrong = worst(
                            ((found * (box > 0.5))[i, 0] > 0.5).numpy(), (truth[i, 0] > 0.5).numpy()
                        )
                        if wrong is not None:
                            place = torch.from_numpy(disc(wrong[0]))
                            on[i, 0][place], beside[i, 0][place] = float(wrong[1]), float(not wrong[1])
                belief = found * box
            logits = decode(model, features, *with_points(belief, box, on, beside))
        loss = loss_of(logits, truth, valid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(taught, 1.0)
        optimizer.step()
        step += 1
        for average, parameter in zip(averages, taught):
            average.lerp_(parameter.detach(), 1 - min(0.995, (1 + step) / (10 + step)))
        if step % 50 == 0:
            print(f"step {step}, {100 * share:.0f} %, loss {loss.item():.3f}", flush=True)
    with torch.no_grad():
        for average, parameter in zip(averages, taught):
            parameter.copy_(average)
    save_pretrained(model, args.out)
    print(f"{step} steps; {args.out}")


if __name__ == "__main__":
    main()
