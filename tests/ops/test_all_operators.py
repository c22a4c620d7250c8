"""The same questions to every operator, by walking one table."""

import pytest
import torch
from operator_cases import CASES, OperatorCase, random_tensors
from torch import Tensor

from stremn import ops

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def test_no_operator_is_missing_from_the_table() -> None:
    assert {case.operator for case in CASES.values()} == set(ops.__all__)


@every_case
def test_output_has_the_documented_shape_and_is_finite(case: OperatorCase) -> None:
    output = case.call(*case.inputs())
    assert output.shape == case.output
    assert output.isfinite().all()


@pytest.mark.parametrize(
    ("case", "shapes"),
    [pytest.param(case, bad, id=f"{name}-{bad}") for name, case in CASES.items() for bad in case.bad],
)
def test_shapes_that_do_not_fit_are_refused(case: OperatorCase, shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        case.call(*random_tensors(shapes), *case.extra)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.smooth])
def test_gradient_equals_finite_differences(name: str) -> None:
    case = CASES[name]
    inputs = [t.requires_grad_() if t.is_floating_point() else t for t in case.inputs()]
    assert torch.autograd.gradcheck(case.call, inputs)


@pytest.mark.parametrize("operator", ops.__all__)
def test_compiles_without_a_graph_break(operator: str) -> None:
    cases = [case for case in CASES.values() if case.operator == operator]
    inputs = [case.inputs(torch.float32) for case in cases]
    # A generator cannot enter a graph; compiled noise comes from the default one.
    calls = [ops.sample_gumbel if operator == "sample_gumbel" else case.call for case in cases]

    def all_cases(inputs: list[list[Tensor]]) -> list[Tensor]:
        return [call(*some) for call, some in zip(calls, inputs, strict=True)]

    torch.manual_seed(0)
    eager = all_cases(inputs)
    torch.manual_seed(0)
    torch.compiler.reset()
    # Every case in one graph: tracing costs a second, however little there is to trace.
    compiled = torch.compile(all_cases, fullgraph=True, backend="aot_eager")(inputs)
    torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.operator != "sample_gumbel"])
def test_lower_precision_and_other_devices_agree_with_float64(
    name: str, dtype: torch.dtype, device: str
) -> None:
    case = CASES[name]
    # Rounded to the lower precision first, so that only the operator's own rounding counts.
    exact = case.call(*(t.double() if t.is_floating_point() else t for t in case.inputs(dtype)))
    output = case.call(*case.inputs(dtype, device))
    assert output.dtype == (torch.float32 if case.wide else dtype)
    assert output.device.type == device
    torch.testing.assert_close(
        output.cpu().double(), exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], check_dtype=False
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_gumbel_noise_is_drawn_in_place(dtype: torch.dtype, device: str) -> None:
    noise = ops.sample_gumbel(torch.zeros(4096, dtype=dtype, device=device))
    assert noise.dtype == dtype
    assert noise.device.type == device
    assert noise.isfinite().all()
