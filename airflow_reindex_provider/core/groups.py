"""Groups: a stream for each value of a column. What they are called, which there are, and how one run serves them all.

A group is a stream of its own in all that matters: generation, checkpoint, lease, progress. What they share is a run: its
horizon, the cuts of its windows, and how many batches it may have.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import (
    CheckpointConflictError,
    ConfigurationError,
)
from airflow_reindex_provider.core.model import (
    Batch,
    Groups,
    Mode,
    Plan,
    Position,
    Slices,
    Survey,
    Window,
)
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import SAVE_TRIES, CheckpointStore, GroupedSession, SourceSession
from airflow_reindex_provider.core.remembered import Memory, Route
from airflow_reindex_provider.core.windows import Request, incremental_window

MAX_GROUPS = 500
"""Every group needs a mapped task, and perhaps one for its parked documents; Airflow maps 1,024 at the most."""


MAX_WARNINGS = 10
GROUPS = "groups"
"""Stands where a checkpoint has its generation. No generation is called so: they all end in a time."""


LEAST_ROOM = 16


MOST_ROOM = 60


# Two underscores mark a name with a hash. What targets put behind a public name themselves must not come from a value.
_PLAIN = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


_TAKEN = re.compile(r"(.*_)?(first|write|\d{8}t\d{6})")


_HASH = "__"


_HASH_CHARS = 10


def group_name(value: str, room: int) -> str:
    """The group's part of a stream's and an index's name: the value itself where it is plain, or else what is left of it
    and a hash. Different values have different names.

    Plain are lower case letters, digits, and single ``_`` and ``-`` between them.

    :param room: how long it may be, in characters; at least ``LEAST_ROOM``.
    """
    room = min(room, MOST_ROOM)
    if len(value) <= room and _PLAIN.fullmatch(value) and not _TAKEN.fullmatch(value):
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    word = re.sub(r"[^a-z0-9]+", "_", value.lower())[: room - len(_HASH) - _HASH_CHARS].strip("_")
    return f"{word or 'group'[: room - len(_HASH) - _HASH_CHARS]}{_HASH}{digest}"


def known_groups(stream: str, store: CheckpointStore) -> tuple[str, ...]:
    """All that any run has met, also those whose last row has left since."""
    position = store.load(stream, GROUPS).position
    return position.key if position else ()


def grouped(source: SourceSession, stream: str) -> GroupedSession:
    """:raises ConfigurationError: the source cannot tell its groups."""
    if not isinstance(source, GroupedSession):
        raise ConfigurationError(f"Stream {stream!r}: its source cannot tell which groups its rows have.")
    return source


def furthest_behind(kind: CursorType, starts: Sequence[tuple[Position | None, str]]) -> tuple[Position | None, str]:
    """Of the groups' checkpoints, each with where it is kept, the one to read on from for all of them: none, where a group
    has none, or there are no groups yet."""
    fresh = next((start for start in starts if start[0] is None), None if starts else (None, ""))
    return fresh or min(starts, key=lambda start: kind.ordinal(start[0].cursor) if start[0] else 0)


def list_groups(
    stream: str,
    request: Request,
    *,
    source: GroupedSession,
    survey: Survey,
    store: CheckpointStore,
    run: str,
    route: Route | None = None,
) -> Groups:
    """All groups that a run is about: those met before, and those of the rows that have changed since.

    What has been met is kept beside the stream's checkpoints, with how far the source has been looked through. It is saved
    before any group has an index, so that none is forgotten; a dry run saves nothing.

    :param route: as in ``make_plan``.
    :raises ConfigurationError: there are more than ``MAX_GROUPS``.
    """
    warnings: tuple[str, ...] = ()
    if route is not None:
        memory = Memory(store, stream, route)
        memory.require_same(lambda: survey)
        read = store.load(stream, GROUPS).position is not None
        warnings = tuple(memory.warnings(GROUPS, survey, read=read))
        if not request.dry_run:
            memory.keep(GROUPS, survey, read=read)
    for attempt in range(SAVE_TRIES):
        stored = store.load(stream, GROUPS)
        where = store.where(stream, GROUPS)
        reached = Position(stored.position.cursor) if stored.position else None
        window = incremental_window(survey, reached, where=where)
        found = source.groups(window, limit=MAX_GROUPS + 1) if window else Groups()
        values = {*found.values, *(stored.position.key if stored.position else ())}
        if len(values) > MAX_GROUPS:
            raise ConfigurationError(
                f"Stream {stream!r} has more than {MAX_GROUPS} groups. Each needs an index and a task of its own: group by a"
                " column with fewer values, or keep them in one index and filter there."
            )
        groups = Groups(tuple(sorted(values)), found.nulls, warnings)
        if window is None or request.dry_run:
            return groups
        try:
            position = Position(window.end.cursor, groups.values)
            saved_at = utc_now().isoformat(timespec="seconds")
            store.save(replace(stored, position=position, saved_at=saved_at, saved_by=run))
        except CheckpointConflictError:
            if attempt == SAVE_TRIES - 1:
                raise
            continue
        return groups
    raise AssertionError("unreachable: the last attempt returns or raises")


class SharedPlanning:
    """What plans one group of many: the survey is that of the run, and a window is cut once for all of them.

    :param whole: the open source of all groups. :param own: opens the source of the group.
    :param cuts: shared by the groups of a run.
    """

    def __init__(
        self,
        whole: SourceSession,
        survey: Survey,
        cuts: dict[Window, Slices],
        own: Callable[[], AbstractContextManager[SourceSession]],
    ) -> None:
        self._whole = whole
        self._survey = survey
        self._cuts = cuts
        self._own = own

    def survey(self) -> Survey:
        return self._survey

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        if fresh:
            with self._own() as source:
                return source.slices(window, batch_rows=batch_rows, max_slices=max_slices, fresh=True)
        if window not in self._cuts:
            self._cuts[window] = self._whole.slices(window, batch_rows=batch_rows, max_slices=max_slices)
        return self._cuts[window]


@dataclass(frozen=True, slots=True)
class GroupPlans:
    """One run of all groups. :ivar failures: groups that could not be planned, and why; the others go on without them."""

    stream: str
    mode: Mode
    plans: tuple[Plan, ...]
    failures: Mapping[str, str]
    dry_run: bool = False
    nulls: int = 0
    of_all: tuple[str, ...] = ()
    """Warnings that are of no group alone."""

    @property
    def batches(self) -> tuple[Batch, ...]:
        return tuple(batch for plan in self.plans for batch in plan.batches)

    @property
    def rows(self) -> int:
        return sum(plan.rows for plan in self.plans)

    @property
    def held_by(self) -> str | None:
        """What holds back the horizon of the run, which all groups share."""
        return next((plan.held_by for plan in self.plans if plan.held_by), None)

    @property
    def out_of_reach(self) -> dict[str, int | None]:
        """Rows that no window reaches, under the names of a plan: they are counted over all groups at once."""
        names = ("null_cursors", "ahead_cursors")
        counts = {name: [getattr(plan, name) for plan in self.plans] for name in names}
        return {name: max((n for n in found if n is not None), default=None) for name, found in counts.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all groups, each once; of more than ``MAX_WARNINGS`` the first ones."""
        found = list(dict.fromkeys((*self.of_all, *(warning for plan in self.plans for warning in plan.warnings))))
        if len(found) > MAX_WARNINGS:
            found[MAX_WARNINGS:] = [f"And {len(found) - MAX_WARNINGS} more, which the groups' own plans have."]
        return tuple(found)

    @property
    def as_one(self) -> Plan | None:
        """One plan that says of the run what all of them say together; None where no group could be planned."""
        if not self.plans:
            return None
        return replace(
            self.plans[0],
            stream=self.stream,
            batches=self.batches,
            rows=self.rows,
            held_by=self.held_by,
            warnings=self.warnings,
        )

    def to_json(self) -> dict[str, Any]:
        """Without the batches, as :meth:`Plan.to_json`."""
        return {
            "stream": self.stream,
            "mode": str(self.mode),
            "dry_run": self.dry_run,
            "batches": len(self.batches),
            "rows": self.rows,
            "nulls": self.nulls,
            **self.out_of_reach,
            "held_by": self.held_by,
            "warnings": list(self.warnings),
            "groups": [plan.to_json() for plan in self.plans],
            "failures": dict(self.failures),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], batches: Iterable[Mapping[str, Any]]) -> GroupPlans:
        by_stream: dict[str, list[Mapping[str, Any]]] = {}
        for batch in batches:
            by_stream.setdefault(batch["stream"], []).append(batch)
        return cls(
            value["stream"],
            Mode(value["mode"]),
            tuple(Plan.from_json(plan, by_stream.get(plan["stream"], ())) for plan in value["groups"]),
            value["failures"],
            value["dry_run"],
            value["nulls"],
            tuple(value.get("warnings", ())),
        )


