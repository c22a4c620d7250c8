"""A task so small that the engine can be tried hundreds of times; every kind of randomness takes part."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from stremn.data import ClipRequest
from stremn.errors import StremnError, one_line
from stremn.files.tensors import write_tensors
from stremn.training import TASKS, Recipe, StepDraw, Task

SIZE = 32


@dataclass(frozen=True)
class ToyRecipe(Recipe):
    """Attributes of its own: ``noise`` of the own generator and ``dropout`` of the global one."""

    task: str = "toy"
    noise: float = 0.1
    dropout: float = 0.2


class ToyModel(nn.Module):
    """A line; its second layer is used in some steps only."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(SIZE, 4), nn.Linear(4, 4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, deep: bool) -> Tensor:
        x = self.dropout(self.first(x))
        return self.second(x) if deep else x


class ToyClips(Dataset[dict[str, Tensor]]):
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __getitem__(self, request: ClipRequest) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, request.number])
        shape = (request.frames, request.size)
        return {"frames": torch.from_numpy(rng.normal(size=shape).astype(np.float32))}


class ToyTask(Task):
    recipe_class = ToyRecipe

    def __init__(self, recipe: ToyRecipe, device: torch.device) -> None:
        super().__init__(recipe, device)
        self.clips = ToyClips(recipe.seed)

    def collate(self, clips: list[Any]) -> dict[str, Tensor]:
        return {"frames": torch.stack([clip["frames"] for clip in clips])}

    def untrained_model(self) -> ToyModel:
        return ToyModel(self.recipe.dropout)

    def load_model(self, path: Path) -> ToyModel:
        model = ToyModel(self.recipe.dropout)
        try:
            model.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise StremnError(f"{path}: no weights of a toy ({one_line(error)})") from error
        return model

    def save_model(self, model: nn.Module, path: Path) -> None:
        # As every task does, so that a killed process leaves nothing of a random name behind.
        write_tensors(path, dict(model.state_dict()), "toy", "")

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return [{"params": list(model.parameters()), "lr": self.recipe.learning_rate}]

    def loss(self, model: nn.Module, batch: dict[str, Tensor], draw: StepDraw) -> Tensor:
        deep = bool(torch.rand((), generator=draw.shared) < 0.5)
        out = model(batch["frames"], deep)
        noise = torch.randn(out.shape, generator=draw.own, device=out.device)
        return (out + self.recipe.noise * noise - 1).square().mean()

    def validate(self, model: nn.Module) -> tuple[dict[str, float], np.ndarray]:
        with torch.no_grad():
            error = (model(torch.ones(1, SIZE), True) - 1).square().mean()
        return {"score": -float(error), "draw": float(torch.rand(()))}, np.zeros((4, 6, 3), np.uint8)

    def describe_data(self) -> dict[str, Any]:
        return {"toys": "all"}


TASKS["toy"] = ToyTask

TOY = ToyRecipe(
    frames=(2,),
    size=(SIZE,),
    batch=(2,),
    steps=12,
    warmup=2,
    learning_rate=1e-2,
    workers=0,
    precision="no",
    save_every=3,
    validate_every=2,
    average_best=3,
)


def toy(**changes: Any) -> ToyRecipe:
    return replace(TOY, **changes)
