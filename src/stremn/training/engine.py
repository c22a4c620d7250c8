"""The training loop, on Hugging Face accelerate. It trains any :class:`~stremn.training.task.Task`."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stremn.errors import StremnError
from stremn.files.tensors import write_tensors
from stremn.training.best import BestWeights
from stremn.training.plan import (
    StepSampler,
    create_optimizer,
    draw_of_step,
    ema_decay,
    rate_share,
    seed_step,
    set_rates,
    tensors_of,
    to_device,
)
from stremn.training.processes import batches_of, lost_workers, open_accelerator, repeatable
from stremn.training.recipe import Recipe
from stremn.training.registry import TASKS
from stremn.training.run import (
    AVERAGED,
    BEST,
    MEAN_OF_BEST,
    RAW,
    RunFolder,
    RunState,
    describe_run,
    load_optimizer,
    load_state,
    save_state,
)
from stremn.training.task import SCORE, StepDraw, Task

__all__ = ["WRITTEN", "StepReport", "TrainingStopped", "train"]

log = logging.getLogger("stremn")

WRITTEN = (AVERAGED, BEST, MEAN_OF_BEST)
"""Names of the weights that a run may leave in its folder, the first of them always."""

LOG_EVERY = 50
"""Steps that one line of the log is the mean of."""


class TrainingStopped(Exception):  # noqa: N818  (it is no error)
    """Training stopped when it was asked to, with a checkpoint."""


@dataclass(frozen=True)
class StepReport:
    """What there is to show after a step.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        loss: mean loss of the step.
        images_per_second: frames trained on in all processes.
        seconds_left: until the run ends, if it goes on like this.
    """

    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float


def train(
    recipe: Recipe,
    out: Path | str,
    resume: bool = False,
    *,
    watch: Callable[[StepReport], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Path:
    """Train by a recipe and leave the averaged weights in ``out/model.safetensors``.

    In several processes, started by ``accelerate launch``, all call this with the same arguments, and ``out``
    must be one folder for all of them.

    Args:
        recipe: what to do.
        out: folder of the run, which becomes one with the first step: what is refused before leaves nothing.
        resume: go on from the newest checkpoint in ``out``, or begin if there is none. The weights come out
            bit by bit as if the run had not been interrupted.
        watch: called after every step, in the main process.
        stop: asked after every step; True saves a checkpoint and raises :class:`TrainingStopped`.

    Returns:
        The weights file.

    Raises:
        StremnError: on bad data or settings, on a folder that holds another run, and when the loss is no
            longer finite; the batch is then in ``out/bad-batch.safetensors``.
        TrainingStopped: if ``stop`` asked for it.
    """
    accelerator = open_accelerator(recipe)
    with repeatable(recipe.deterministic):
        task = TASKS[recipe.task](recipe, accelerator.device)
        folder = RunFolder(Path(out), recipe)
        folder.check(resume)
        # All must have looked before one writes.
        accelerator.wait_for_everyone()
        run = _Run(recipe, task, accelerator, folder)
        # The signal of a lost worker may arrive while the folder is closed, too.
        with lost_workers():
            try:
                run.go(watch or (lambda _: None), stop or (lambda: False))
            finally:
                folder.close()
    accelerator.end_training()
    return folder.out / AVERAGED


class _Objective(nn.Module):
    """Computes a loss as the forward pass of a module, since that is what accelerate wraps."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: Any, draw: StepDraw) -> Tensor:
        return self.task.loss(self.model, batch, draw)


