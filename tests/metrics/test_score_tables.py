"""Statistics over frames, means over objects, and their written forms."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn.metrics import ObjectScore, ScoreTable, SeenTable, statistics

# No deadline: the machine may be busy.
LAW = settings(max_examples=50, deadline=None)
UNIT = st.floats(0, 1)


def score(sequence: str, object_id: int, figures: tuple[float, ...]) -> ObjectScore:
    names = ("j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")
    return ObjectScore(sequence=sequence, object_id=object_id, **dict(zip(names, figures)))


@st.composite
def tables(draw: st.DrawFn) -> ScoreTable:
    keys = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 255)), min_size=1, unique=True))
    return ScoreTable(tuple(score(name, i, draw(st.tuples(*[UNIT] * 6))) for name, i in keys))


@LAW
@given(st.lists(UNIT, min_size=1, max_size=400))
def test_statistics_are_bounded_and_decay_turns_with_time(values: list[float]) -> None:
    mean, recall, decay = statistics(values)
    assert min(values) - 1e-12 <= mean <= max(values) + 1e-12
    assert recall == sum(v > 0.5 for v in values) / len(values)
    assert -1 <= decay <= 1
    if len(values) % 4 == 1:
        assert statistics(values[::-1])[2] == pytest.approx(-decay, abs=1e-12)


@pytest.mark.parametrize(
    ("count", "first", "last"),
    # Frames in the first quarter, and the frame that the last begins with.
    [(1, 1, 0), (2, 1, 1), (3, 2, 2), (4, 2, 2), (5, 2, 3), (48, 13, 35), (300, 76, 224)],
)
def test_decay_compares_first_and_last_quarter(count: int, first: int, last: int) -> None:
    values = np.random.default_rng(count).random(count)
    assert statistics(values)[2] == pytest.approx(values[:first].mean() - values[last:].mean(), abs=1e-12)


def test_recall_counts_above_one_half() -> None:
    assert statistics([0.5, 0.500001, 0.1, 1])[1] == 0.5


@pytest.mark.parametrize("values", [[], [[0.1]], 0.3])
def test_statistics_of_nothing(values: object) -> None:
    with pytest.raises(ValueError, match="one or more scores"):
        statistics(values)  # type: ignore[arg-type]


def test_every_object_weighs_the_same() -> None:
    table = ScoreTable((score("a", 1, (0.9,) * 6), score("b", 1, (0.3,) * 6), score("b", 2, (0.0,) * 6)))
    assert table.overall.j_mean == pytest.approx(0.4)
    assert [(s.sequence, s.object_count, s.j_and_f) for s in table.sequences] == [
        ("a", 1, pytest.approx(0.9)),
        ("b", 2, pytest.approx(0.15)),
    ]


def test_table_without_objects() -> None:
    with pytest.raises(ValueError, match="at least one object"):
        ScoreTable(())


@LAW
@given(tables())
def test_means_lie_between_their_parts(table: ScoreTable) -> None:
    scores = [o.j_and_f for o in table.objects]
    assert min(scores) - 1e-12 <= table.overall.j_and_f <= max(scores) + 1e-12
    assert sum(s.object_count for s in table.sequences) == len(table.objects)
    assert table.overall.j_and_f == pytest.approx(np.mean(scores))


@LAW
@given(tables())
def test_json_holds_every_figure(table: ScoreTable) -> None:
    read = json.loads(json.dumps(table.to_dict()))
    assert read == table.to_dict()
    assert read["overall"] == {"object_count": len(table.objects)} | table.overall.values()
    for row, o in zip(read["objects"], table.objects, strict=True):
        assert row == {"sequence": o.sequence, "object_id": o.object_id} | o.values()
    for s in table.sequences:
        assert read["sequences"][s.sequence] == {"object_count": s.object_count} | s.values()


@LAW
@given(tables())
def test_csv_holds_every_figure(table: ScoreTable) -> None:
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    expected = [*table.objects, *table.sequences, table.overall]
    levels = ["object"] * len(table.objects) + ["sequence"] * len(table.sequences) + ["overall"]
    assert [row["level"] for row in rows] == levels
    for row, part in zip(rows, expected, strict=True):
        assert {name: float(row[name]) for name in part.values()} == part.values()
        assert row["sequence"] == getattr(part, "sequence", "")
        assert row["object_id"] == str(getattr(part, "object_id", ""))


def test_seen_and_unseen_by_hand() -> None:
    figures = ((0.9, 0.7), (0.5, 0.6), (0.2, 0.4))
    objects = tuple(ObjectScore.from_frames("a", i, [j], [f]) for i, (j, f) in enumerate(figures, start=1))
    parts = SeenTable(objects[:1], (True,)), SeenTable(objects[1:], (True, False))
    table = SeenTable.merged(parts)
    assert table.groups == pytest.approx(
        {"j_seen": 0.7, "f_seen": 0.65, "j_unseen": 0.2, "f_unseen": 0.4, "g": 0.4875}
    )
    assert table.means == ScoreTable(objects).means | table.groups
    assert [o["seen"] for o in table.to_dict()["objects"]] == [True, True, False]
    # Without unseen objects there is no mean of the four.
    assert list(parts[0].groups) == ["j_seen", "f_seen"]
