"""Eq. (5) three ways: PyTorch's fused attention, the plain formula, and the plain formula by blocks.

    python benchmarks/read_methods.py

Times `stremn.ops.space_time_read` on random features of the sizes that the models read: N positions of a
240p and a 480p frame, K = 6 slots, all in use. The methods take turns, call by call, in one process; the
ratio of each turn is to the fused call of the same turn. The largest difference between their results is
reported too. Under bf16 autocast is on, as in a session.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import common
from stremn.models import MODELS, SegmenterConfig
from stremn.ops import space_time_read
from stremn.ops.read import Method
from stremn.runtime.device import PRECISIONS
from stremn.sessions.inputs import internal_size

METHODS: tuple[Method, ...] = ("fused", "dense", "blockwise")
STRIDE = 16
ASPECT = 854 / 480


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    record = common.describe_run(args.threads, args.clock)
    record["settings"] = {"objects": args.objects, "slots": 6, "repeats": args.repeats, "warm_up": 2}
    record["results"] = []
    for name in args.models:
        for side in args.sides:
            for precision in args.precisions:
                row = {"model": name, "side": side, "precision": precision}
                row |= compare(
                    MODELS[name], side, precision, args.objects, args.repeats, common.CLOCKS[args.clock]
                )
                record["results"].append(row)
                print(line(row), flush=True)
    common.publish("read_methods", args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["stremn-lite", "stremn-r50"], choices=list(MODELS))
    parser.add_argument("--sides", type=int, nargs="+", default=[240, 480], help="shorter side in pixels")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=list(PRECISIONS))
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    common.add_options(parser)
    return parser.parse_args()


def compare(
    config: SegmenterConfig, side: int, precision: str, objects: int, repeats: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Medians and ratios of all methods on one size."""
    height, width = internal_size((side, round(side * ASPECT)), side, STRIDE)
    positions = (height // STRIDE) * (width // STRIDE)
    dtype = PRECISIONS[precision]
    generator = torch.Generator().manual_seed(0)

    def features(count: int, channels: int) -> Tensor:
        return torch.randn(objects, count, channels, generator=generator).to(dtype)

    rows = config.slots * positions
    query, key = features(positions, config.key_dim), features(rows, config.key_dim)
    value = features(rows, config.value_dim)
    occupied = torch.ones(objects, rows, dtype=torch.bool)

    def read(method: Method) -> Tensor:
        return space_time_read(
            query,
            key,
            value,
            similarity=config.similarity,
            scale=config.scale,
            occupied=occupied,
            method=method,
        )

    seconds: dict[Method, list[float]] = {method: [] for method in METHODS}
    results: dict[Method, Tensor] = {}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        for turn in range(repeats + 2):
            for method in METHODS[turn % 3 :] + METHODS[: turn % 3]:
                start = clock()
                results[method] = read(method)
                if turn >= 2:
                    seconds[method].append(clock() - start)
    return {
        "positions": positions,
        "memory_positions": rows,
        "matrix_bytes": objects * positions * rows * query.element_size(),
        "ms": {m: round(1000 * statistics.median(s), 3) for m, s in seconds.items()},
        "ratio_to_fused": {m: ratios(seconds[m], seconds["fused"]) for m in METHODS[1:]},
        "largest_difference": max(
            float((results[m].float() - results["fused"].float()).abs().max()) for m in METHODS[1:]
        ),
    }


def ratios(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratios of the turns."""
    low, median, high = statistics.quantiles([a / b for a, b in zip(slow, fast, strict=True)], n=4)
    return {"median": round(median, 3), "low": round(low, 3), "high": round(high, 3)}


def line(row: dict[str, Any]) -> str:
    def shown(method: str) -> str:
        r = row["ratio_to_fused"][method]
        return f"{r['median']:.2f} ({r['low']:.2f}-{r['high']:.2f})"

    return (
        f"| {row['model']} | {row['side']} | {row['positions']} x {row['memory_positions']} "
        f"| {row['precision']} | {row['ms']['fused']:.2f} | {shown('dense')} | {shown('blockwise')} "
        f"| {row['matrix_bytes'] / 2**20:.1f} | {row['largest_difference']:.0e} |"
    )


def table(record: dict[str, Any]) -> str:
    head = (
        "| model | shorter side | N x K·N | precision | fused, ms | dense / fused | blockwise / fused "
        "| matrix, MB | largest difference |\n|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *map(line, record["results"])])


if __name__ == "__main__":
    main()
