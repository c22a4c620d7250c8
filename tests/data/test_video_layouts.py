"""Videos in every layout: DAVIS 2016 and 2017, YouTube-VOS, and what recipes write for them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layouts import write_youtube
from small_data import labels, write_davis
from stremn.data import ClipRequest, Video, VideoClips, has_truth, open_videos, read_videos
from stremn.data.segmentation.images import read_object_labels
from stremn.errors import StremnError
from stremn.files import read_mask, write_mask


def names(entry: object) -> list[str]:
    return [sequence.name for sequence in open_videos(str(entry))]


def test_an_entry_is_a_root_or_a_root_and_a_split(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"a": 2, "b": 2})
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "train.txt").write_text("b\n")
    assert names(root) == ["a", "b"]
    assert names(f"{root}:ImageSets/2017/train.txt") == ["b"]
    assert names(f"{root}:{root}/ImageSets/2017/train.txt") == ["b"]
    with pytest.raises(StremnError, match=r"val\.txt: cannot be read as a list of sequences"):
        names(f"{root}:val.txt")
    with pytest.raises(StremnError, match="nowhere: no such folder"):
        names(f"{tmp_path}/nowhere:val.txt")


def test_a_colon_in_a_path(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "a:b", {"a": 2, "b": 2})
    (root / "val.txt").write_text("b\n")
    assert names(root) == ["a", "b"]
    assert names(f"{root}:val.txt") == ["b"]


def test_the_split_of_davis_2016_lists_files(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"bear": 2, "camel": 2})
    pairs = [
        f"/JPEGImages/480p/{name}/{i:05d}.jpg /Annotations/480p/{name}/{i:05d}.png"
        for name in ("camel", "bear")
        for i in range(2)
    ]
    (root / "train.txt").write_text("\n".join(pairs) + "\n")
    assert names(f"{root}:train.txt") == ["camel", "bear"]


def test_black_and_white_masks_are_object_1(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 3})
    for index in range(3):
        path = root / "Annotations" / "480p" / "a" / f"{index:05d}.png"
        write_mask(path, np.where(labels(index) > 0, 255, 0).astype(np.uint8))
    clips = VideoClips(open_videos(str(root)), [], objects=2, max_gap=1, seed=0)
    clip = clips[ClipRequest(0, 2, 32)]
    assert clip.valid.tolist()[0]
    assert int(clip.labels.max()) >= 1


@pytest.mark.parametrize("part", ["train", "valid"])
def test_youtube_vos_is_found_at_its_root_and_below(part: str, tmp_path: Path) -> None:
    write_youtube(tmp_path, part)
    for root in (tmp_path, tmp_path / part):
        first, second = read_videos(root, part=part)
        assert (first.name, second.name) == ("aa", "bb")
        assert (dict(first.joins), dict(second.joins)) == (
            {1: "00000", 2: "00010"},
            {1: "00000", 2: "00000"},
        )
        assert dict(first.categories) == {1: "box", 2: "box"}
    (tmp_path / "split.txt").write_text("bb\n")
    assert [video.name for video in read_videos(tmp_path, "split.txt", part)] == ["bb"]


def test_the_part_that_is_asked_for_is_taken_or_named(tmp_path: Path) -> None:
    write_youtube(tmp_path, "valid")
    with pytest.raises(StremnError, match=r"has no part 'train'; give .*/valid to take that one$"):
        open_videos(str(tmp_path))
    write_youtube(tmp_path, "train")
    parts = [read_videos(tmp_path)[0], *(read_videos(tmp_path, part=p)[0] for p in ("train", "valid"))]
    assert [video.frames[0].parts[-4] for video in parts] == ["train", "train", "valid"]


def test_truth_is_more_than_the_objects_that_are_given(tmp_path: Path) -> None:
    video = open_videos(str(write_youtube(tmp_path)))[0]
    assert has_truth(video)
    assert not has_truth(replace(video, masks=video.masks[:1]))
    # A mask that gives the second object is not truth of the first one.
    assert not has_truth(replace(video, masks=(video.masks[0], video.masks[2])))
    assert has_truth(replace(video, masks=(video.masks[0], video.masks[1])))


def test_objects_join_where_their_first_mask_is(tmp_path: Path) -> None:
    """What ``meta.json`` says and what the masks show agree; so masks alone would do."""
    for sequence in open_videos(str(write_youtube(tmp_path))):
        seen: dict[int, str] = {}
        for frame in sequence.frames:
            mask = sequence.mask_of(frame)
            assert mask is not None
            for object_id in np.unique(read_mask(mask, allow_empty=True).labels).tolist():
                seen.setdefault(object_id, frame.stem)
        del seen[0]
        assert seen == dict(sequence.joins)


def test_objects_that_join_later_are_not_followed_before(tmp_path: Path) -> None:
    clips = VideoClips(open_videos(str(write_youtube(tmp_path)))[:1], [], objects=2, max_gap=5, seed=0)
    counts = set()
    for index in range(20):
        clip = clips[ClipRequest(index, 4, 48)]
        count = int(clip.valid.sum())
        counts.add(count)
        assert set(clip.labels[0].unique().tolist()) | {0} == set(range(count + 1))
        assert int(clip.labels.max()) <= count
    assert counts == {1, 2}


def test_sparse_masks_leave_frames_between(tmp_path: Path) -> None:
    root = write_youtube(tmp_path)
    masks = root / "train" / "Annotations" / "aa"
    for index in (5, 10, 20, 25):
        (masks / f"{index:05d}.png").unlink()
    sequence = open_videos(str(root))[0]
    assert sequence.annotated == (0, 3, 6)
    assert [sequence.mask_of(f) is not None for f in sequence.frames] == [i % 3 == 0 for i in range(7)]


@pytest.mark.parametrize("text", ["{", "[]", '{"videos": 3}', '{"videos": {"aa": {"objects": {"x": {}}}}}'])
def test_a_damaged_meta_file(text: str, tmp_path: Path) -> None:
    path = write_youtube(tmp_path) / "train" / "meta.json"
    path.write_text(text)
    with pytest.raises(StremnError, match=r"train/meta\.json: not the meta\.json of YouTube-VOS") as caught:
        open_videos(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_sequences_compare_by_their_files(tmp_path: Path) -> None:
    paths = (tmp_path / "0.jpg",), (tmp_path / "0.png",)
    assert Video("a", *paths, {1: "0"}) == Video("a", *paths)
    assert len({Video("a", *paths, {1: "0"}), Video("a", *paths)}) == 1


def test_real_masks_are_read_as_they_are_evaluated(shared_data: Path) -> None:
    sequences = open_videos(f"{shared_data}/DAVIS2016:ImageSets/2016/train.txt")
    sequences += [s for s in open_videos(str(shared_data / "DAVIS2017")) if len(s.annotated) > 1]
    assert len(sequences) == 31
    for sequence in sequences[::6]:
        mask = sequence.masks[len(sequence.masks) // 2]
        np.testing.assert_array_equal(
            read_object_labels(mask), read_mask(mask, allow_empty=True).labels, err_msg=str(mask)
        )


def test_meta_of_objects_without_frames(tmp_path: Path) -> None:
    path = write_youtube(tmp_path) / "train" / "meta.json"
    meta = json.loads(path.read_text())
    meta["videos"]["aa"]["objects"]["2"]["frames"] = []
    path.write_text(json.dumps(meta))
    assert dict(open_videos(str(tmp_path))[0].joins) == {1: "00000"}
