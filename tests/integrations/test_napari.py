"""The widget for napari, found by its manifest and run on layers; with a Qt, by its button too."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from npe2 import PluginManifest

from small_data import HEIGHT, WIDTH, frame, labels
from stremn import StremnError
from stremn.integrations import napari as ours

COUNT, START = 6, 2


@pytest.fixture
def viewer() -> ViewerModel:
    """Frames, and a labels layer in which those of one frame are painted."""
    viewer = ViewerModel()
    viewer.add_image(np.stack([frame(index) for index in range(COUNT)]), rgb=True)
    painted = np.zeros((COUNT, HEIGHT, WIDTH), np.int32)
    painted[START] = labels(START)
    viewer.add_labels(painted)
    viewer.dims.set_current_step(0, START)
    return viewer


def near(found: np.ndarray, index: int) -> bool:
    return bool((found == labels(index)).mean() > 0.9)


def test_the_manifest_leads_to_the_widget() -> None:
    manifest = PluginManifest.from_file(Path(ours.__file__).with_suffix(".yaml"))
    manifest.validate_imports()
    assert manifest.name == "stremn"
    (widget,) = manifest.contributions.widgets
    assert [command.id for command in manifest.contributions.commands] == [widget.command]


@pytest.mark.parametrize("grey", [False, True])
def test_objects_are_followed_to_both_ends(viewer: ViewerModel, grey: bool) -> None:
    image, painted = viewer.layers
    if grey:
        deep = image.data[..., 0].astype(np.uint16) * 16
        image = viewer.add_image(deep, contrast_limits=(0, 255 * 16))
    found = list(ours.follow(image, painted, START, backward=True, size=64))
    assert [index for index, _ in found] == [3, 4, 5, 1, 0]
    assert all(near(seen, index) for index, seen in found)


def test_layers_that_do_not_fit_are_refused(viewer: ViewerModel) -> None:
    image, painted = viewer.layers
    shorter = viewer.add_labels(painted.data[1:])
    for other, start, said in (
        (shorter, 0, "labels of the same frames"),
        (painted, COUNT, "show the frame"),
        (painted, 0, "no object"),
    ):
        with pytest.raises(StremnError, match=said):
            list(ours.follow(image, other, start))


def test_the_button_follows_and_stops(viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    widgets: Any = pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)
    qt = widgets.QApplication.instance() or widgets.QApplication([])
    image, painted = viewer.layers
    form = ours.widget()

    def wait(moment: str) -> None:
        end = time.monotonic() + 60
        while form.call_button.text != moment and time.monotonic() < end:
            qt.processEvents()
            time.sleep(0.01)
        assert form.call_button.text == moment

    form(viewer, image, painted)
    assert form.call_button.text == "Stop"
    wait("Follow")
    assert all(near(painted.data[index], index) for index in range(START, COUNT))
    assert not painted.data[:START].any()
    assert viewer.dims.current_step[0] == COUNT - 1
    form(viewer, image, painted, backward=True)
    form(viewer, image, painted)
    wait("Follow")
    assert not painted.data[:START].any()
