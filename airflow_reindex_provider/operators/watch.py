"""Looks at what the tasks of streams have published, and calls whoever is to be called."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator, Variable
from airflow.sdk.exceptions import AirflowFailException

from airflow_reindex_provider.core.alarms import Alarm, Ledger, Promises, Seen, broken, message
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.published import FAILURE_KEY, PROGRESS_KEY
from airflow_reindex_provider.events import Event, event_asset, events_alias, stream_asset, tell_event
from airflow_reindex_provider.operators.base import results_of
from airflow_reindex_provider.operators.notes import KEEP_JOBS

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context
    from airflow.sdk.bases.notifier import BaseNotifier

    from airflow_reindex_provider.stream import Stream

_ACTIVE = ("queued", "running")
_WAITS = ("deferred", "awaiting_input")
_READ = (Event.RUN_STARTED, Event.REBUILD_STARTED, Event.SWEEP_COMPLETED)


@dataclass(frozen=True)
class Watch:
    """What is promised of a stream. None: that is not promised.

    :param stream: which.
    :param fresh_within: so old may the oldest change be that a search cannot find; default 15 minutes. Where the cursor is not
        made of time, so long ago may the last run have ended well.
    :param longest_run: so long may a run take. :param stuck_after: a run that has shown no progress for so long is stuck, however
        long it may take; default ten minutes.
    :param most_parked: so many documents may be parked. :param longest_wait: so long may a rebuild wait for a person.
    :param swept_within: so old may the last complete sweep be.
    :param dag_id: of the stream's ReindexDag; default ``reindex_`` and its name. While it is paused, nothing is broken.
    """

    stream: Stream
    _: KW_ONLY
    fresh_within: timedelta | None = timedelta(minutes=15)
    longest_run: timedelta | None = None
    stuck_after: timedelta | None = timedelta(minutes=10)
    most_parked: int | None = None
    longest_wait: timedelta | None = None
    swept_within: timedelta | None = None
    dag_id: str | None = None

    @property
    def promises(self) -> Promises:
        return Promises(**{promise.name: getattr(self, promise.name) for promise in fields(Promises)})


class WatchOperator(BaseOperator):
    """Evaluates what was promised of streams from what their tasks have published: no query goes to a source or a target. Each
    notifier is called once with all that is newly broken, and once it is well again; a stream that is paused breaks nothing.

    Who was told of what is kept in the Airflow Variable ``reindex_watch.<dag_id>``. A notifier that fails is called again by the
    next run, and this one fails at its end.

    :param watched: the streams. :param notifiers: Airflow notifiers; their templates read ``reindex.subject``, ``reindex.text``,
        ``reindex.broken`` and ``reindex.well``.
    """

    def __init__(self, *, watched: Sequence[Watch], notifiers: Sequence[BaseNotifier], **kwargs: Any) -> None:
        names = [one.stream.name for one in watched]
        assets = [a for name in names for a in (stream_asset(name), *(event_asset(event, name) for event in _READ))]
        kwargs["inlets"] = [*(kwargs.get("inlets") or []), *assets]
        kwargs["outlets"] = [*(kwargs.get("outlets") or []), *(events_alias(name) for name in names)]
        super().__init__(**kwargs)
        self.watched = tuple(watched)
        self.notifiers = tuple(notifiers)

    def execute(self, context: Context) -> dict[str, Any]:
        now, key = utc_now(), f"reindex_watch.{context['ti'].dag_id}"
        kept: dict[str, Any] = json.loads(Variable.get(key, default="{}") or "{}")
        since, ledger = kept.get("since", {}), Ledger.from_json(kept.get("known", {}))
        _forget(since, ledger, {one.stream.name for one in self.watched}, now)
        alarms: list[Alarm] = []
        looked_at: list[str] = []
        troubles: list[str] = []
        for one in self.watched:
            name = one.stream.name
            try:
                seen = self._look(context, one, since.setdefault(name, {"first": now.isoformat()}), now)
            except Exception as error:
                # One that cannot be looked at keeps nobody from hearing of the others.
                troubles.append(f"stream {name!r} could not be looked at: {type(error).__name__}: {error}")
                continue
            if not seen.paused:
                looked_at.append(name)
                alarms += broken(name, one.promises, seen, now)
        ledger.open(alarms, watched=looked_at)
        for number, notifier in enumerate(self.notifiers):
            troubles += self._tell(context, ledger, number, notifier)
        Variable.set(key, json.dumps({"since": since, "known": ledger.to_json()}))
        for alarm in alarms:
            self.log.warning("Broken: %s", alarm)
        if troubles:
            raise AirflowFailException(" ".join(troubles)[:4000])
        return {"watched": len(self.watched), "looked_at": len(looked_at), "broken": [a.to_json() for a in alarms]}

    def _tell(self, context: Context, ledger: Ledger, number: int, notifier: BaseNotifier) -> list[str]:
        broken_, well = ledger.news(number)
        if not broken_ and not well:
            return []
        # Rendering its templates changes a notifier for good.
        fresh = copy.copy(notifier)
        said = cast("Context", {**context, "reindex": message(broken_, well)})
        try:
            fresh.render_template_fields(said)
            fresh.notify(said)
        except Exception as error:
            return [f"{type(notifier).__name__} could not be called: {type(error).__name__}: {error}"]
        ledger.told(number, broken_, well)
        if number == 0:
            for event, told in ((Event.WATCH_BROKEN, broken_), (Event.WATCH_WELL, well)):
                for alarm in told:
                    figures = {k: v for k, v in alarm.to_json().items() if k != "stream"}
                    tell_event(context, event, stream=alarm.stream, **figures)
        return []

    # -- what is known of a stream

    def _look(self, context: Context, one: Watch, remembered: dict[str, str], now: datetime) -> Seen:
        ti: Any = context["ti"]
        name, promises = one.stream.name, one.promises
        completed = self._last(context, stream_asset(name))
        started = self._last(context, event_asset(Event.RUN_STARTED, name))
        failure = self._state(context, name)
        running = self._running(ti, started, completed)
        wants_wait = promises.longest_wait is not None
        swept = self._swept(context, name) if promises.swept_within is not None else None
        return Seen(
            watched_since=datetime.fromisoformat(remembered["first"]),
            paused=bool(ti.get_dag(one.dag_id or f"reindex_{name}").is_paused),
            completed_at=_time(completed.get("at")),
            fresh_until=_time(completed.get("fresh_until")),
            held_by=completed.get("held_by"),
            parked=int(completed.get("parked") or 0),
            failure=failure.get("message"),
            failed_at=_time(failure.get("at")),
            running=running.get("run_id"),
            running_since=_time(running.get("at")),
            progress_at=self._progress_at(ti, running) if running else None,
            waiting_since=self._waiting_since(context, ti, name, remembered, now) if wants_wait else None,
            swept_at=swept,
        )

    def _last(self, context: Context, asset: Asset) -> dict[str, Any]:
        """The ``extra`` of the asset's last event; empty where there was none."""
        found = context["inlet_events"][asset].ascending(False).limit(1)
        return next((dict(event.extra or {}) for event in found), {})

    def _state(self, context: Context, name: str) -> dict[str, Any]:
        found: Any = context["asset_state_store"][stream_asset(name)].get(FAILURE_KEY)
        return found if isinstance(found, dict) else {}

    def _running(self, ti: Any, started: Mapping[str, Any], completed: Mapping[str, Any]) -> Mapping[str, Any]:
        if not started or started.get("run_id") == completed.get("run_id"):
            return {}
        states = ti.get_dr_count(dag_id=started["dag_id"], run_ids=[started["run_id"]], states=list(_ACTIVE))
        return started if states else {}

    def _progress_at(self, ti: Any, running: Mapping[str, Any]) -> datetime | None:
        found = ti.xcom_pull(
            dag_id=running["dag_id"], run_id=running["run_id"], task_ids=running["index_task_id"], key=PROGRESS_KEY
        )
        times = [moment for record in results_of(found) if (moment := _time(record.get("updated_at")))]
        return max(times, default=None)

    def _waiting_since(
        self, context: Context, ti: Any, name: str, remembered: dict[str, str], now: datetime
    ) -> datetime | None:
        """When it was seen to wait for the first time."""
        begun = self._last(context, event_asset(Event.REBUILD_STARTED, name))
        states: Any = {}
        if begun:
            found = ti.get_task_states(dag_id=begun["dag_id"], run_ids=[begun["run_id"]])
            states = found.get(begun["run_id"], {})
        if any(state in _WAITS and "approve" in task_id for task_id, state in states.items()):
            return datetime.fromisoformat(remembered.setdefault("waits", now.isoformat()))
        remembered.pop("waits", None)
        return None

    def _swept(self, context: Context, name: str) -> datetime | None:
        found = context["inlet_events"][event_asset(Event.SWEEP_COMPLETED, name)].ascending(False).limit(20)
        return next((_time(e.extra["at"]) for e in found if e.extra and not e.extra.get("dry_run")), None)


def _forget(since: dict[str, dict[str, str]], ledger: Ledger, watched: Collection[str], now: datetime) -> None:
    """Streams that nobody has watched for a day. Not at once: a file of streams may fail to parse, and nobody is to hear anew of
    what they know when it is mended."""
    for name in list(since):
        if name in watched:
            since[name]["last"] = now.isoformat()
        elif datetime.fromisoformat(since[name].setdefault("last", now.isoformat())) < now - KEEP_JOBS:
            del since[name]
            ledger.forget(name)


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
