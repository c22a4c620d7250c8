"""Help comes at once: nothing that computes is imported before something is computed."""

import json
import subprocess
import sys

import pytest
import typer

from stremn.commands import app

HEAVY = ("torch", "numpy", "cv2", "av", "matplotlib", "PIL", "safetensors", "ray", "submitit")

PROBE = f"""
import json, sys
from stremn.commands import main
status = main(json.loads(sys.argv[1]))
loaded = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps([status, loaded]), file=sys.stderr)
"""


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found.append((name,))
        found += [(name, inner) for inner in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", [*((*c, "--help") for c in _commands()), ("--version",)], ids=" ".join)
def test_nothing_heavy_is_imported(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr) == [0, []]
    assert ("Usage: stremn" if "--help" in words else "stremn ") in done.stdout


@pytest.mark.parametrize("statement", ["import stremn", "import stremn.errors"])
def test_the_package_is_imported_lazily(statement: str) -> None:
    code = f"{statement}; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_names_of_the_package() -> None:
    import stremn

    assert set(stremn.__all__) <= set(dir(stremn))
    assert all(getattr(stremn, name) is not None for name in stremn.__all__)
    assert stremn.sessions.SegmentationSession is stremn.SegmentationSession
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        stremn.nothing  # noqa: B018
