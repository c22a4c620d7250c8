"""Where and in which precision a session computes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from stremn.errors import StremnError

__all__ = ["PRECISIONS", "Runtime"]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions by name; ``"auto"`` picks one for the device."""


@dataclass(frozen=True)
class Runtime:
    """A device and the dtype of autocast on it.

    Attributes:
        device: of weights and state.
        dtype: of autocast; ``torch.float32`` means no autocast.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """Name of the precision, a key of :data:`PRECISIONS`."""
        return next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype)

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> "Runtime":
        """Resolve names.

        Args:
            device: ``"auto"`` (CUDA, else MPS, else CPU) or any name PyTorch knows.
            precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``. Automatic is bf16 where the hardware
                computes it fast, fp16 on older GPUs and MPS, fp32 otherwise.

        Raises:
            StremnError: if a name is unknown or the device is not there.
        """
        if precision != "auto" and precision not in PRECISIONS:
            raise StremnError(f"unknown precision '{precision}': choose auto, {', '.join(PRECISIONS)}")
        chosen = _best_device() if device == "auto" else _named_device(device)
        return cls(chosen, _best_dtype(chosen) if precision == "auto" else PRECISIONS[precision])

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Inference mode and autocast."""
        with (
            torch.inference_mode(),
            torch.autocast(
                self.device.type,
                dtype=self.dtype if self.dtype != torch.float32 else torch.bfloat16,
                enabled=self.dtype != torch.float32,
            ),
        ):
            yield


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _named_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        torch.autocast(device.type, enabled=False)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StremnError(f"device '{name}' cannot be used here: choose auto, cpu, cuda or mps") from error
    return device


def _best_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.float16
    can = torch.cpu.get_capabilities()
    fast = any(can.get(name) for name in ("amx_bf16", "arm_bf16", "bf16"))
    # Without AMX, which a virtual machine may hide, Intel's take as long for bfloat16 as for float32.
    fast |= bool(can.get("avx512_bf16")) and not str(can.get("cpu_name", "")).startswith("Intel")
    return torch.bfloat16 if fast else torch.float32
