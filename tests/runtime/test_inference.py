"""A model made ready to compute gives what the model gives, and leaves it alone."""

import pytest
import torch
from torch import nn

from stremn.models import MODELS, create_model
from stremn.runtime import for_inference, strips

CPU = torch.device("cpu")


def model_with_lively_batch_norm(name: str) -> nn.Module:
    """Random statistics: at its initial ones batch norm does nothing, and folding it could not be told."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_results_are_equal_and_the_model_is_unchanged(name: str) -> None:
    model = model_with_lively_batch_norm(name)
    before = {key: t.clone() for key, t in model.state_dict().items()}
    ready = for_inference(model, CPU, torch.float32)
    frame = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected, got = model.encode_image(frame), ready.encode_image(frame)
    torch.testing.assert_close(got.key, expected.key, atol=1e-4, rtol=1e-3)
    for a, b in zip(got.maps, expected.maps, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ready.modules())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], t) for key, t in before.items())


@pytest.mark.parametrize("name", MODELS)
def test_convolutions_keep_their_weights_in_the_dtype_of_autocast(name: str) -> None:
    ready = for_inference(create_model(name), CPU, torch.bfloat16)
    assert {m.weight.dtype for m in ready.modules() if isinstance(m, nn.Conv2d)} == {torch.bfloat16}
    assert not any(p.requires_grad for p in ready.parameters())


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (48, 160)])
def test_blocks_in_strips_give_what_they_give_in_one_go(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_with_lively_batch_norm("stremn-lite")
    ready = for_inference(model, CPU, torch.float32)
    assert sum(isinstance(m, strips.Strips) for m in ready.modules()) == 15
    monkeypatch.setattr(strips, "LARGEST", 0)
    # From a strip of a single row to one that holds all of them.
    monkeypatch.setattr(strips, "STRIP", 40_000)
    frame = torch.rand(2, 3, *size)
    with torch.inference_mode():
        expected, got = model.encode_image(frame), ready.encode_image(frame)
    torch.testing.assert_close(got.key, expected.key, atol=1e-4, rtol=1e-3)
    for a, b in zip(got.maps, expected.maps, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
