"""Automatic precision is that in which the hardware is fast."""

from typing import Any

import pytest
import torch

from stremn.runtime import Runtime


@pytest.mark.parametrize(
    ("can", "precision"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, "bf16"),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, "fp32"),
        ({"cpu_name": "Intel Core", "avx512_bf16": False}, "fp32"),
        ({"arm_bf16": True}, "bf16"),
        ({}, "fp32"),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster(
    can: dict[str, Any], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    assert Runtime.choose("cpu").precision == precision
    assert Runtime.choose("cpu", "bf16").precision == "bf16"
