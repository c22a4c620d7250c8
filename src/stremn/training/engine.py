"""The training loop, on Hugging Face accelerate."""

import json
import logging
import math
import re
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from stremn.data import Clip, ClipMixture, StillFolder, SyntheticClips, VideoClips, collate, read_sequences
from stremn.errors import StremnError
from stremn.memory import MemoryLayout, get_policy
from stremn.models import Segmenter, create_model, from_pretrained, save_pretrained
from stremn.models.checkpoint import WEIGHTS_FILE
from stremn.training.backbone import depthwise_in_float32, load_imagenet
from stremn.training.clip import segment_clip
from stremn.training.losses import segmentation_loss
from stremn.training.plan import StepSampler
from stremn.training.recipe import Recipe, expand

__all__ = ["build_clips", "train"]

log = logging.getLogger("stremn")


def build_clips(recipe: Recipe) -> Dataset[Clip]:
    """The endless training data of a recipe; held-out sequences are left out here.

    Raises:
        StremnError: if data is missing or nothing is left to train on.
    """
    stills = [StillFolder(expand(root)) for root in recipe.stills]
    sequences = []
    for entry in recipe.videos:
        root, _, split = entry.partition(":")
        sequences += read_sequences(expand(root), expand(split) or None)
    missing = set(recipe.held_out) - {s.name for s in sequences}
    if missing and sequences:
        raise StremnError(f"recipe: 'held_out' names {sorted(missing)}, which 'videos' does not contain")
    sequences = [s for s in sequences if s.name not in recipe.held_out and len(s.masks) == len(s.frames)]
    common = {"objects": recipe.objects, "seed": recipe.seed}
    parts: list[Dataset[Clip]] = []
    shares: list[float] = []
    if sequences and recipe.video_share > 0:
        parts.append(VideoClips(sequences, stills, max_gap=recipe.max_gap, **common))
        shares.append(recipe.video_share)
    if stills and recipe.video_share < 1:
        parts.append(SyntheticClips(stills, **common))
        shares.append(1 - recipe.video_share)
    if not parts:
        raise StremnError("recipe: nothing to train on; check 'videos', 'stills' and 'video_share'")
    return ClipMixture(parts, shares, recipe.seed)


def train(recipe: Recipe, out: Path | str) -> Path:
    """Train by a recipe and leave the averaged weights in ``out/model.safetensors``.

    Args:
        recipe: what to do.
        out: new or existing folder; also gets ``recipe.json`` and ``log.jsonl`` (step, loss, seconds).

    Returns:
        The weights file.

    Raises:
        StremnError: on bad data or settings, and when the loss is no longer finite.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    set_seed(recipe.seed)
    accelerator = Accelerator(mixed_precision=recipe.precision, cpu=not torch.cuda.is_available())
    clips, model, out = build_clips(recipe), _start_model(recipe), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.jsonl").unlink(missing_ok=True)
    optimizer = torch.optim.AdamW(_groups(model, recipe), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    sampler = StepSampler(recipe.shapes, recipe.steps, recipe.seed)
    loader: Any = DataLoader(clips, batch_sampler=sampler, num_workers=recipe.workers, collate_fn=collate)
    network, optimizer = accelerator.prepare(model, optimizer)
    depthwise_in_float32(model)
    # Only now is the model on the device where the average must be.
    average = AveragedModel(model)
    generator = torch.Generator(device=accelerator.device).manual_seed(recipe.seed)
    (out / "recipe.json").write_text(json.dumps(recipe.to_dict(), indent=1))
    network.train()
    started, total = time.monotonic(), 0.0
    for step, clip in enumerate(loader, start=1):
        loss = _step(network, optimizer, accelerator, clip, recipe, generator)
        schedule.step()
        # A young average must not remember the first weights: the decay grows with the steps.
        average.multi_avg_fn = get_ema_multi_avg_fn(min(recipe.ema, (1 + step) / (10 + step)))
        average.update_parameters(model)
        total += loss
        if not math.isfinite(loss):
            raise StremnError(f"training stopped: the loss is {loss} at step {step}; lower 'learning_rate'")
        if step % 50 == 0 or step == recipe.steps:
            seconds = time.monotonic() - started
            record = {"step": step, "loss": total / ((step - 1) % 50 + 1), "seconds": round(seconds, 1)}
            total = 0.0
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            left = seconds / step * (recipe.steps - step)
            log.info("step %d/%d  loss %.4f  %.0f s left", step, recipe.steps, record["loss"], left)
        if step % recipe.save_every == 0 or step == recipe.steps:
            save_pretrained(cast(Segmenter, average.module), out / WEIGHTS_FILE)
            save_pretrained(model, out / "raw.safetensors")
    return out / WEIGHTS_FILE


def _start_model(recipe: Recipe) -> Segmenter:
    if recipe.start:
        return from_pretrained(expand(recipe.start))
    model = create_model(recipe.model)
    load_imagenet(model, expand(recipe.backbone_weights) or None)
    return model


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Backbone and rest, each with its rate; frozen blocks and batch norm of the backbone are not trained."""
    norms = {
        id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters(recurse=False)
    }
    backbone, rest = [], []
    for name, parameter in model.named_parameters():
        if not name.startswith(("backbone.", "query_encoder.", "memory_encoder.")):
            rest.append(parameter)
        elif id(parameter) in norms or _block(name) < recipe.frozen_blocks:
            parameter.requires_grad_(False)
        else:
            backbone.append(parameter)
    groups = [{"params": rest, "lr": recipe.learning_rate}]
    if backbone:
        groups.append({"params": backbone, "lr": recipe.backbone_rate})
    return groups


def _block(name: str) -> int:
    """Which block or layer of its encoder a parameter belongs to; the stem counts as part of block 0."""
    part = name.removeprefix("backbone.").removeprefix("query_encoder.").removeprefix("memory_encoder.")
    number = re.match(r"(?:blocks\.|layer)(\d+)", part)
    return int(number[1]) if number else 0


def _rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to ``final_rate``."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def _step(
    network: Any, optimizer: Any, accelerator: Any, clip: Clip, recipe: Recipe, generator: torch.Generator
) -> float:
    layout = MemoryLayout(chosen=recipe.chosen)
    policy = get_policy(network.config.policy)
    guide = bool(torch.rand((), generator=generator, device=generator.device) < recipe.guide_share)
    with accelerator.autocast():
        logits = segment_clip(network, clip, layout, policy, guide=guide, generator=generator)
        weights = {"dice_weight": recipe.dice_weight, "hard_share": recipe.hard_share}
        loss = segmentation_loss(logits, clip.labels[:, 1:], clip.valid, **weights)
    optimizer.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(network.parameters(), recipe.clip_norm)
    optimizer.step()
    return float(loss.detach())