def plan_groups(
    stream: str, request: Request, groups: Groups, plan: Callable[[str], Plan], *, max_batches: int
) -> GroupPlans:
    """Plan each group, and share out the batches of the run among them.

    :param plan: of one group's value. :param max_batches: of the run; but every group that has something to do gets one.
    :raises ConfigurationError: no group can be planned; the first reason.
    """
    plans: list[Plan] = []
    failures: dict[str, str] = {}
    for value in groups.values:
        try:
            plans.append(plan(value))
        except ConfigurationError as error:
            failures[value] = str(error)
    if failures and not plans:
        raise ConfigurationError(f"None of the {len(failures)} groups can be planned. {next(iter(failures.values()))}")
    shares = fair_shares([sum(not b.keys for b in p.batches) for p in plans], max_batches)
    cut = tuple(_joined(plan, share) for plan, share in zip(plans, shares, strict=True))
    return GroupPlans(stream, request.mode, cut, failures, request.dry_run, groups.nulls, groups.warnings)


def fair_shares(needs: Sequence[int], cap: int) -> list[int]:
    """How many of ``cap`` each gets: nobody more than it needs or, as far as others need them, than the others get. Whoever
    needs some gets one, also where that is more than the cap."""
    shares = [min(need, 1) for need in needs]
    left = cap - sum(shares)
    while left > 0 and (hungry := [n for n, need in enumerate(needs) if shares[n] < need]):
        for n in hungry[:left]:
            shares[n] += 1
        left -= len(hungry[:left])
    return shares


def _joined(plan: Plan, parts: int) -> Plan:
    """The plan with so many batches, each of neighbours."""
    rows = [batch for batch in plan.batches if not batch.keys]
    retries = [batch for batch in plan.batches if batch.keys]
    if parts >= len(rows):
        return plan
    cuts = [len(rows) * n // parts for n in range(parts + 1)]
    joined = [
        replace(
            rows[a], window=Window(rows[a].window.start, rows[b - 1].window.end), rows=sum(r.rows for r in rows[a:b])
        )
        for a, b in pairwise(cuts)
    ]
    of = len(joined) + len(retries)
    return replace(plan, batches=tuple(replace(b, number=n, of=of) for n, b in enumerate([*joined, *retries])))
