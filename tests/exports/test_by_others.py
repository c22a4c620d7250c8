"""Datumaro and LabelMe read the exports as they were written."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clips import COUNT, NAMES, labels, write

READER = Path(__file__).with_name("read_by_others.py")
EXACT = ("coco", "datumaro", "cvat", "mots")


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], dict[str, dict[str, str]]]:
    python = os.environ.get("STREMN_READERS")
    if python is None:
        pytest.skip("STREMN_READERS names no Python with datumaro and labelme")
    exports = write(tmp_path_factory.mktemp("exports"), ["coco", "datumaro", "cvat", "mots", "labelme"])
    command = [python, str(READER), str(exports), str(exports / "read.npz")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    with np.load(exports / "read.npz") as arrays:
        return dict(arrays), json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", EXACT)
def test_the_same_pixels(read: tuple[dict[str, np.ndarray], dict[str, dict[str, str]]], kind: str) -> None:
    arrays, names = read
    for index in range(COUNT):
        name = f"0000/{index:06d}" if kind == "mots" else f"frame é{index}"
        assert np.array_equal(arrays[f"{kind}|{name}"], labels(index)), (kind, index)
    assert names[kind] == {str(i): NAMES.get(i, f"object-{i}") for i in (3, 7, 20, 255)}


def test_polygons_of_labelme(read: tuple[dict[str, np.ndarray], dict[str, dict[str, str]]]) -> None:
    arrays, names = read
    for index in range(COUNT):
        found, true = arrays[f"labelme|frame é{index}"], labels(index)
        for object_id in np.unique(true)[1:]:
            both = (found == object_id) & (true == object_id)
            assert both.sum() >= 0.97 * ((found == object_id) | (true == object_id)).sum()
    assert names["labelme"] == names["coco"]
