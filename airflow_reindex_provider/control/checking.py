"""The doctor: what a stream needs, looked at from one end to the other. It writes nothing, and embeds one word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from airflow_reindex_provider.core.embedding.answers import checked
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.findings import ok, tried, warning, wrong
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.model import Finding, Level, Schema
from airflow_reindex_provider.core.patience import in_a_hurry
from airflow_reindex_provider.core.planning import current_generation, told_of
from airflow_reindex_provider.core.protocols import Checked, SourceSession, TargetSession
from airflow_reindex_provider.core.remembered import STREAM
from airflow_reindex_provider.stream import Stream

PATIENCE_S = 5.0
"""How long a side that does not answer is asked again."""
_WORD = "word"
MOST_GROUPS = 20
"""Groups whose indexes are looked at: each costs a session at the target."""


def check(stream: Stream) -> list[dict[str, str]]:
    """All findings as JSON: ``level`` (``ok``, ``warning`` or ``wrong``), ``what``, ``says``, and ``statement`` where one mends
    it. Those of the source come first, then those of the target, of the checkpoint store, of the model and of its cache. A side
    that cannot be reached, or is set up wrong, leaves the others theirs."""
    return [finding.to_json() for finding in findings(stream)]


def findings(stream: Stream) -> Sequence[Finding]:
    """As :func:`check`."""
    return _Doctor(stream).findings


def worst(found: Iterable[Finding]) -> Level:
    """What a script goes by."""
    return max((finding.level for finding in found), key=list(Level).index, default=Level.OK)


class _Doctor:
    """:ivar findings: in order. :ivar schema: of the source, where it can be had: the indexes are compared with it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.findings: list[Finding] = []
        self.schema: Schema | None = None
        with in_a_hurry(PATIENCE_S):
            self._add("source", self._source())
            self._add("target", self._target())
            self._add("checkpoint", self._store())
            self._add("model", self._model())
            self._add("cache", self._cache())

    def _add(self, side: str, found: Iterator[Finding]) -> None:
        try:
            for finding in found:
                self.findings.append(replace(finding, what=f"{side}: {finding.what}"))
        except Exception as error:
            # Whatever it is, the other sides can be looked at.
            self.findings.append(wrong(f"{side}: connection", error))

    def _source(self) -> Iterator[Finding]:
        with self.stream.source.open() as session:
            if isinstance(session, Checked):
                yield from session.check()
                self.schema = _schema_of(session)
                return
            survey = session.survey()
            self.schema = survey.schema
            yield ok("table", f"{self.stream.source.label}: {len(survey.schema.fields)} columns.")
            yield from (warning("table", says) for says in survey.warnings)

    def _target(self) -> Iterator[Finding]:
        stream = self.stream
        if not stream.has_groups:
            with stream.target.open(stream.name) as session:
                yield from self._checked(session)
                yield from self._index(stream, session)
            return
        known = known_groups(stream.name, stream.checkpoint)
        # One for all: they share connection, rights and room.
        first = stream.of_group(known[0] if known else "a")
        with first.target.open(first.name) as session:
            yield from self._checked(session)
        for value in known[:MOST_GROUPS]:
            own = stream.of_group(value)
            with own.target.open(own.name) as session:
                yield from self._index(own, session)
        if not known or len(known) > MOST_GROUPS:
            yield ok(
                "groups",
                f"{len(known)} are known, of which the first {MOST_GROUPS} were looked at." if known else "None yet.",
            )

    def _checked(self, session: TargetSession) -> Iterator[Finding]:
        if isinstance(session, Checked):
            yield from session.check()

    def _index(self, stream: Stream, session: TargetSession) -> Iterator[Finding]:
        """The generation that runs write to, against the source as it is now."""
        what = "index" if stream is self.stream else f"index of {stream.name}"
        try:
            generation = current_generation(session)
            if generation is None:
                yield ok(what, f"{stream.target.label}: none yet, the first run makes one.")
                return
            told = () if self.schema is None else told_of(session, generation, self.schema)
        except ReindexError as error:
            yield wrong(what, error)
            return
        yield from (warning(what, says) for says in told)
        if not told:
            yield ok(what, f"{generation} has what the source has." if self.schema else f"{generation} is there.")

    def _store(self) -> Iterator[Finding]:
        store = self.stream.checkpoint
        if isinstance(store, Checked):
            yield from store.check()
            return
        yield tried("store", self._loaded)

    def _model(self) -> Iterator[Finding]:
        embed = self.stream.embed
        if embed is None:
            return
        model = embed.model
        with model.open() as session:
            (found,) = checked(session.embed([_WORD]), [_WORD], model)
        if isinstance(found, str):
            yield wrong("answer", f"{model.label}: of the word {_WORD!r}: {found}.")
        else:
            yield ok("answer", f"{model.label}: a vector of {len(found):,} dimensions for a word.")

    def _cache(self) -> Iterator[Finding]:
        cache: object = self.stream.embed.cache if self.stream.embed else None
        if isinstance(cache, Checked):
            yield from cache.check()

    def _loaded(self) -> str:
        self.stream.checkpoint.load(self.stream.name, STREAM)
        return f"{type(self.stream.checkpoint).__name__} can be read."


def _schema_of(session: SourceSession) -> Schema | None:
    """None where the table cannot be a stream's, as the findings have said."""
    try:
        return session.schema()
    except ReindexError:
        return None
