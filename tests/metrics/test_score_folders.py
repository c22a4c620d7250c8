"""Folders in every layout, and what is refused."""

import logging
import shutil
from pathlib import Path

import golden_masks
import numpy as np
import pytest
from PIL import Image

from stremn import StremnError
from stremn.metrics import ScoreTable, score_folders, score_sequence

TRUTH = golden_masks.synthetic_truth()
PREDICTIONS = list(golden_masks.perturbed(TRUTH))
# Shorter and of fewer objects.
OTHER = [np.where(m == 1, 1, 0).astype(np.uint8) for m in TRUTH[:12]]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions and truth of the sequences walk10 and walk9."""
    predictions, truth = tmp_path / "predictions", tmp_path / "truth"
    golden_masks.write_masks(predictions / "walk10", PREDICTIONS)
    golden_masks.write_masks(truth / "walk10", TRUTH)
    golden_masks.write_masks(predictions / "walk9", OTHER)
    golden_masks.write_masks(truth / "walk9", OTHER)
    return predictions, truth


def expected(*names: str) -> ScoreTable:
    masks = {"walk9": (OTHER, OTHER)}
    return ScoreTable(tuple(s for n in names for s in score_sequence(n, *masks.get(n, (PREDICTIONS, TRUTH)))))


@pytest.mark.parametrize("jobs", [None, 1, 5])
def test_folders_score_as_their_masks_in_natural_order(folders: tuple[Path, Path], jobs: int | None) -> None:
    assert score_folders(*folders, jobs=jobs) == expected("walk9", "walk10")


def test_single_sequence(folders: tuple[Path, Path]) -> None:
    predictions, truth = folders
    one = expected("walk10")
    assert score_folders(predictions / "walk10", truth / "walk10") == one
    # Against a root, the folder's name tells the sequence.
    assert score_folders(predictions / "walk10", truth) == one


def test_a_list_without_the_one_sequence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    split = tmp_path / "split.txt"
    split.write_text("walk10\n")
    one = [folder / "walk10" for folder in folders]
    assert score_folders(*one, split=split) == expected("walk10")
    split.write_text("walk9\n")
    with pytest.raises(StremnError, match="does not list walk10, the only sequence"):
        score_folders(*one, split=split)


def test_two_masks_of_one_name(folders: tuple[Path, Path]) -> None:
    first = min((folders[0] / "walk9").glob("*.png"))
    shutil.copy(first, first.with_suffix(".tif"))
    with pytest.raises(StremnError, match=f"{first.name} and {first.stem}.tif in .*walk9 share one name"):
        score_folders(*folders)


@pytest.mark.parametrize("resolution", ["480p", "Full-Resolution", ""])
def test_root_of_a_davis_copy(folders: tuple[Path, Path], tmp_path: Path, resolution: str) -> None:
    predictions, truth = folders
    annotations = tmp_path / "davis" / "Annotations" / resolution
    annotations.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(truth, annotations)
    assert score_folders(predictions, tmp_path / "davis") == expected("walk9", "walk10")


def test_output_folders_of_segment(folders: tuple[Path, Path]) -> None:
    predictions, truth = folders
    for folder in list(predictions.iterdir()):
        masks = folder.rename(folder.with_name("moved"))
        folder.mkdir()
        masks.rename(folder / "masks")
        (folder / "summary.json").touch()
    assert score_folders(predictions, truth) == expected("walk9", "walk10")
    for part in ("walk10", "walk10/masks"):
        assert score_folders(predictions / part, truth) == expected("walk10")
        (score,) = {s.sequence for s in score_folders(predictions / part, truth / "walk10").objects}
        assert score == "walk10"


@pytest.mark.parametrize(
    "text",
    [
        "walk9\n",
        "\n# chosen by hand\n  walk9 \nwalk9",
        "/JPEGImages/480p/walk9/0.jpg /Annotations/480p/walk9/0.png",
    ],
)
def test_split(folders: tuple[Path, Path], tmp_path: Path, text: str) -> None:
    split = tmp_path / "val.txt"
    split.write_text(text)
    shutil.rmtree(folders[0] / "walk10")
    assert score_folders(*folders, split=split) == expected("walk9")


def test_first_and_last_frame_need_no_prediction(folders: tuple[Path, Path]) -> None:
    (folders[0] / "walk10" / "00000.png").unlink()
    (folders[0] / "walk10" / f"{len(TRUTH) - 1:05d}.png").unlink()
    assert score_folders(*folders) == expected("walk9", "walk10")


def test_other_files_are_passed_over(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        (folder / "scores.csv").touch()
        (folder / ".cache").mkdir()
        (folder / "walk9" / ".00003.png").touch()
        (folder / "walk9" / "Thumbs.db").touch()
    Image.fromarray(OTHER[0]).save(folders[0] / "walk9" / "99999.png")
    assert score_folders(*folders) == expected("walk9", "walk10")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_grey_masks_are_raw_ids(folders: tuple[Path, Path], mode: str) -> None:
    for index, mask in enumerate(PREDICTIONS):
        image = Image.fromarray(mask)
        if mode == "P":
            # Colours that tell nothing: twice the same, and background in white.
            image.putpalette([255, 255, 255] * 2 + [7, 7, 7] * 30)
        image.save(folders[0] / "walk10" / f"{index:05d}.png")
    assert score_folders(*folders) == expected("walk9", "walk10")


def test_bilevel_masks_are_one_object(folders: tuple[Path, Path]) -> None:
    for index, mask in enumerate(OTHER):
        Image.fromarray(mask > 0).save(folders[0] / "walk9" / f"{index:05d}.png")
    assert score_folders(*folders) == expected("walk9", "walk10")


def test_progress_counts_all_frames(folders: tuple[Path, Path]) -> None:
    seen: list[tuple[int, int]] = []
    score_folders(*folders, progress=lambda done, total: seen.append((done, total)))
    total = len(TRUTH) + len(OTHER)
    assert seen == [(i + 1, total) for i in range(total)]


def refusal(*args: Path, **options: Path) -> str:
    with pytest.raises(StremnError) as caught:
        score_folders(*args, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_folders(folders: tuple[Path, Path], tmp_path: Path) -> None:
    predictions, truth = folders
    nowhere = tmp_path / "nowhere"
    assert refusal(nowhere, truth) == f"{nowhere} is not a folder: give the folder that holds the predictions"
    assert refusal(predictions, nowhere) == f"{nowhere} is not a folder: give the folder that holds the truth"
    nowhere.mkdir()
    assert f"{nowhere} holds neither masks nor sequences" in refusal(predictions, nowhere)
    assert f"{nowhere} holds no mask" in refusal(nowhere, truth / "walk9")
    assert f"{nowhere} lacks 2 of 2 sequences (walk9, walk10)" in refusal(nowhere, truth)


def test_missing_sequences(folders: tuple[Path, Path], tmp_path: Path) -> None:
    predictions, truth = folders
    shutil.rmtree(predictions / "walk9")
    message = refusal(predictions, truth)
    assert message == (
        f"{predictions} lacks 1 of 2 sequences (walk9): "
        "segment them, or list the sequences to score as 'split'"
    )
    split = tmp_path / "val.txt"
    split.write_text("walk10\nrun")
    assert f"{truth} lacks 1 of 2 sequences (run)" in refusal(predictions, truth, split=split)
    renamed = (predictions / "walk10").rename(predictions / "run")
    assert f"{truth} has no sequence run" in refusal(renamed, truth)


def test_missing_frames(folders: tuple[Path, Path]) -> None:
    predictions, truth = folders
    for index in (3, 4, 9):
        (predictions / "walk10" / f"{index:05d}.png").unlink()
    message = refusal(predictions, truth)
    assert f"{predictions / 'walk10'} lacks 3 of 28 frames (00003, 00004, 00009): write one mask" in message
    for index in range(10, 20):
        (predictions / "walk10" / f"{index:05d}.png").unlink()
    assert "13 of 28 frames (00003, 00004, 00009, 00010, 00011, ...)" in refusal(predictions, truth)


def test_wrong_size(folders: tuple[Path, Path]) -> None:
    file = folders[0] / "walk10" / "00007.png"
    Image.fromarray(PREDICTIONS[7][:90, :150]).save(file)
    message = refusal(*folders)
    assert f"{file} is 150x90 and its truth {folders[1] / 'walk10' / '00007.png'} is 151x97" in message


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:200], lambda b: b"not a picture" * 9])
def test_unreadable_masks(folders: tuple[Path, Path], which: int, damage) -> None:
    file = folders[which] / "walk10" / "00005.png"
    file.write_bytes(damage(file.read_bytes()))
    assert f"{file} is not a readable image" in refusal(*folders)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pictures_that_are_no_label_maps(folders: tuple[Path, Path], mode: str) -> None:
    file = folders[0] / "walk10" / "00005.png"
    Image.new(mode, (151, 97), "orange").save(file)
    assert f"{file} is an image in colours ({mode}), not a label map" in refusal(*folders)


@pytest.mark.parametrize("mode", ["RGB", "LA", "I;16"])
def test_ids_in_any_grey_image(folders: tuple[Path, Path], mode: str) -> None:
    for index, mask in enumerate(PREDICTIONS):
        deep = Image.fromarray(mask.astype(np.uint16))
        image = deep if mode == "I;16" else Image.fromarray(mask).convert(mode)
        image.save(folders[0] / "walk10" / f"{index:05d}.png")
    assert score_folders(*folders) == expected("walk9", "walk10")


@pytest.mark.parametrize(
    ("content", "message"), [(b"\n#\n", "lists no sequence"), (b"\xff\xfe\x00", "cannot be read")]
)
def test_useless_split(folders: tuple[Path, Path], tmp_path: Path, content: bytes, message: str) -> None:
    split = tmp_path / "val.txt"
    split.write_bytes(content)
    assert f"{split}: {message}" in refusal(*folders, split=split)
    assert "cannot be read" in refusal(*folders, split=tmp_path / "none.txt")


def test_truth_without_objects(folders: tuple[Path, Path]) -> None:
    for file in (folders[1] / "walk9").iterdir():
        Image.new("L", (151, 97)).save(file)
    assert "the truth of walk9 holds no object" in refusal(*folders)


def test_predicted_sequences_that_the_truth_lacks_are_told(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folders[1] / "walk9")
    with caplog.at_level(logging.WARNING, "stremn"):
        assert score_folders(*folders) == expected("walk10")
    assert caplog.messages == [f"{folders[1]} lacks 1 of 2 sequences (walk9): not scored"]
