"""Memory of a step of the paper's stage 2, counted with fake tensors: nothing is computed, no GPU is needed.

    python benchmarks/training_memory.py [--recipe FILE]

Two steps on a batch of the recipe's shape, by the memory, the losses and the optimiser of training. After
each operation the storages that are alive are added up, in blocks of 512 bytes as on a GPU: weights, their
average, gradients, moments of Adam, activations. Workspaces of convolutions, fragments between blocks and
what CUDA itself takes come on top.
"""

import argparse
import weakref
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import common
from stremn.data import Clip
from stremn.memory import Rules, get_policy
from stremn.models import Segmenter, create_model
from stremn.training import SegmentationRecipe, load_recipe
from stremn.training.plan import create_optimizer
from stremn.training.segmentation.losses import segmentation_loss
from stremn.training.segmentation.segment_clip import forget_activations, segment_clip

RECIPE = Path(str(files("stremn"))) / "recipes" / "paper" / "stage2.yaml"
BLOCK = 512


class Alive(TorchDispatchMode):
    """Bytes of the storages that are alive now, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self.seen:
            size = -(-storage.nbytes() // BLOCK) * BLOCK
            self.seen.add(storage)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    common.add_options(parser)
    args = parser.parse_args()
    recipe = load_recipe(args.recipe)
    assert isinstance(recipe, SegmentationRecipe)
    record = common.describe_run(args.threads, args.clock)
    batch, frames, size = recipe.shapes[0]
    record["settings"] = {"batch": batch, "frames": frames, "size": size, "objects": recipe.objects}
    record["results"] = []
    lines = ["| activation checkpointing | precision | after the forward pass, GiB | most, GiB |"]
    lines.append("|---|---|---|---|")
    for checkpointing in (False, True):
        for precision in ("float32", "bfloat16"):
            after, most = count(recipe, checkpointing, precision == "bfloat16")
            row = {"checkpointing": checkpointing, "precision": precision}
            record["results"].append(row | {"bytes_after_forward": after, "most_bytes": most})
            on = "yes" if checkpointing else "no"
            lines.append(f"| {on} | {precision} | {after / 2**30:.1f} | **{most / 2**30:.1f}** |")
            print(lines[-1], flush=True)
    shape = f"{batch} clips, {recipe.objects} objects, {frames} frames, {size}x{size}, `{recipe.model}`"
    common.publish("training_memory", args.out, record, "\n".join([*lines, "", shape + "."]))


def count(recipe: SegmentationRecipe, checkpointing: bool, half: bool) -> tuple[int, int]:
    """Bytes after the forward pass of the second step, when there are moments of Adam, and at most."""
    batch, frames, size = recipe.shapes[0]
    model = cast(Segmenter, create_model(recipe.model, **recipe.config)).train()
    config = model.config
    rules = Rules(config.layout, get_policy(config.policy), noise=True, tau=config.tau, fusion=config.fusion)
    if checkpointing:
        forget_activations(model)
    group_norm = F.group_norm
    F.group_norm = _in_float32(group_norm)
    after = 0
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            average = [_fake(parameter) for parameter in model.parameters()]
            for module in model.modules():
                for name, parameter in module._parameters.items():
                    if parameter is not None:
                        module._parameters[name] = nn.Parameter(_fake(parameter))
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = _fake(buffer)
            groups = [{"params": list(model.parameters()), "lr": recipe.learning_rate}]
            optimizer = create_optimizer(groups, recipe)
            labels = torch.empty((batch, frames, size, size), dtype=torch.long)
            valid = torch.empty((batch, recipe.objects), dtype=torch.bool)
            clip = Clip(torch.empty((batch, frames, 3, size, size)), labels, valid)
            with Alive() as alive:
                for tensor in (*average, *model.parameters(), *model.buffers(), clip.frames, labels, valid):
                    alive.add(tensor)
                for _ in range(2):
                    with torch.autocast("cpu", torch.bfloat16, enabled=half):
                        logits = segment_clip(model, clip, rules)
                        loss = segmentation_loss(logits, labels[:, 1:], valid, dice_weight=recipe.dice_weight)
                    after = alive.now
                    loss.backward()
                    del loss, logits
                    optimizer.step()
                    optimizer.zero_grad()
                return after, alive.most
    finally:
        F.group_norm = group_norm


def _fake(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def _in_float32(group_norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """As autocast does on a GPU, and not on a CPU, where fake tensors are."""

    def call(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return group_norm(x.float(), *args, **options)

    return call


if __name__ == "__main__":
    main()
