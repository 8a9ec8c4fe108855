"""Which window a run gets, and when a checkpoint may move."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import CheckpointInvalidError, TransientError, WindowError
from airflow_reindex_provider.core.model import Field, Horizon, Position, Schema, Survey, Window
from airflow_reindex_provider.core.windows import backfill_window, incremental_window, is_forward

KIND = CursorType.TIMESTAMPTZ


def at(second: int) -> str:
    return KIND.text(second * 1_000_000)


def survey(*, horizon: int | None = 50, now: int | None = 60) -> Survey:
    schema = Schema((Field("id", "text", "text"),), ("id",), KIND)
    bound = Horizon(
        None if horizon is None else at(horizon), "test", "a prepared transaction" if horizon is None else None
    )
    return Survey(schema, bound, None if now is None else at(now))


def test_the_first_window_begins_at_the_first_row() -> None:
    """Without a checkpoint everything below the horizon is read."""
    assert incremental_window(survey(), None, where="") == Window(None, Position(at(50)))


def test_the_window_goes_from_the_checkpoint_to_the_horizon() -> None:
    """It starts exactly where the last one ended, key included."""
    start = Position(at(10), ("k",))
    assert incremental_window(survey(), start, where="") == Window(start, Position(at(50)))


@pytest.mark.parametrize("reached", [50, 55, 60])
def test_there_is_no_window_while_the_horizon_stands_before_the_checkpoint(reached: int) -> None:
    """An open transaction may hold the horizon back behind the checkpoint: there is nothing to do then."""
    assert incremental_window(survey(), Position(at(reached), ("k",)), where="") is None


def test_there_is_no_window_while_nothing_is_safe() -> None:
    """No horizon, no window, with or without a checkpoint."""
    assert incremental_window(survey(horizon=None), None, where="") is None
    assert incremental_window(survey(horizon=None), Position(at(1)), where="") is None


def test_a_checkpoint_ahead_of_the_sources_clock_is_an_error() -> None:
    """Rows would be skipped; the message says where the checkpoint is kept."""
    with pytest.raises(CheckpointInvalidError, match=r"ahead of the source's clock.*Variable x"):
        incremental_window(survey(), Position(at(61)), where="See Variable x.")


def test_a_checkpoint_that_is_no_cursor_value_is_an_error() -> None:
    """A checkpoint edited into garbage is named, with where it is kept."""
    with pytest.raises(CheckpointInvalidError, match=r"'last week'.*Variable x"):
        incremental_window(survey(), Position("last week"), where="See Variable x.")


def test_a_cursor_without_time_has_no_clock_to_be_ahead_of() -> None:
    """Where the source says no time, only the horizon bounds the window."""
    assert incremental_window(survey(now=None), Position(at(99)), where="") is None


def test_a_backfill_is_cut_at_the_horizon() -> None:
    """No read crosses the horizon; what lies beyond is brought by live runs."""
    assert backfill_window(survey(), at(10), at(20)) == Window(Position(at(10)), Position(at(20)))
    assert backfill_window(survey(), at(10), at(55)) == Window(Position(at(10)), Position(at(50)))
    assert backfill_window(survey(), at(10), None) == Window(Position(at(10)), Position(at(50)))
    assert backfill_window(survey(), at(52), at(58)) is None
    assert backfill_window(survey(), at(60), None) is None


def test_a_backfill_takes_an_interval_of_instants() -> None:
    """A run's data interval comes as instants."""
    interval = datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC)
    assert backfill_window(survey(), *interval) == Window(Position(at(10)), Position(at(20)))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (None, None, "needs a start"),
        (at(10), at(10), "empty"),
        (at(20), at(10), "reversed"),
        (at(61), at(70), "in the future"),
        ("soon", at(70), "soon"),
        (at(10), "infinity", "infinity"),
        ("294250-01-01", None, "out of range"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(start: str | None, end: str | None, message: str) -> None:
    """Each kind of wrong window has a message of its own."""
    with pytest.raises(WindowError, match=message):
        backfill_window(survey(), start, end)


def test_a_backfill_without_a_horizon_is_tried_again() -> None:
    """It must not pass as done: its rows would be left out."""
    with pytest.raises(TransientError, match="prepared transaction"):
        backfill_window(survey(horizon=None), at(10), at(20))


PLACES = [(cursor, key) for cursor in range(3) for key in [(), ("a",), ("b",)]]
POSITIONS = [None, *(Position(str(cursor), key) for cursor, key in PLACES)]


def place(position: Position | None) -> tuple[int, tuple[str, ...]]:
    return (int(position.cursor), position.key) if position else (-1, ())


@pytest.mark.parametrize("current", POSITIONS, ids=str)
def test_a_move_never_skips(current: Position | None) -> None:
    """In every small case: all rows below the checkpoint after a move were below it before, or were read by the run."""
    for start, reached in product(POSITIONS, POSITIONS):
        if reached is None or place(start) >= place(reached):
            continue
        answer = is_forward(CursorType.INTEGER, current, start, start, reached)
        if answer is True:
            assert place(reached) > place(current)
            below = [p for p in PLACES if p < place(reached)]
            assert all(p < place(current) or place(start) <= p for p in below), "rows between would never be read"
        if answer is False:
            assert place(current) < place(start), "nobody has set it back"


@pytest.mark.parametrize("start", POSITIONS[:-1], ids=str)
def test_a_checkpoint_nobody_has_touched_moves(start: Position | None) -> None:
    """The common case: what is stored is what the run started from."""
    assert is_forward(CursorType.INTEGER, start, start, start, Position("9")) is True


def test_a_checkpoint_set_back_stays() -> None:
    """Somebody wants the rows before this run's window read again."""
    assert is_forward(CursorType.INTEGER, Position("1"), Position("5"), Position("5"), Position("9")) is False
    assert is_forward(CursorType.INTEGER, None, Position("5"), Position("5"), Position("9")) is False


def test_a_checkpoint_that_is_further_stays() -> None:
    """An overlapping run has got further."""
    assert is_forward(CursorType.INTEGER, Position("9"), Position("1"), Position("1"), Position("5")) is None


def test_a_checkpoint_within_the_runs_window_moves() -> None:
    """An overlapping run has got less far, or a person has set it to a place that this run has read past."""
    assert is_forward(CursorType.INTEGER, Position("3"), Position("1"), Position("1"), Position("5")) is True
    assert is_forward(CursorType.INTEGER, Position("3"), None, None, Position("5")) is True


def test_a_checkpoint_set_before_the_initial_value_stays() -> None:
    """A first run that began at the initial value has not read the rows before it."""
    assert is_forward(CursorType.INTEGER, Position("1"), None, Position("5"), Position("9")) is False
    assert is_forward(CursorType.INTEGER, None, None, Position("5"), Position("9")) is True


def test_a_checkpoint_edited_into_garbage_stays() -> None:
    """The next run's plan will say what is wrong with it."""
    assert is_forward(CursorType.INTEGER, Position("x"), Position("1"), Position("1"), Position("5")) is False
