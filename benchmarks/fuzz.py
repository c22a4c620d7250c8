"""Random inputs for every door of the package, as many as one likes, by number.

    python benchmarks/fuzz.py --first 0 --cases 10000

Prints the cases that were not allowed; the exit status is 1 if there was one.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fuzz_doors import Seeds, run_case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000)
    asked = parser.parse_args()
    started, doors, failed = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        seeds = Seeds(Path(folder) / "seeds")
        for number in range(asked.first, asked.first + asked.cases):
            try:
                doors[run_case(number, seeds, Path(folder) / "case")] += 1
            except AssertionError as error:
                failed += 1
                print(f"{error}", flush=True)
    seconds = time.monotonic() - started
    print(f"{asked.cases} cases from {asked.first} in {seconds:.0f} s, {failed} not allowed; {dict(doors)}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
