"""What travels between tasks as JSON comes back as it went."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import (
    Batch,
    BatchResult,
    Checkpoint,
    Counts,
    Guarantee,
    Mode,
    Parked,
    Plan,
    Position,
    Rejection,
    Window,
)

TEXTS = st.text(max_size=8)
NUMBERS = st.integers(0, 2**53)
KEYS = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
POSITIONS = st.builds(Position, TEXTS, st.one_of(st.just(()), KEYS))
WINDOWS = st.builds(Window, st.none() | POSITIONS, POSITIONS)
COUNTS = st.builds(Counts, *[NUMBERS] * 6)
REJECTIONS = st.builds(Rejection, KEYS, TEXTS)
PARKED = st.builds(Parked, KEYS, TEXTS, NUMBERS, TEXTS, TEXTS)
TUPLES_OF_KEYS = st.lists(KEYS, max_size=3).map(tuple)
MODES = st.sampled_from(Mode)
BATCHES = st.builds(Batch, TEXTS, TEXTS, NUMBERS, NUMBERS, WINDOWS, NUMBERS, TUPLES_OF_KEYS, MODES)
RESULTS = st.builds(
    BatchResult,
    BATCHES,
    COUNTS,
    st.lists(REJECTIONS, max_size=3).map(tuple),
    NUMBERS,
    st.integers(0, 10**6).map(lambda ms: ms / 1000),
)
CHECKPOINTS = st.builds(
    Checkpoint,
    TEXTS,
    TEXTS,
    st.none() | POSITIONS,
    st.lists(PARKED, max_size=3).map(tuple),
    NUMBERS,
    st.none() | TEXTS,
    st.none() | TEXTS,
)
PLANS = st.builds(
    Plan,
    stream=TEXTS,
    mode=MODES,
    generation=TEXTS,
    window=st.none() | WINDOWS,
    cursor_type=st.sampled_from(CursorType),
    checkpoint=st.none() | POSITIONS,
    batches=st.lists(BATCHES, max_size=3).map(tuple),
    rows=NUMBERS,
    planned_at=TEXTS,
    null_cursors=st.none() | NUMBERS,
    horizon=st.none() | TEXTS,
    horizon_basis=TEXTS,
    held_by=st.none() | TEXTS,
    guarantee=st.sampled_from(Guarantee),
    dry_run=st.booleans(),
    warnings=st.lists(TEXTS, max_size=2).map(tuple),
)


@settings(deadline=None)
@given(st.one_of(POSITIONS, WINDOWS, COUNTS, REJECTIONS, PARKED, BATCHES, RESULTS, CHECKPOINTS))
def test_json_brings_it_back(value: Any) -> None:
    """Through the text of an XCom or a Variable and back, equal in every field."""
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@settings(deadline=None)
@given(PLANS)
def test_a_plan_comes_back_with_its_batches_beside_it(plan: Plan) -> None:
    """The batches travel one by one to the mapped tasks; together they make the plan again."""
    value, batches = json.loads(json.dumps([plan.to_json(), [b.to_json() for b in plan.batches]]))
    assert Plan.from_json(value, batches) == plan


def test_a_batch_is_a_few_hundred_bytes() -> None:
    """It holds a range and counts, never rows."""
    edge = Position("2026-01-01 00:00:00.123456+00:00", ("12345678-1234-5678-1234-567812345678",))
    batch = Batch("products", "products_20260101t000000", 63, 64, Window(edge, edge), 1_000_000)
    assert len(json.dumps(batch.to_json())) < 500


@pytest.mark.parametrize(
    "edit",
    [
        {"cursor": 5},
        {"key": "k"},
        {"version": "1"},
        {"version": True},
        {"version": None},
        {"parked": [{"key": ["a"]}]},
        {"parked": [{"nonsense": 1}]},
        {"parked": 7},
    ],
    ids=str,
)
def test_a_checkpoint_edited_into_garbage_is_not_read(edit: dict[str, Any]) -> None:
    """The store turns the error into one that names where it is kept."""
    good = Checkpoint("s", "g", Position("1", ("k",)), version=1).to_json()
    with pytest.raises((KeyError, TypeError, ValueError)):
        Checkpoint.from_json({**good, **edit})


@pytest.mark.parametrize("gone", ["cursor", "version", "stream", "generation"])
def test_a_checkpoint_that_lacks_a_part_is_not_read(gone: str) -> None:
    """A missing part is not guessed."""
    good = Checkpoint("s", "g", Position("1", ("k",)), version=1).to_json()
    del good[gone]
    with pytest.raises(KeyError):
        Checkpoint.from_json(good)


def test_processed_is_the_sum_of_the_others() -> None:
    """Every document is counted once."""
    assert Counts(1, 2, 4, 8, 16, 32).processed == 63
    assert Counts(1, 2, 4, 8, 16, 32) + Counts(1, 1, 1, 1, 1, 1) == Counts(2, 3, 5, 9, 17, 33)


def test_a_label_says_what_the_batch_is_about() -> None:
    """It is the mapped task's name in Airflow's UI."""
    window = Window(Position("2026-01-01 10:11:12.123456+00", ("k",)), Position("2026-01-02"))
    assert Batch("s", "g", 0, 3, window, 50_000).label == "1/3: 50,000 rows from 2026-01-01 10:11:12"
    for begin, shown in (("0044-03-15 12:00:00.5+00 BC", "0044-03-15 12:00:00 BC"), ("0044-03-15 BC", "0044-03-15 BC")):
        assert Batch("s", "g", 0, 1, Window(Position(begin), window.end), 7).label == f"1/1: 7 rows from {shown}"
    assert Batch("s", "g", 1, 3, Window(None, window.end), 7).label == "2/3: 7 rows from the first one"
    assert Batch("s", "g", 2, 3, Window(None, window.end), 2, (("a",), ("b",))).label == "3/3: 2 parked"
