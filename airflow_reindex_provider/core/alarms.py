"""What was promised of a stream, whether it is kept, and who has been told: pure rules, over what tasks have published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Promises:
    """Each as ``operators.watch.Watch`` has it for people; None: that is not promised."""

    fresh_within: timedelta | None = None
    longest_run: timedelta | None = None
    stuck_after: timedelta | None = None
    most_parked: int | None = None
    longest_wait: timedelta | None = None
    swept_within: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a stream at one moment, from what its tasks have published.

    :ivar completed_at: of the last run that ended well. :ivar fresh_until: as that run left it; None where the cursor is not made
        of time. :ivar held_by: what held its horizon back. :ivar parked: documents, then.
    :ivar failure: why a task failed last, and ``failed_at``.
    :ivar running_since: of the run under way, and its id in ``running``.
    :ivar progress_at: when it showed progress last; None before it has.
    :ivar waiting_since: of a rebuild that waits for a person.
    :ivar watched_since: when it was looked at for the first time."""

    watched_since: datetime
    paused: bool = False
    completed_at: datetime | None = None
    fresh_until: datetime | None = None
    held_by: str | None = None
    parked: int = 0
    failure: str | None = None
    failed_at: datetime | None = None
    running: str | None = None
    running_since: datetime | None = None
    progress_at: datetime | None = None
    waiting_since: datetime | None = None
    swept_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A promise that is broken. :ivar since: when it began to be. :ivar says: what is wrong. :ivar remedy: what to do first."""

    stream: str
    promise: str
    since: str
    says: str
    remedy: str

    @property
    def identity(self) -> str:
        return f"{self.stream} {self.promise}"

    def __str__(self) -> str:
        return f"{self.stream}: {self.says} Since {self.since}. {self.remedy}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def broken(stream: str, promises: Promises, seen: Seen, now: datetime) -> Iterator[Alarm]:
    """Which promises are broken. None of a stream that is paused: whoever has paused it knows."""
    if seen.paused:
        return

    def alarm(promise: str, since: datetime, says: str, remedy: str) -> Alarm:
        return Alarm(stream, promise, since.isoformat(timespec="seconds"), says, remedy)

    moved = max(filter(None, (seen.running_since, seen.progress_at)), default=None)
    stuck = promises.stuck_after is not None and moved is not None and now - moved > promises.stuck_after
    if stuck and moved is not None:
        yield alarm(
            "stuck",
            moved,
            f"run {seen.running} is under way and has shown no progress for {_told(now - moved)}.",
            "See the log of its tasks; cancel it if it hangs, what is acknowledged stays: airflow reindex cancel "
            + stream,
        )
    elif promises.longest_run is not None and seen.running_since and now - seen.running_since > promises.longest_run:
        yield alarm(
            "slow",
            seen.running_since + promises.longest_run,
            f"run {seen.running} takes longer than {_told(promises.longest_run)}; it goes on.",
            "Look at its rate and what is left on the stream's page.",
        )
    fresh = seen.fresh_until or seen.completed_at or seen.watched_since
    if promises.fresh_within is not None and now - fresh > promises.fresh_within:
        yield alarm("behind", fresh + promises.fresh_within, *_why_behind(stream, seen, now - fresh))
    if promises.most_parked is not None and seen.parked > promises.most_parked:
        yield alarm(
            "parked",
            seen.completed_at or now,
            f"{seen.parked:,} documents are parked, {promises.most_parked:,} may be.",
            f"Their reasons: airflow reindex parked list {stream}",
        )
    if promises.longest_wait is not None and seen.waiting_since and now - seen.waiting_since > promises.longest_wait:
        yield alarm(
            "waiting",
            seen.waiting_since,
            f"a rebuild has waited for a person for {_told(now - seen.waiting_since)}.",
            f"Approve or reject it on the stream's page, or: airflow reindex approve {stream}",
        )
    swept = seen.swept_at or seen.watched_since
    if promises.swept_within is not None and now - swept > promises.swept_within:
        what = f"the last complete sweep is {_told(now - swept)} old" if seen.swept_at else "no sweep was complete yet"
        yield alarm(
            "unswept",
            swept + promises.swept_within,
            f"{what}.",
            f"See why the last one failed, or: airflow reindex sweep {stream}",
        )


def _why_behind(stream: str, seen: Seen, age: timedelta) -> tuple[str, str]:
    says = f"changes of the last {_told(age)} may be missing from the index"
    fails = seen.failed_at is not None and (seen.completed_at is None or seen.failed_at > seen.completed_at)
    if fails:
        return f"{says}: its runs fail. {seen.failure}", f"Mend that; then: airflow reindex check {stream}"
    if seen.held_by:
        return f"{says}: the horizon is held back by {seen.held_by}.", "End that transaction, or wait for it."
    if seen.running:
        return f"{says}: run {seen.running} is under way.", "Look at its rate and what is left on the stream's page."
    if seen.completed_at is None:
        return f"{says}: no run has ended well yet.", "Is its Dag there, and does the scheduler run?"
    return f"{says}: no run has ended since {seen.completed_at.isoformat(timespec='seconds')}.", (
        "Is its Dag scheduled often enough, and does the scheduler run?"
    )


def _told(age: timedelta) -> str:
    return str(timedelta(seconds=round(age.total_seconds())))


@dataclass(slots=True)
class Ledger:
    """Who has been told of what.

    :ivar known: by the identity of its alarm, each promise that is or was broken: the alarm, whether it is well again, and the
        numbers of the notifiers that know that it was broken."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def open(self, alarms: Iterable[Alarm], *, watched: Iterable[str]) -> None:
        """Note what is broken now, and what is well again. What is said of one that is known stays as it was told.

        :param watched: the streams that were looked at; of others, paused ones say, all stays as it is."""
        now = {alarm.identity: alarm for alarm in alarms}
        looked_at = set(watched)
        for identity, alarm in now.items():
            entry = self.known.setdefault(identity, {"alarm": alarm.to_json(), "told": []})
            entry["well"] = False
        for identity, entry in list(self.known.items()):
            if identity not in now and entry["alarm"]["stream"] in looked_at:
                entry["well"] = True
                if not entry["told"]:
                    del self.known[identity]

    def forget(self, stream: str) -> None:
        """One that is not watched any more: nobody is to hear of it."""
        self.known = {i: entry for i, entry in self.known.items() if entry["alarm"]["stream"] != stream}

    def news(self, notifier: int) -> tuple[list[Alarm], list[Alarm]]:
        """What this one has to hear: what is broken and it does not know, and what is well again and it does not know."""
        broken_, well = [], []
        for entry in self.known.values():
            told = notifier in entry["told"]
            if entry["well"] and told:
                well.append(Alarm(**entry["alarm"]))
            elif not entry["well"] and not told:
                broken_.append(Alarm(**entry["alarm"]))
        return broken_, well

    def told(self, notifier: int, broken_: Iterable[Alarm], well: Iterable[Alarm]) -> None:
        for alarm in broken_:
            self.known[alarm.identity]["told"].append(notifier)
        for alarm in well:
            entry = self.known[alarm.identity]
            entry["told"].remove(notifier)
            if not entry["told"]:
                del self.known[alarm.identity]

    def to_json(self) -> dict[str, Any]:
        return dict(self.known)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ledger:
        return cls({identity: dict(entry) for identity, entry in value.items()})


def message(broken_: Iterable[Alarm], well: Iterable[Alarm]) -> dict[str, Any]:
    """For the templates of a notifier: ``subject``, ``text``, and both lists as JSON."""
    broken_, well = list(broken_), list(well)
    parts = []
    if broken_:
        parts.append(f"{_streams(broken_)} broken")
    if well:
        parts.append(f"{_streams(well)} well again")
    lines = [f"BROKEN  {alarm}" for alarm in broken_] + [
        f"WELL    {alarm.stream}: well again ({alarm.promise}); it was not since {alarm.since}." for alarm in well
    ]
    return {
        "subject": f"Reindex: {', '.join(parts)}",
        "text": "\n".join(lines),
        "broken": [alarm.to_json() for alarm in broken_],
        "well": [alarm.to_json() for alarm in well],
    }


def _streams(alarms: list[Alarm]) -> str:
    names = list(dict.fromkeys(alarm.stream for alarm in alarms))
    return names[0] if len(names) == 1 else f"{len(names)} streams"
