"""ConvLSTM and PredRNN against their papers: published sizes, and a step by plain arithmetic."""

import numpy as np
import torch
from torch import nn

from stremn.models import create_model
from stremn.models.recurrent import ConvLSTMCell, SpatioTemporalCell


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conv_lstm(channels: int, hidden: int, kernel: int = 5) -> int:
    """Four gates over input and state, a bias and, for three gates, a peephole per channel."""
    return 4 * hidden * (channels + hidden) * kernel**2 + 4 * hidden + 3 * hidden


def encoder_and_forecaster(*hidden: int) -> int:
    """The original pair of stacks on patches of 4x4 grey pixels.

    The forecaster goes from the last width back to the first, its first layer has no input; one 1x1
    convolution sees the states of all its layers.
    """
    encoder = sum(conv_lstm(i, h) for i, h in zip((16, *hidden), hidden, strict=False))
    back = hidden[::-1]
    forecaster = sum(conv_lstm(i, h) for i, h in zip((0, *back), back, strict=False))
    return encoder + forecaster + sum(hidden) * 16 + 16


def test_convlstm_as_we_count_it_has_its_published_sizes() -> None:
    # Table 1 of the paper: one, two and three layers with 5x5 convolutions.
    assert encoder_and_forecaster(256) == 13_524_496
    assert encoder_and_forecaster(128, 128) == 10_042_896
    assert encoder_and_forecaster(128, 64, 64) == 7_585_296


def test_our_convlstm_is_the_encoder_and_the_output_of_that() -> None:
    for channels, hidden in ((16, 128), (128, 64), (64, 64)):
        assert count(ConvLSTMCell(channels, hidden, 5)) == conv_lstm(channels, hidden)
    with torch.device("meta"):
        model = create_model("convlstm")
    expected = conv_lstm(16, 128) + conv_lstm(128, 64) + conv_lstm(64, 64) + 256 * 16 + 16
    assert count(model) == expected == 3_897_104


def st_lstm(channels: int, hidden: int, kernel: int = 5) -> int:
    """Seven gates of the input, four of the state, three of the spatial memory; output and fusion; biases."""
    wide = 7 * channels * hidden + 4 * hidden**2 + 3 * hidden**2 + 2 * hidden**2
    return wide * kernel**2 + 2 * hidden**2 + 7 * hidden


def test_predrnn_has_its_published_size() -> None:
    with torch.device("meta"):
        model = create_model("predrnn")
    expected = st_lstm(16, 128) + 3 * st_lstm(128, 128) + 128 * 16 + 16
    assert count(model) == expected
    assert round(expected / 1e6, 1) == 23.8  # "23.8 M" in the tables of OpenSTL


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Plain cross-correlation: ``(C, H, W)`` and ``(O, C, k, k)`` to ``(O, H, W)``, zeros around."""
    pad = weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = x.shape[1] - 2 * pad, x.shape[2] - 2 * pad
    out = np.zeros((weight.shape[0], height, width))
    for dy in range(2 * pad + 1):
        for dx in range(2 * pad + 1):
            out += np.einsum("oc,chw->ohw", weight[:, :, dy, dx], x[:, dy : dy + height, dx : dx + width])
    return out


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


@torch.no_grad()
def test_a_convlstm_step_is_eq_3_of_its_paper() -> None:
    torch.manual_seed(0)
    n = 3
    cell = ConvLSTMCell(2, n, 3).double()
    nn.init.normal_(cell.peephole)
    x, h, c = (torch.randn(1, width, 4, 5).double() for width in (2, n, n))
    p = arrays(cell)
    w, b = p["gates.weight"], p["gates.bias"][:, None, None]
    wx, wh = w[:, :2], w[:, 2:]
    X, H, C = (t[0].numpy() for t in (x, h, c))
    pre = convolve(X, wx) + convolve(H, wh) + b
    i = sigmoid(pre[:n] + p["peephole"][0] * C)
    f = sigmoid(pre[n : 2 * n] + p["peephole"][1] * C)
    new = f * C + i * np.tanh(pre[2 * n : 3 * n])
    o = sigmoid(pre[3 * n :] + p["peephole"][2] * new)
    hidden, state = cell(x, h, c)
    np.testing.assert_allclose(state[0].numpy(), new, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(hidden[0].numpy(), o * np.tanh(new), rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_a_predrnn_step_is_the_st_lstm_of_its_paper() -> None:
    torch.manual_seed(0)
    n = 3
    cell = SpatioTemporalCell(2, n, 3).double()
    x, h, c, m = (torch.randn(1, width, 4, 5).double() for width in (2, n, n, n))
    p = arrays(cell)
    X, H, C, M = (t[0].numpy() for t in (x, h, c, m))
    wx, wh = p["temporal.weight"][:, :2], p["temporal.weight"][:, 2:]
    pre = convolve(X, wx) + convolve(H, wh) + p["temporal.bias"][:, None, None]
    new_c = sigmoid(pre[n : 2 * n]) * C + sigmoid(pre[:n]) * np.tanh(pre[2 * n : 3 * n])
    wx, wm = p["spatial.weight"][:, :2], p["spatial.weight"][:, 2:]
    prime = convolve(X, wx) + convolve(M, wm) + p["spatial.bias"][:, None, None]
    new_m = sigmoid(prime[n : 2 * n]) * M + sigmoid(prime[:n]) * np.tanh(prime[2 * n :])
    wc, wm = p["output.weight"][:, :n], p["output.weight"][:, n:]
    o = sigmoid(pre[3 * n :] + convolve(new_c, wc) + convolve(new_m, wm))
    new_h = o * np.tanh(convolve(np.concatenate([new_c, new_m]), p["fuse.weight"]))
    hidden, state, memory = cell(x, h, c, m)
    for got, expected in ((hidden, new_h), (state, new_c), (memory, new_m)):
        np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_the_spatial_memory_climbs_the_layers_and_returns_to_the_first() -> None:
    torch.manual_seed(0)
    model = create_model("predrnn-small", hidden=(4, 4))
    frames = torch.rand(2, 1, 1, 8, 8)
    state = model.observe(frames[1], model.observe(frames[0]))
    first = torch.nn.functional.pixel_unshuffle(frames, 4)
    zero = torch.zeros(1, 4, 2, 2)
    below, above = model.cells
    h1, c1, m = below(first[0], zero, zero, zero)
    h2, c2, m = above(h1, zero, zero, m)
    h1, c1, m = below(first[1], h1, c1, m)
    h2, c2, m = above(h1, h2, c2, m)
    torch.testing.assert_close(state.carried["spatial"], m)
    torch.testing.assert_close(state.carried["hidden.1"], h2)
    torch.testing.assert_close(state.carried["output"], model.pixels(h2))


@torch.no_grad()
def test_an_untrained_forget_gate_is_mostly_open() -> None:
    for cell, gates in (
        (ConvLSTMCell(1, 8, 3), "gates"),
        (SpatioTemporalCell(1, 8, 3), "temporal"),
        (SpatioTemporalCell(1, 8, 3), "spatial"),
    ):
        bias = getattr(cell, gates).bias
        assert bias[8:16].mean() > 0.8
        assert bias[:8].mean().abs() < 0.2
