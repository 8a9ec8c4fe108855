"""A machine that does what the world and Airflow may do to a stream, in any order, and looks at promises 1-4 after each step.

Writers begin, stamp, commit and roll back; runs are planned, executed in parts, broken, tried again, closed twice or
never; zombies write what they read long ago. At the end one clean run must make the index equal to the table. All of it goes
over the pure core with the parts in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.errors import (
    CheckpointConflictError,
    GenerationGoneError,
    IndexingStoppedError,
    TransientError,
    WindowError,
)
from airflow_reindex_provider.core.model import (
    BatchResult,
    Checkpoint,
    Chunk,
    Format,
    Key,
    Mode,
    Plan,
    Position,
    Transform,
    Window,
)
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import current_generation, make_plan
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running import settling
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.testing.memory import (
    MemoryCheckpoint,
    MemoryReporter,
    MemoryResumeLog,
    MemorySource,
    MemoryTarget,
    Transaction,
)

STREAM = "products"
KIND = CursorType.TIMESTAMPTZ
KEYS = st.sampled_from("abc")
MICROSECONDS = st.integers(0, 3)
HOURS = st.sampled_from([25, 25, 0])
BATCH_ROWS = st.integers(1, 3)
_COMMON = {"deadline": None, "database": None, "stateful_step_count": 50, "suppress_health_check": list(HealthCheck)}


def play(machine: type[RuleBasedStateMachine], stories: int) -> None:
    """So many orders of events, the same in each run.

    :raises AssertionError: a promise was broken."""
    with _stories_of_their_own():
        run_state_machine_as_test(machine, settings=settings(max_examples=stories, derandomize=True, **_COMMON))


def play_until_caught(machine: type[RuleBasedStateMachine], *, good_seed: int) -> None:
    """Orders of events until one breaks a promise. From some seeds it takes hundreds more.

    :raises AssertionError: the first promise that was broken."""
    first_found = settings(max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False, **_COMMON)
    with _stories_of_their_own():
        run_state_machine_as_test(seed(good_seed)(machine), settings=first_found)


@contextmanager
def _stories_of_their_own() -> Iterator[None]:
    """Hypothesis mixes in constants from whatever modules the process has loaded: a seed told another story in each run."""
    # Not in the lowest release that the tests are loaded with.
    from hypothesis.internal.conjecture import providers

    with mock.patch.object(providers, "_get_local_constants", providers.Constants):
        providers.CONSTANTS_CACHE.cache.clear()
        try:
            yield
        finally:
            providers.CONSTANTS_CACHE.cache.clear()


class Kill(BaseException):
    """A process that is gone: nothing it would have done next happens."""


class FlakyCheckpoint(MemoryCheckpoint):
    """Can lose the connection at the moment of saving, before or after the store has taken it."""

    def __init__(self) -> None:
        super().__init__()
        self.break_before = False
        self.break_after = False

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        if self.break_before:
            raise TransientError("broken before the save")
        saved = super().save(checkpoint)
        if self.break_after:
            raise TransientError("broken after the save")
        return saved


class DeafResumeLog(MemoryResumeLog):
    """What is left of a resume log when the process dies before it writes: the notes of earlier tries."""

    def save(self, value: dict[str, Any]) -> None:
        raise Kill

    def clear(self) -> None:
        raise Kill


@dataclass
class Run:
    plan: Plan
    results: dict[int, BatchResult] = field(default_factory=dict)
    resume: dict[int, MemoryResumeLog] = field(default_factory=dict)


@dataclass
class Zombie:
    """Batches that were read and not yet written when their process was taken for dead."""

    generation: str
    chunks: list[Chunk]


class Interleavings(RuleBasedStateMachine):
    """Rules do what the world and Airflow may do at any time; invariants are the promises.

    :ivar transform: of the stream. :ivar embed: likewise."""

    transform: Transform | None = None
    embed: Embed | None = None

    def make_source(self, margin_us: int) -> MemorySource:
        return MemorySource(columns={"id": "text", "state": "integer"}, now_us=100, margin_us=margin_us)

    def make_target(self) -> MemoryTarget:
        return MemoryTarget(chunk_rows=2, refuse=lambda d: "refused" if d.key in self.refused else None)

    def close(self, run: Run) -> Outcome:
        return settling.settle(
            run.plan,
            run.results.values(),
            store=self.store,
            target=partial(self.target.open, STREAM),
            run="run",
            max_failures=1000,
            wall=lambda: self.wall,
        )

    @initialize(margin_us=st.integers(0, 2))
    def a_new_stream(self, margin_us: int) -> None:
        self.refused: set[Key] = set()
        self.source = self.make_source(margin_us)
        self.target = self.make_target()
        self.store = FlakyCheckpoint()
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.open: list[Transaction] = []
        self.runs: list[Run] = []
        self.zombies: list[Zombie] = []
        self.states = 0
        self.committed: dict[Key, list[int | None]] = {}
        self.seen: dict[Key, int] = {}
        self.acknowledged: dict[str, list[Window]] = {}

    # Writers

    @rule()
    def begin(self) -> None:
        if len(self.open) < 4:
            self.open.append(self.source.begin())

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3), key=KEYS, delete=st.sampled_from([False, False, False, True]))
    def stamp(self, which: int, key: str, delete: bool) -> None:
        transaction = self.open[which % len(self.open)]
        self.states += 1
        try:
            if delete:
                transaction.delete(key)
            else:
                transaction.put({"id": key, "state": self.states})
        except TransientError:
            pass  # locked by another transaction: this writer waits, which changes nothing

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3))
    def commit(self, which: int) -> None:
        before = self.source.rows()
        self.open.pop(which % len(self.open)).commit()
        for key, row in self.source.rows().items():
            if row is not before.get(key):
                self.committed.setdefault(key, []).append(None if row.deleted else row.values["state"])

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3))
    def rollback(self, which: int) -> None:
        self.open.pop(which % len(self.open)).rollback()

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3, unique=True), us=MICROSECONDS)
    def write_at_once(self, keys: list[str], us: int) -> None:
        self.source.now_us += us
        self.open.append(self.source.begin())
        for key in keys:
            self.stamp(len(self.open) - 1, key, False)
        self.commit(len(self.open) - 1)

    # Runs

    def plan(self, request: Request, batch_rows: int) -> Run | None:
        with self.source.open() as source, self.target.open(STREAM) as target:
            try:
                plan = make_plan(
                    Opened(STREAM, source, target, self.store),
                    request,
                    new_generation="g1",
                    sizes=Sizes(batch_rows=batch_rows, max_batches=4),
                    wall=lambda: self.wall,
                )
            except WindowError:
                return None
        return self.planned(plan)

    def planned(self, plan: Plan) -> Run:
        if plan.window and not any(not b.keys for b in plan.batches):
            self.acknowledge(plan.generation, plan.window)
        self.runs.append(Run(plan))
        return self.runs[-1]

    def acknowledge(self, generation: str, window: Window) -> None:
        self.acknowledged.setdefault(generation, []).append(window)

    @rule(us=MICROSECONDS, hours=HOURS, batch_rows=BATCH_ROWS)
    def plan_incremental(self, us: int, hours: int, batch_rows: int) -> None:
        self.begin_a_run(us, hours, batch_rows)

    def begin_a_run(self, us: int, hours: int, batch_rows: int) -> Run:
        self.source.now_us += us
        self.wall += timedelta(hours=hours)
        run = self.plan(Request(), batch_rows)
        assert run is not None
        return run

    @rule(start=st.integers(90, 130), length=st.integers(1, 20), batch_rows=BATCH_ROWS)
    def plan_backfill(self, start: int, length: int, batch_rows: int) -> None:
        self.plan(Request(Mode.BACKFILL, KIND.text(start), KIND.text(start + length)), batch_rows)

    def work(self, run: Run, number: int, *, die: bool = False, stop: bool = False, notes: bool = False) -> None:
        """One try of a mapped task. It goes on after what earlier tries noted, and hands its counts to the run.

        :param die: the process is killed where it would write its next note, so after a chunk at the latest at the end.
        :param stop: it is asked to stop after its first chunk.
        :param notes: whether it comes to note every chunk, or none before its end.
        """
        batch = run.plan.batches[number]
        resume = run.resume.setdefault(number, MemoryResumeLog())
        if die:
            earlier, resume = resume, DeafResumeLog()
            resume._text = earlier._text
        ticks = iter(range(10**9)) if notes else iter(lambda: 0, 1)
        with self.source.open() as source, self.target.open(STREAM) as target:
            try:
                result = index_batch(
                    batch,
                    source=source,
                    target=target,
                    format=Format.ROWS,
                    chunk_rows=self.target.chunk_rows,
                    max_failures=1000,
                    # A note is written before each report of progress, and those follow the progress' clock.
                    progress=Progress(batch, "incremental", MemoryReporter(), clock=lambda: float(next(ticks))),
                    resume=resume,
                    should_stop=lambda: stop,
                    transform=self.transform,
                    embed=self.embed,
                )
            except (TransientError, IndexingStoppedError, GenerationGoneError, Kill):
                return
        run.results[number] = BatchResult.from_json(result.to_json())
        if not batch.keys:
            self.acknowledge(batch.generation, batch.window)

    @precondition(lambda self: any(run.plan.batches for run in self.runs))
    @rule(
        which=st.integers(0, 50), number=st.integers(0, 4), die=st.booleans(), stop=st.booleans(), notes=st.booleans()
    )
    def work_on_a_batch(self, which: int, number: int, die: bool, stop: bool, notes: bool) -> None:
        """Also on one that is finished or whose run was closed long ago."""
        run = self.some_run(which)
        self.work(run, number % len(run.plan.batches), die=die, stop=stop, notes=notes)

    @precondition(lambda self: any(run.plan.batches for run in self.runs))
    @rule(
        which=st.integers(0, 50),
        number=st.integers(0, 4),
        chunks=st.integers(0, 1),
        documents=st.integers(0, 2),
        notes=st.booleans(),
    )
    def break_in_a_batch(self, which: int, number: int, chunks: int, documents: int, notes: bool) -> None:
        """The target breaks before, within, or after a chunk."""
        run = self.some_run(which)
        self.target.crash_after(chunks, documents=documents)
        self.work(run, number % len(run.plan.batches), notes=notes)
        self.target.crash_after(None)

    @precondition(lambda self: any(run.plan.batches for run in self.runs))
    @rule(which=st.integers(0, 50))
    def finish_a_run(self, which: int) -> None:
        run = self.some_run(which)
        self.work_on_all_batches(run)
        with suppress(CheckpointConflictError, GenerationGoneError):
            self.close(run)

    def work_on_all_batches(self, run: Run) -> None:
        for number in range(len(run.plan.batches)):
            self.work(run, number)

    @precondition(lambda self: any(run.plan.batches for run in self.runs))
    @rule(which=st.integers(0, 50))
    def lose_sight_of_a_run(self, which: int) -> None:
        plan = self.some_run(which).plan
        zombie = Zombie(plan.generation, [])
        with self.source.open() as source:
            for batch in plan.batches:
                zombie.chunks += source.read(batch, format=Format.ROWS, fields=["id", "state"], chunk_rows=2)
        self.zombies.append(zombie)

    @precondition(lambda self: self.zombies)
    @rule(which=st.integers(0, 50))
    def zombie_writes(self, which: int) -> None:
        zombie = self.zombies.pop(which % len(self.zombies))
        with (
            suppress(GenerationGoneError),
            self.source.open() as source,
            self.target.open(STREAM) as target,
            target.writer(zombie.generation, source.schema(), Format.ROWS) as writer,
        ):
            for chunk in zombie.chunks:
                writer.write(self.with_passages(chunk))

    def with_passages(self, chunk: Chunk) -> Chunk:
        """As the stream has it."""
        return chunk

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 50), broken=st.sampled_from([None, None, None, "before", "after"]))
    def close_a_run(self, which: int, broken: str | None) -> None:
        """With whatever of it has finished; it may have been closed before."""
        run = self.runs[-1 - which % len(self.runs)]
        self.store.break_before, self.store.break_after = broken == "before", broken == "after"
        try:
            self.close(run)
        except (TransientError, CheckpointConflictError, GenerationGoneError):
            pass
        finally:
            self.store.break_before = self.store.break_after = False

    @rule(us=MICROSECONDS, hours=HOURS, batch_rows=BATCH_ROWS)
    def run_from_start_to_end(self, us: int, hours: int, batch_rows: int) -> None:
        run = self.begin_a_run(us, hours, batch_rows)
        self.work_on_all_batches(run)
        self.close(run)

    # People

    @rule(keys=st.sets(KEYS, max_size=2))
    def the_target_refuses(self, keys: set[str]) -> None:
        self.refused = {(key,) for key in keys}

    @precondition(lambda self: self.generation())
    @rule(really=st.sampled_from([False, False, True]))
    def the_checkpoint_is_reset(self, really: bool) -> None:
        """Seldom, since all that was parked is forgotten with it."""
        if really:
            self.store.reset(STREAM, self.generation() or "")

    # Promises

    @invariant()
    def nothing_is_skipped(self) -> None:
        """Promise 1: the state of every row below the checkpoint is in the index, or its key is parked."""
        checkpoint = self.checkpoint()
        if checkpoint.position is None:
            return
        place = KIND.ordinal(checkpoint.position.cursor), checkpoint.position.key
        parked = {p.key for p in checkpoint.parked}
        index = self.index()
        for key, row in self.source.rows().items():
            if row.place < place and key not in parked:
                found = index[key]["state"] if key in index else None
                wanted = None if row.deleted else row.values["state"]
                assert found == wanted, f"promise 1: {key} is {found} in the index, {wanted} in the table"

    @invariant()
    def nothing_goes_back_in_time(self) -> None:
        """Promise 2: in the order of the commits, what the index holds of a row only moves forward."""
        for key, states in self.committed.items():
            document = self.index().get(key)
            before = self.seen.get(key, -1)
            if document is not None:
                now = states.index(document["state"])
                assert now >= before, f"promise 2: {key} went back from state {before} to {now}"
                self.seen[key] = now
            elif before >= 0 and states[before] is not None:
                assert None in states[before:], f"promise 2: {key} left the index, but nobody deleted it"
                self.seen[key] = states.index(None, before)

    @invariant()
    def the_checkpoint_follows_the_target(self) -> None:
        """Promise 3: everything up to the checkpoint lies in windows that were acknowledged in full."""
        position = self.checkpoint().position
        if position is None:
            return
        covered = None
        acknowledged = self.acknowledged.get(self.generation() or "", [])
        for window in sorted(acknowledged, key=lambda w: place_of(w.start)):
            if place_of(window.start) <= place_of(covered):
                covered = max(covered, window.end, key=place_of)
        assert place_of(position) <= place_of(covered), f"promise 3: {position} is past {covered}"

    def teardown(self) -> None:
        """Promise 4: whatever happened, one clean run brings everything; parked documents are among it."""
        if not hasattr(self, "source"):
            return
        for transaction in list(self.open):
            self.commit(self.open.index(transaction))
        self.refused.clear()
        self.come_to_an_end()
        self.nothing_is_skipped()
        self.nothing_goes_back_in_time()
        table = {k: r.values["state"] for k, r in self.source.rows().items() if not r.deleted}
        index = {k: d["state"] for k, d in self.target.documents().items()}
        assert index == table, "promise 4: after a clean run the index differs from the table"
        assert not self.checkpoint().parked, "promise 4: a document is still parked after a clean run"

    def come_to_an_end(self) -> None:
        self.run_from_start_to_end(10, 25, 2)

    # Views

    def some_run(self, which: int) -> Run:
        """Counted from the newest, so that small examples are about the runs in progress."""
        runs = [run for run in self.runs if run.plan.batches]
        return runs[-1 - which % len(runs)]

    def generation(self) -> str | None:
        with self.target.open(STREAM) as session:
            return current_generation(session)

    def checkpoint(self) -> Checkpoint:
        return self.store.load(STREAM, self.generation() or "")

    def index(self) -> dict[Key, Any]:
        generation = self.generation()
        return dict(self.target.documents(generation)) if generation else {}


def place_of(position: Position | None) -> tuple[int, Key]:
    return (KIND.ordinal(position.cursor), position.key) if position else (-(2**63), ())
