"""Two hundred random inputs for the doors of the package; ``benchmarks/fuzz.py`` runs any number."""

from pathlib import Path

import pytest

from fuzz_doors import DOORS, Seeds, run_case

CASES = 200


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return Seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("first", range(len(DOORS)), ids=list(DOORS))
def test_no_input_breaks_a_door(first: int, seeds: Seeds, tmp_path: Path) -> None:
    for number in range(first, CASES, len(DOORS)):
        run_case(number, seeds, tmp_path / "case")
