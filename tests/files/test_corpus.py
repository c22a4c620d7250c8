"""Lists of videos: CSV, text, folders."""

from pathlib import Path

import pytest

from stremn import StremnError
from stremn.files.corpus import CorpusVideo, read_corpus


def named(videos: list[CorpusVideo], root: Path) -> list[tuple[str, str, str]]:
    return [(v.name, str(Path(v.source).relative_to(root)), str(v.masks.relative_to(root))) for v in videos]


def test_csv_and_text_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('masks,video,name\na.png,"b, c/v.mp4",first\nm,d.mp4,\n')
    (tmp_path / "list.txt").write_text('# videos\n"b, c/v.mp4" a.png first\n\nd.mp4  m\n')
    expected = [("first", "b, c/v.mp4", "a.png"), ("d", "d.mp4", "m")]
    for name in ("list.csv", "list.txt"):
        assert named(read_corpus(tmp_path / name), tmp_path) == expected


def test_a_list_keeps_addresses_and_whole_paths(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("http://a.b/c.mp4 m.png\n/else/where.mp4 /else/m.png\n")
    address, whole = read_corpus(tmp_path / "list.txt")
    assert (address.name, address.source, address.count_bytes()) == ("c", "http://a.b/c.mp4", 0)
    assert (whole.source, whole.masks) == ("/else/where.mp4", Path("/else/m.png"))


def test_a_folder_of_videos_with_masks_beside(tmp_path: Path) -> None:
    for name in ("v2.mp4", "v2.png", "v10.mkv", "v10/00000.png", "shots/1.jpg", "shots/2.jpg", "shots.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    (tmp_path / "bare.avi").touch()
    (tmp_path / "notes").mkdir()
    videos = read_corpus(tmp_path)
    assert named(videos, tmp_path) == [
        ("bare", "bare.avi", "bare.png"),
        ("v2", "v2.mp4", "v2.png"),
        ("v10", "v10.mkv", "v10"),
        ("shots", "shots", "shots.json"),
    ]
    assert [v.count_bytes() for v in videos] == [0, 4, 4, 8]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "a.mp4,a.png\n", "its first line is not a header video,masks or video,masks,name"),
        ("list.csv", "", "its first line is not a header"),
        ("list.csv", "video,masks\na.mp4\n", "'a.mp4' does not fit video,masks: fill all columns"),
        ("list.csv", "video,masks\na.mp4,b,c\n", "'a.mp4,b,c' does not fit"),
        ("list.csv", "video,masks\n", "has no video: give a list"),
        ("list.csv", 'video,masks\n"' + 20_000 * "a.mp4,b\n", "close all quotes"),
        ("list.txt", "a.mp4\n", "'a.mp4' is not a video, its masks and perhaps a name"),
        ("list.txt", "kid's.mp4 a.png\n", "in quotes what has blanks"),
        ("list.txt", "a.mp4 m\nb/A.mp4 m\n", "are both called 'A': give names in a third column"),
        ("list.txt", "a.mp4 m ../b\n", "'../b' cannot be the name of a folder"),
        ("list.txt", "\n", "has no video"),
        ("none.txt", None, "cannot be read as a list of videos"),
    ],
)
def test_lists_that_cannot_be_used(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(StremnError) as error:
        read_corpus(tmp_path / name)
    assert message in str(error.value)