class _Run:
    """Holds all that changes with the steps of one run."""

    def __init__(self, recipe: Recipe, task: Task, accelerator: Any, folder: RunFolder) -> None:
        self.recipe, self.task, self.accelerator, self.folder = recipe, task, accelerator, folder
        self.best = BestWeights(folder.out, recipe.average_best, task)
        newest = next(iter(reversed(folder.checkpoints.all())), None)
        self.state = load_state(newest) if newest else RunState(processes=accelerator.num_processes)
        self.best.check(self.state)
        if self.state.processes != accelerator.num_processes:
            raise StremnError(
                f"{folder.out} was begun with {self.state.processes} processes, not "
                f"{accelerator.num_processes}; resume it with as many"
            )
        seed_step(recipe.seed, -1 % 2**32, 0)
        self.model = task.load_model(newest / RAW) if newest else task.new_model()
        self.optimizer = create_optimizer(task.parameter_groups(self.model), recipe)
        self.network, self.stepper = accelerator.prepare(_Objective(task, self.model), self.optimizer)
        # The model is on its device now, and not yet changed for training: the average is for inference.
        self.average = AveragedModel(self.model).eval()
        task.prepare(self.model)
        if newest:
            averaged = task.load_model(newest / AVERAGED).state_dict()
            self.average.module.load_state_dict(averaged)
            self.average.n_averaged.fill_(self.state.step)
            load_optimizer(newest, self.optimizer)
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(self.state.scaler)
        if self.main:
            log.info("%s at step %d of %d", "resumed" if newest else "begun", self.state.step, recipe.steps)

    @property
    def main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def go(self, watch: Callable[[StepReport], None], stop: Callable[[], bool]) -> None:
        """Do all steps that are left, then write the weights."""
        recipe, state, start = self.recipe, self.state, self.state.step
        batches = self._batches()
        self.network.train()
        while state.step < recipe.steps:
            began = time.monotonic()
            loss, images, stopping = self._step(batches, stop)
            if state.step == start and self.main:
                facts = describe_run(recipe, str(self.accelerator.device), self.accelerator.num_processes)
                self.folder.begin(start, facts, self.task.describe_data())
            state.step += 1
            state.loss_sum, state.loss_count = state.loss_sum + loss, state.loss_count + 1
            rate = images / (time.monotonic() - began)
            last = state.step == recipe.steps
            if last or state.step % LOG_EVERY == 0:
                self._log(rate)
            if recipe.validate_every and (last or state.step % recipe.validate_every == 0):
                self._validate()
            state.seconds += time.monotonic() - began
            if last or stopping or state.step % recipe.save_every == 0:
                self._save()
            if self.main:
                left = state.seconds / state.step * (recipe.steps - state.step)
                watch(StepReport(state.step, recipe.steps, loss, rate, left))
            if stopping and not last:
                raise TrainingStopped(f"step {state.step}")
        if self.main:
            self.folder.checkpoints.clean()  # it may have been killed after its last step
            self.task.save_model(self.average.module, self.folder.out / AVERAGED)
        self.accelerator.wait_for_everyone()

    def _batches(self) -> Iterator[Any]:
        recipe, accelerator = self.recipe, self.accelerator
        sampler = StepSampler(
            recipe.shapes,
            recipe.steps,
            recipe.seed,
            start=self.state.step,
            accumulate=recipe.accumulate,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        return batches_of(self.task.clips, self.task.collate, sampler, recipe.workers)

    def _step(self, batches: Iterator[Any], stop: Callable[[], bool]) -> tuple[float, int, bool]:
        """Do one step: give mean loss, images in all processes, and whether one of them was asked to stop."""
        recipe, accelerator, step = self.recipe, self.accelerator, self.state.step
        seed_step(recipe.seed, step, accelerator.process_index)
        set_rates(self.optimizer, rate_share(step, recipe))
        self.stepper.zero_grad(set_to_none=True)
        total, images, stopping = 0.0, 0, False
        for part in range(recipe.accumulate):
            batch = to_device(next(batches), accelerator.device)
            draw = draw_of_step(recipe.seed, step, part, accelerator.process_index, accelerator.device)
            last = part == recipe.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(self.network):
                loss = self.network(batch, draw)
                losses, asked = self._agree(loss, stop())
                if not all(map(math.isfinite, losses)):
                    self._refuse(batch, part, "loss", losses)
                accelerator.backward(loss / recipe.accumulate)
            total, stopping = total + sum(losses) / len(losses) / recipe.accumulate, stopping or asked
            images += _images(batch) * len(losses)
        limit = recipe.clip_norm or math.inf
        norm = float(accelerator.clip_grad_norm_(self.model.parameters(), limit))
        # In half precision a step whose gradients overflow is left out, and the next loss is scaled less.
        scaler = accelerator.scaler
        if not math.isfinite(norm) and (scaler is None or scaler.get_scale() <= 1):
            self._refuse(batch, part, "gradient", [norm] * accelerator.num_processes)
        self.stepper.step()
        self.average.multi_avg_fn = get_ema_multi_avg_fn(ema_decay(step + 1, recipe))
        self.average.update_parameters(self.model)
        return total, images, stopping

    def _agree(self, loss: Tensor, asked: bool) -> tuple[list[float], bool]:
        """Gather all losses, and whether any process was asked to stop: they must act alike."""
        mine = torch.stack([loss.detach().double(), loss.new_tensor(asked, dtype=torch.float64)])
        losses, flags = self.accelerator.gather(mine.unsqueeze(0)).T.tolist()
        return losses, any(flags)

    def _refuse(self, batch: Any, part: int, what: str, values: list[float]) -> None:
        """Keep the batch that cannot be trained on, and stop."""
        step, path = self.state.step + 1, self.folder.out / "bad-batch.safetensors"
        process = next(i for i, value in enumerate(values) if not math.isfinite(value))
        if self.accelerator.process_index == process:
            facts = f'{{"step": {step}, "part": {part}, "process": {process}, "seed": {self.recipe.seed}}}'
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors_of(batch), "stremn_batch", facts)
        self.accelerator.wait_for_everyone()
        raise StremnError(
            f"training stopped: the {what} is {values[process]} at step {step}; the batch is in {path}; "
            "look at it, or lower 'learning_rate'"
        )

    def _validate(self) -> None:
        """Try the averaged weights, and at the end the mean of the best of them."""
        state, model = self.state, cast(nn.Module, self.average.module)
        if self.main:
            figures = self._figures(model, "")
            self.best.offer(model, state.step, figures[SCORE], state)
            if state.step == self.recipe.steps and (mean := self.best.write_mean(state)) is not None:
                self._figures(mean.to(self.accelerator.device).eval(), "average_")
        self.accelerator.wait_for_everyone()

    def _figures(self, model: nn.Module, prefix: str) -> dict[str, float]:
        """Validate a model and log its figures under their names with a prefix."""
        step = self.state.step
        with torch.random.fork_rng(devices=[]):
            figures, picture = self.task.validate(model)
        self.folder.log({"step": step, **{f"{prefix}{name}": value for name, value in figures.items()}})
        if picture is not None and not prefix:
            self.folder.show(picture, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        log.info("%s: %s", "mean of the best weights" if prefix else f"step {step}", shown)
        return figures

    def _log(self, rate: float) -> None:
        state = self.state
        record = {"step": state.step, "loss": state.loss_sum / state.loss_count}
        record |= {"seconds": round(state.seconds, 1), "images_per_second": round(rate, 2)}
        record |= {"learning_rate": self.optimizer.param_groups[0]["lr"]}
        state.loss_sum, state.loss_count = 0.0, 0
        if self.main:
            self.folder.log(record)

    def _save(self) -> None:
        def fill(part: Path) -> None:
            self.task.save_model(self.model, part / RAW)
            self.task.save_model(cast(nn.Module, self.average.module), part / AVERAGED)
            save_state(part, self.state, self.optimizer)

        if self.accelerator.scaler is not None:
            self.state.scaler = self.accelerator.scaler.state_dict()
        if self.main:
            self.folder.checkpoints.write(self.state.step, fill)
            self.best.clean(self.folder.checkpoints.all(), self.state)
        self.accelerator.wait_for_everyone()


def _images(batch: Any) -> int:
    """Count the frames of a batch: the two leading sizes of its largest tensor."""
    largest = max(tensors_of(batch).values(), key=Tensor.numel)
    return largest.shape[0] * largest.shape[1]
