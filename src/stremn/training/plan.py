"""Which clips each step trains on: a function of the seed and the step, so that runs can be resumed."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from stremn.data import ClipRequest

__all__ = ["StepSampler"]


class StepSampler(Sampler[list[ClipRequest]]):
    """The batches of one process, from step ``start`` on.

    With the same number of clips in a step, any split of them into processes and accumulated parts trains on
    the same clips.

    Args:
        shapes: (batch, frames, size); each step draws one, the same in all processes.
        steps: of the whole run.
        seed: of the draw.
        start: steps already done.
        accumulate: batches of one step.
        process: which of the processes this is.
        processes: how many there are.
    """

    def __init__(
        self,
        shapes: list[tuple[int, int, int]],
        steps: int,
        seed: int,
        *,
        start: int = 0,
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """See the class."""
        self.shapes, self.steps, self.seed, self.start = shapes, steps, seed, start
        self.accumulate, self.process, self.processes = accumulate, process, processes

    def __len__(self) -> int:
        """Batches that are left."""
        return (self.steps - self.start) * self.accumulate

    def __iter__(self) -> Iterator[list[ClipRequest]]:
        """The batches that are left, ``accumulate`` for each step."""
        most = max(batch for batch, _, _ in self.shapes)
        for step in range(self.start, self.steps):
            draw = np.random.default_rng([self.seed, 3, step])
            batch, frames, size = self.shapes[int(draw.integers(len(self.shapes)))]
            for part in range(self.accumulate):
                number = (step * self.accumulate + part) * self.processes + self.process
                yield [ClipRequest(number * most + i, frames, size) for i in range(batch)]
