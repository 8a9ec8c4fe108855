"""Which part of the source a run stands for: pure rules over cursors, checkpoints and the horizon."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import CheckpointInvalidError, HorizonError, TransientError, WindowError
from airflow_reindex_provider.core.model import Counter, Mode, Position, Survey, Window


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is asked to do. ``start`` and ``end`` bound a backfill: points in time, ISO 8601 texts, or numbers.

    A backfill without ``end`` reads up to the horizon.
    """

    mode: Mode = Mode.INCREMENTAL
    start: object = None
    end: object = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Sizes:
    """How finely a window is cut: batches of about ``batch_rows``, larger where there would be over ``max_batches``."""

    batch_rows: int = 50_000
    max_batches: int = 64


def incremental_window(
    survey: Survey, checkpoint: Position | None, *, where: str, initial_value: str | None = None
) -> Window | None:
    """``[checkpoint, horizon)``, or None while nothing new is safe to read.

    :param initial_value: where to start without a checkpoint; None is the first row.
    :param where: where the checkpoint is kept and how it is reset, for the error.
    :raises CheckpointInvalidError: the checkpoint is no cursor value, or lies ahead of the source's clock or counter.
    :raises HorizonError: the window's end would lie ahead of the counter.
    """
    kind = survey.schema.cursor_type
    horizon = survey.horizon.cursor
    stored = checkpoint is not None
    if checkpoint is None and initial_value is not None:
        checkpoint = Position(cursor_bound(survey, initial_value))
    if checkpoint is not None:
        try:
            reached = kind.ordinal(checkpoint.cursor)
        except ValueError as error:
            raise CheckpointInvalidError(
                f"The checkpoint's cursor {checkpoint.cursor!r} is not a {kind} value ({error}). {where}"
            ) from error
        if survey.now is not None and reached > kind.ordinal(survey.now):
            raise CheckpointInvalidError(
                f"The checkpoint {checkpoint.cursor} lies ahead of the source's clock ({survey.now}): it was edited, or"
                f" the source was restored from a backup or set back. Rows before it would be skipped. {where}"
            )
        if stored and survey.counter is not None:
            _require_not_set_back(survey.counter, reached, where)
        if horizon is None or reached >= kind.ordinal(horizon):
            return None
    if horizon is not None and survey.counter is not None:
        _require_counted(survey.counter, kind.ordinal(horizon))
    return None if horizon is None else Window(checkpoint, Position(horizon))


def _require_counted(counter: Counter, end: int) -> None:
    """:raises HorizonError: a row has a value that is still to be handed out. The checkpoint would follow it, and pass all that
    comes until then."""
    if counter.least is not None and end > counter.least:
        raise HorizonError(
            f"A row has the cursor value {counter.greatest}, and {counter.what} hands out {counter.least} next. With that row the"
            " checkpoint would pass all that comes until then, and it would be skipped. Give the row another value, or let what"
            " hands them out go on behind it (a sequence: SELECT setval(...)), or state a lag (a number of values) that is"
            " greater than what lies between."
        )


def _require_not_set_back(counter: Counter, reached: int, where: str) -> None:
    """:raises CheckpointInvalidError: rows may get values below the checkpoint from now on, or may have got some already."""
    greatest = counter.greatest
    stands = "no row has a value" if greatest is None else f"the greatest value of a row is {greatest}"
    if counter.least is not None:
        if counter.least >= reached:
            return
        why = f"{counter.what} hands out {counter.least} next, and {stands}"
    elif greatest is not None and greatest >= reached - 1:
        return
    else:
        why = f"{stands}, and what new rows will get cannot be seen ({counter.what})"
    unless = (
        ""
        if counter.least is not None
        else (
            f" If nothing but the newest rows was deleted, set the cursor to {0 if greatest is None else greatest + 1}."
        )
    )
    raise CheckpointInvalidError(
        f"The checkpoint {reached} lies ahead of the source's counter: {why}. The table was restored, truncated or made anew, or"
        " its sequence was set back, so rows would be skipped. Rebuild the index, which reads every row anew; or set the"
        f" sequence past the checkpoint, and run a sweep for the rows that have come since.{unless} {where}"
    )


def backfill_window(survey: Survey, start_bound: object, end_bound: object) -> Window | None:
    """``[start, end)`` cut at the horizon, or None when all of it lies past the horizon: live runs will bring it.

    :raises WindowError: the window is missing, empty, reversed or in the future.
    :raises TransientError: nothing is safe to read now; the run must be tried again, or rows would be left out.
    """
    kind = survey.schema.cursor_type
    if start_bound is None:
        raise WindowError(
            "A backfill needs a start: give window_start (and window_end, else it reads up to the horizon)."
        )
    start = cursor_bound(survey, start_bound)
    end = None if end_bound is None else cursor_bound(survey, end_bound)
    horizon = survey.horizon.cursor
    if horizon is None:
        raise TransientError(f"No row is safe to read at the moment: {survey.horizon.held_by}. Try again later.")
    if end is not None and kind.ordinal(start) == kind.ordinal(end):
        raise WindowError(f"The window [{start}, {end}) is empty; windows are half open, so the end must lie later.")
    if end is not None and kind.ordinal(start) > kind.ordinal(end):
        raise WindowError(f"The window [{start}, {end}) is reversed: swap window_start and window_end.")
    if survey.now is not None and kind.ordinal(start) > kind.ordinal(survey.now):
        raise WindowError(
            f"The window starts at {start}, which is in the future: the source's clock says {survey.now}."
        )
    if end is None or kind.ordinal(end) > kind.ordinal(horizon):
        end = horizon
    if kind.ordinal(start) >= kind.ordinal(end):
        return None
    return Window(Position(start), Position(end))


def cursor_bound(survey: Survey, value: object) -> str:
    """What a data interval or a form gives, as a cursor value. :raises WindowError: it is none."""
    schema = survey.schema
    try:
        return schema.cursor_type.bound(value, schema.cursor_timezone)
    except (ValueError, OverflowError) as error:
        raise WindowError(f"{value!r} cannot bound a window over a {schema.cursor_type} cursor: {error}.") from error


def is_forward(
    kind: CursorType, current: Position | None, planned: Position | None, start: Position | None, reached: Position
) -> bool | None:
    """Whether a stored checkpoint may move to ``reached`` after a run that read ``[start, reached)``.

    ``planned`` is the checkpoint that the run started from; without one, ``start`` is the stream's initial value.

    True: move. None: leave it, since it is there or further, or since two keys within one cursor value cannot be compared
    here; that is always safe, rows are at worst read again. False: it was set back behind ``start``; somebody wants the
    rows between read again, so it must not move.
    """
    if current == planned:
        return True if current != reached else None
    if current is None:
        return False
    try:
        here, there = kind.ordinal(current.cursor), kind.ordinal(reached.cursor)
        origin = here - 1 if start is None else kind.ordinal(start.cursor)
    except ValueError:
        return False
    if here < origin:
        return False
    return True if origin < here < there else None
