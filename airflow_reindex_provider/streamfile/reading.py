"""A file of streams, read: each stream with its Dags, or with what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.streamfile.items import Item, read_items
from airflow_reindex_provider.streamfile.jobs import JOBS, OF_ALL, Job, job_class, job_model, watch_model
from airflow_reindex_provider.streamfile.models import Said, stream_model
from airflow_reindex_provider.streamfile.problems import Place, Problem, StreamFileError, did_you_mean
from airflow_reindex_provider.streamfile.translating import dotted, problems_of

if TYPE_CHECKING:
    from airflow_reindex_provider.operators.watch import Watch

VERSION = 1
WATCH = "watch"
_TOP = ("version", "defaults", *OF_ALL, "streams")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stream of a file. :ivar stream: None where there are problems. :ivar enabled: whether it has Dags.
    :ivar jobs: its Dags, each with the place where the file asks for it. :ivar watch: what is promised of it."""

    name: str
    place: Place
    stream: Stream | None = None
    jobs: tuple[tuple[Job, Place], ...] = ()
    watch: Watch | None = None
    problems: tuple[Problem, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class StreamFile:
    """:ivar entries: its streams, in their order. :ivar of_all: the Dags that they have together, or what is wrong with
    these; each entry has the word for one of them as its name."""

    entries: tuple[Entry, ...]
    of_all: tuple[Entry, ...] = ()


def read_streams(
    path: Path, overlays: Sequence[Path] = (), *, variables: Mapping[str, str] | None = None
) -> tuple[Entry, ...]:
    """The entries of :func:`read_file`."""
    return read_file(path, overlays, variables=variables).entries


def read_file(path: Path, overlays: Sequence[Path] = (), *, variables: Mapping[str, str] | None = None) -> StreamFile:
    """:param overlays: laid over it, one over the other. :param variables: default: the environment.
    :raises StreamFileError: something is wrong that no stream has caused alone."""
    whole: Item | None = None
    told: list[Problem] = []
    for number, part in enumerate((path, *overlays)):
        item, problems = read_items(part, variables=variables)
        told += [*problems, *_shape(item, is_overlay=number > 0)]
        whole = item.over(whole)
    assert whole is not None
    if shared := [problem for problem in told if problem.stream is None]:
        raise StreamFileError(shared)
    defaults = whole.value.get("defaults")
    reader = _Reader(path.resolve().parent, defaults, [problem for problem in told if problem.stream is not None])
    entries = tuple(reader.entry(name, item) for name, item in whole.value["streams"].value.items())
    _raise_what_all_share(entries)
    of_all = (reader.of_all(job, item, entries) for job in OF_ALL if (item := whole.value.get(job)) is not None)
    return StreamFile(entries=entries, of_all=tuple(of_all))


def _shape(item: Item, *, is_overlay: bool) -> Iterator[Problem]:
    for key, inner in item.value.items():
        if key not in _TOP:
            yield Problem(inner.place, f"{key} is not known. {did_you_mean(key, _TOP)}")
        elif key in OF_ALL and not isinstance(inner.value, dict | list):
            says = f"{key} takes a mapping of arguments of {job_class(key).__name__}, and not {inner.plain!r}."
            yield Problem(inner.place, says)
        elif key in ("defaults", "streams") and not isinstance(inner.value, dict):
            what = "names of streams, each with its mapping" if key == "streams" else "parts of a stream"
            yield Problem(inner.place, f"{key} takes a mapping of {what}, and not {inner.plain!r}.")
    version = item.value.get("version")
    if version is None and not is_overlay:
        yield Problem(item.place, f"version is missing: write version: {VERSION}.")
    elif version is not None and version.value != VERSION:
        yield Problem(version.place, f"version {version.plain!r} is not known: write version: {VERSION}.")
    if "streams" not in item.value and not is_overlay and item.value.keys() <= {*_TOP}:
        yield Problem(item.place, "streams is missing: names of streams, each with its source and target.")


def _raise_what_all_share(entries: Iterable[Entry]) -> None:
    """A mistake in the defaults is one mistake."""
    sets = [{(problem.place, problem.says) for problem in entry.problems} for entry in entries]
    if len(sets) > 1 and (shared := set.intersection(*sets)):
        raise StreamFileError(Problem(place, says) for place, says in shared)


class _Reader:
    def __init__(self, folder: Path, defaults: Item | None, told: Sequence[Problem]) -> None:
        self._context = {"folder": folder}
        self._defaults = defaults
        self._told = told
        self._owners: dict[str, str] = {}

    def entry(self, name: str, item: Item) -> Entry:
        problems = [problem for problem in self._told if problem.stream == name]
        if not isinstance(item.value, dict):
            says = "the stream takes a mapping, with source and target at least; enabled: false leaves it out."
            return Entry(name=name, place=item.place, problems=(*problems, Problem(item.place, says, name)))
        joined = self._completed(item)
        made = _Made(self._context, joined)
        stream, jobs = made.stream(name), tuple(made.jobs(name))
        watch = made.watch(stream)
        # What follows from a value that could not be had is no mistake of its own.
        problems += [problem for problem in made.problems if problem.place not in {told.place for told in problems}]
        problems += self._twice(f"that of stream {name!r}", jobs)
        if problems:
            return Entry(name=name, place=item.place, problems=tuple(problem.of(name) for problem in problems))
        return Entry(name=name, place=item.place, stream=stream, jobs=jobs, watch=watch, enabled=made.enabled)

    def of_all(self, job: str, item: Item, entries: Sequence[Entry]) -> Entry:
        """A Dag of all streams."""
        made = _Made(self._context, Item({job: item}, item.place))
        jobs = tuple(made.jobs(None, (job,)))
        problems = [*made.problems, *self._twice(job, jobs)]
        if job == WATCH and jobs and not any(entry.watch or entry.problems for entry in entries):
            says = "no stream says what is promised of it: write watch: {fresh_within: 15min} into a stream, or the defaults."
            problems.append(Problem(item.place, says))
        return Entry(name=job, place=item.place, jobs=() if problems else jobs, problems=tuple(problems))

    def _twice(self, whose: str, jobs: Iterable[tuple[Job, Place]]) -> Iterator[Problem]:
        for job, place in jobs:
            if (owner := self._owners.get(job.dag_id)) is not None:
                yield Problem(place, f"the Dag {job.dag_id!r} is {owner} already: give this one a dag_id of its own.")
            else:
                self._owners[job.dag_id] = whose

    def _completed(self, item: Item) -> Item:
        """The stream with what the defaults say: of several Dags of a kind, each has it."""
        if self._defaults is None:
            return item
        joined = dict(item.over(self._defaults).value)
        for job in JOBS:
            if job in item.value and isinstance(item.value[job].value, list):
                several = [one.over(self._defaults.value.get(job)) for one in item.value[job].value]
                joined[job] = Item(several, item.value[job].place)
        return Item(joined, item.place)


class _Made:
    """What is made of one stream's mapping. :ivar problems: what could not be."""

    def __init__(self, context: dict[str, Any], item: Item) -> None:
        self._context, self._item = context, item
        self.problems: list[Problem] = []

    @property
    def enabled(self) -> bool:
        enabled = self._item.value.get("enabled")
        if enabled is None or isinstance(enabled.value, bool):
            return enabled is None or enabled.value
        self.problems.append(Problem(enabled.place, f"enabled takes true or false, and not {enabled.plain!r}."))
        return True

    def stream(self, name: str) -> Stream | None:
        """None where something is wrong."""
        own = Item({k: i for k, i in self._item.value.items() if k not in (*JOBS, WATCH, "enabled")}, self._item.place)
        said = self._checked(stream_model(), own, ())
        if said is None:
            return None
        arguments: dict[str, Any] = {}
        for part in said.model_fields_set:
            with _Telling(self.problems, own.at([part]).place):
                arguments[part] = said.argument(part)
        if not self.problems:
            with _Telling(self.problems, own.place):
                return Stream(name=name, **arguments)
        return None

    def watch(self, stream: Stream | None) -> Watch | None:
        """None where nothing is promised, or something is wrong."""
        if (item := self._item.value.get(WATCH)) is None:
            return None
        if not isinstance(item.value, dict):
            says = f"{WATCH} takes a mapping of what is promised, like {{fresh_within: 15min}}."
            self.problems.append(Problem(item.place, says))
            return None
        said = self._checked(watch_model(), item, (WATCH,))
        if said is None or stream is None or not self.enabled:
            return None
        watched: Watch = said.makes(stream, **said.arguments())
        return watched

    def jobs(self, stream: str | None, of: Iterable[str] = JOBS) -> Iterator[tuple[Job, Place]]:
        """:param stream: its name; None of Dags of all streams."""
        enabled = self.enabled
        for job in of:
            if (item := self._item.value.get(job)) is None:
                continue
            several = item.value if isinstance(item.value, list) else [item]
            for number, one in enumerate(several):
                path = (job, number) if several is item.value else (job,)
                if not isinstance(one.value, dict):
                    says = f"{dotted(path)} takes a mapping: {{}} for a Dag with what it has by itself, enabled: false for none."
                    self.problems.append(Problem(one.place, says))
                elif (said := self._checked(job_model(job), one, path)) is not None:
                    made = Job.of(job, stream, said)
                    if made is not None and enabled:
                        yield made, one.place

    def _checked(self, model: type[Said], item: Item, under: tuple[str | int, ...]) -> Said | None:
        try:
            return model.model_validate(_without_null(item.plain), context=self._context)
        except ValidationError as error:
            self.problems += problems_of(error, item, model, under)
            return None


class _Telling:
    """What a class refuses is a problem at this place; other errors go on."""

    def __init__(self, problems: list[Problem], place: Place) -> None:
        self._problems, self._place = problems, place

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, ReindexError | TypeError | ValueError):
            return False
        self._problems.append(Problem(self._place, " ".join(str(error).split())))
        return True


def _without_null(value: dict[str, Any], depth: int = 2) -> dict[str, Any]:
    """Null says that something is as it is by itself."""
    return {
        key: _without_null(inner, depth - 1) if isinstance(inner, dict) and depth > 1 else inner
        for key, inner in value.items()
        if inner is not None
    }
