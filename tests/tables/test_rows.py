"""Rows of the tables follow the registry and the paper."""

import json

import pytest

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.sessions import MULTI_SCALE, ONE_VIEW
from stremn.tables import Trial, table_rows
from stremn.tables.paper import TABLES

BASE = Trial("learned", 6, 2, 240)


def test_every_policy_has_a_row_and_random_ones_have_seeds() -> None:
    rows = table_rows(1, BASE, seeds=4)
    assert {row.trials[0].policy for row in rows} == set(POLICIES)
    for row in rows:
        policy = POLICIES[row.trials[0].policy]
        assert [t.seed for t in row.trials] == list(range(4 if policy.draws else 1))
        assert {t.slots for t in row.trials} == {6}
        assert {t.candidate_every for t in row.trials} == {2 if policy.bounded else 5}
    assert [row.name[:3] for row in rows[:6]] == ["(A)", "(B)", "(C)", "(D)", "(E)", "(F)"]


@pytest.mark.parametrize("number", TABLES)
def test_each_row_of_the_paper_stands_beside_one_of_ours(number: int) -> None:
    rows = table_rows(number, BASE)
    assert [row.paper for row in rows if row.paper] == list(TABLES[number].rows.values())
    for row in rows:
        # The paper rounds each figure on its own.
        if row.paper and row.paper.j is not None and row.paper.f is not None:
            assert row.paper.j_and_f == pytest.approx((row.paper.j + row.paper.f) / 2, abs=0.051)


def test_slots_and_ways_of_testing() -> None:
    assert [row.trials[0].slots for row in table_rows(2, BASE)] == [3, 4, 5, 6, 7]
    ways = {row.name: row.trials[0] for row in table_rows(3, BASE)}
    assert [t.views for t in ways.values()] == [ONE_VIEW, ONE_VIEW, MULTI_SCALE, MULTI_SCALE, ONE_VIEW]
    assert [t.postprocess for t in ways.values()] == [False, True, False, True, False]
    assert ways["growing memory"].policy == "every-nth"


def test_settings_are_json_and_tell_trials_apart() -> None:
    trials = {trial for number in TABLES for row in table_rows(number, BASE) for trial in row.trials}
    assert len({json.dumps(trial.settings()) for trial in trials}) == len(trials)


def test_no_other_table() -> None:
    with pytest.raises(StremnError, match="no table 4"):
        table_rows(4, BASE)
