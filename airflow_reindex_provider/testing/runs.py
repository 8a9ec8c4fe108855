"""One run of a stream without Airflow: plan, index every batch, settle. For tests of sources, targets and transforms."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.target import EmbeddingTarget
from airflow_reindex_provider.core.model import Batch, BatchResult, Format, Plan, Transform
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.protocols import (
    CheckpointStore,
    ResumeLog,
    Source,
    SourceSession,
    Target,
    TargetSession,
)
from airflow_reindex_provider.core.remembered import Route
from airflow_reindex_provider.core.running.indexing import choose_format, index_batch
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.running.settling import settle
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemoryReporter, MemoryResumeLog

_stamps = itertools.count(1)


@dataclass(kw_only=True)
class Runner:
    """Does by hand what the three tasks of a run do; every step opens sessions of its own, as tasks do.

    :param chunk_rows: default: the target's. :param max_failures: of a batch, and of all that is parked.
    :param group: value of the group that the stream is of.
    """

    source: Source
    target: Target
    stream: str = "stream"
    store: CheckpointStore = field(default_factory=MemoryCheckpoint)
    transform: Transform | None = None
    embed: Embed | None = None
    sizes: Sizes = Sizes()
    chunk_rows: int | None = None
    max_failures: int = 100
    group: str | None = None

    def __post_init__(self) -> None:
        if self.embed is not None:
            assert isinstance(self.target, EmbeddingTarget)
            self.target = self.target.with_passages(self.embed.recipe)

    def run(self, request: Request = Request()) -> Outcome:
        """A whole run; errors of any step come through."""
        plan = self.plan(request)
        return self.settle(plan, [self.index(batch) for batch in plan.batches])

    def plan(self, request: Request = Request()) -> Plan:
        stamp = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_stamps))).strftime("%Y%m%dt%H%M%S")
        with self.opened() as opened:
            return make_plan(
                opened,
                request,
                new_generation=self.target.generation_name(stamp),
                route=self.route,
                group=self.group,
                guarantee=self.target.guarantee,
                sizes=self.sizes,
            )

    def index(
        self,
        batch: Batch,
        *,
        resume: ResumeLog | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> BatchResult:
        with self.opened() as opened:
            return self.index_in(opened, batch, resume=resume, should_stop=should_stop)

    def index_in(
        self,
        opened: Opened[SourceSession],
        batch: Batch,
        *,
        resume: ResumeLog | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> BatchResult:
        """In sessions that are open already."""
        return index_batch(
            batch,
            source=opened.source,
            target=opened.target,
            format=self.format,
            chunk_rows=self.chunk_rows or self.target.chunk_rows,
            max_failures=self.max_failures,
            progress=Progress(batch, batch.mode, MemoryReporter()),
            resume=resume or MemoryResumeLog(),
            transform=self.transform,
            embed=self.embed,
            should_stop=should_stop,
        )

    def settle(self, plan: Plan, results: Sequence[BatchResult]) -> Outcome:
        target = partial(self.target.open, self.stream)
        return settle(plan, results, store=self.store, target=target, run="by hand", max_failures=self.max_failures)

    @property
    def route(self) -> Route:
        return Route(self.source.label, self.target.label)

    @property
    def format(self) -> Format:
        return choose_format(self.source.formats, self.target.formats, self.transform, self.embed)

    @contextmanager
    def opened(self) -> Iterator[Opened[SourceSession]]:
        with self.source.open() as source, self.target.open(self.stream) as target:
            yield Opened(self.stream, source, target, self.store)

    @contextmanager
    def sessions(self) -> Iterator[tuple[SourceSession, TargetSession]]:
        with self.opened() as opened:
            yield opened.source, opened.target
