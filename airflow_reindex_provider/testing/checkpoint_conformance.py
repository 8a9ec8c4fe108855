"""What every checkpoint store must do, for anyone who writes one.

Subclass :class:`CheckpointStoreConformance` in a test module and give it a ``store`` fixture and ``corrupt``::

    class TestMyStore(CheckpointStoreConformance):
        compare_and_set = True

        @pytest.fixture
        def store(self):
            return MyStore(...)

        def corrupt(self, store, stream, generation): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import CheckpointConflictError, CheckpointInvalidError
from airflow_reindex_provider.core.model import Checkpoint, Parked, Position
from airflow_reindex_provider.core.protocols import CheckpointStore

STREAM, GENERATION = "products", "products_20261123t172543"

FULL = Checkpoint(
    STREAM,
    GENERATION,
    position=Position("2026-11-23 17:25:43.123456+00:00", ('O\'Brien "7"', "ключ 鍵", "a\\b\nc")),
    parked=(
        Parked(
            key=("7", "it's"),
            reason='mapper_parsing_exception: "größe" is not a number',
            attempts=3,
            parked_at="2026-11-23T17:20:00+00:00",
            next_try_at="2026-11-23T18:40:00+00:00",
        ),
        Parked(("8",), "too long", 1, "2026-11-23T17:25:00+00:00", "2026-11-23T17:30:00+00:00"),
    ),
    saved_at="2026-11-23T17:25:50+00:00",
    saved_by="reindex_products/scheduled__2026-11-23T17:25:00+00:00",
)


CURSORS = [
    ("timestamptz", "0044-03-15 12:00:00.000001+00 BC"),
    ("timestamptz", "12026-01-01 00:00:00+00"),
    ("timestamptz", "1883-01-01 00:00:00-04:56:02"),
    ("timestamp", "4713-01-01 00:00:00 BC"),
    ("timestamp", "infinity"),
    ("date", "-infinity"),
    ("date", "10000-01-01"),
    ("integer", "-9223372036854775808"),
]


class CheckpointStoreConformance(ABC):
    """The promises of ``core.protocols.CheckpointStore`` as tests. Each needs a store that is empty at its start."""

    compare_and_set: bool
    """Whether of several concurrent savers of one version exactly one wins; state it, and mean it."""

    savers = 8
    """How many threads race where ``compare_and_set`` is True."""

    @pytest.fixture
    @abstractmethod
    def store(self) -> CheckpointStore:
        """An empty store."""

    @abstractmethod
    def corrupt(self, store: CheckpointStore, stream: str, generation: str) -> None:
        """Put something in the place of this stored checkpoint that no checkpoint can be read from, as a slip of the
        hand would."""

    def test_an_unknown_checkpoint_has_version_zero(self, store: CheckpointStore) -> None:
        """Where nothing is stored there is a checkpoint before the first row, and asking stores nothing."""
        assert store.load(STREAM, GENERATION) == Checkpoint(STREAM, GENERATION)
        assert store.load(STREAM, GENERATION) == Checkpoint(STREAM, GENERATION)

    def test_what_was_saved_is_loaded(self, store: CheckpointStore) -> None:
        """Nothing is lost on the way: microseconds, quotes, other scripts, line breaks, parked documents in order."""
        saved = store.save(FULL)

        assert saved == replace(FULL, version=1)
        assert store.load(STREAM, GENERATION) == saved

    def test_a_checkpoint_before_the_first_row_is_stored(self, store: CheckpointStore) -> None:
        """No position and no key are kept as such: documents can be parked before the cursor has moved."""
        for wanted in (replace(FULL, position=None), replace(FULL, position=Position("42"), parked=())):
            saved = store.save(replace(wanted, version=store.load(STREAM, GENERATION).version))
            assert store.load(STREAM, GENERATION) == saved == replace(wanted, version=saved.version)

    @pytest.mark.parametrize(("kind", "cursor"), CURSORS)
    def test_a_cursor_of_any_age_is_kept_and_read(self, store: CheckpointStore, kind: str, cursor: str) -> None:
        """What a database has written is what the next run compares: years before Christ, past 9999, infinities, numbers."""
        store.save(replace(FULL, position=Position(cursor, ("7",))))

        loaded = store.load(STREAM, GENERATION).position

        assert loaded == Position(cursor, ("7",))
        CursorType(kind).ordinal(loaded.cursor)

    def test_each_save_is_one_version_on(self, store: CheckpointStore) -> None:
        """The version counts the saves, one by one."""
        checkpoint = FULL
        for version in (1, 2, 3):
            checkpoint = store.save(replace(checkpoint, position=Position(str(version))))
            assert checkpoint.version == version
            assert store.load(STREAM, GENERATION) == checkpoint

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_a_save_from_another_version_is_refused(self, store: CheckpointStore, version: int) -> None:
        """Who has not read the stored version, be it older, newer or none, changes nothing and learns of it."""
        current = store.save(store.save(FULL))

        with pytest.raises(CheckpointConflictError):
            store.save(replace(FULL, position=Position("1999-01-01"), version=version))

        assert store.load(STREAM, GENERATION) == current

    def test_a_save_after_a_reset_is_refused(self, store: CheckpointStore) -> None:
        """A run that was under way when somebody reset the checkpoint does not bring it back."""
        saved = store.save(FULL)
        store.reset(STREAM, GENERATION)

        with pytest.raises(CheckpointConflictError):
            store.save(saved)

        assert store.load(STREAM, GENERATION).version == 0

    def test_streams_and_generations_do_not_mix(self, store: CheckpointStore) -> None:
        """Each (stream, generation) has a checkpoint of its own, also where the two names run into each other."""
        pairs = [
            ("a", "b.c"),
            ("a.b", "c"),
            ("a", "b"),
            ("a", "c"),
            ("b", "c"),
            ("a/b", "c"),
            ("a%2Fb", "c"),
            ("é?#", "ü 1"),
        ]
        saved = {
            (stream, generation): store.save(Checkpoint(stream, generation, Position(f"{number}")))
            for number, (stream, generation) in enumerate(pairs)
        }

        store.reset("a", "b")

        del saved["a", "b"]
        assert store.load("a", "b") == Checkpoint("a", "b")
        assert {pair: store.load(*pair) for pair in saved} == saved

    def test_a_reset_forgets(self, store: CheckpointStore) -> None:
        """After a reset the checkpoint starts anew; resetting what is not there is no error."""
        store.reset(STREAM, GENERATION)
        store.save(FULL)
        store.reset(STREAM, GENERATION)

        assert store.load(STREAM, GENERATION) == Checkpoint(STREAM, GENERATION)
        assert store.save(FULL).version == 1

    def test_garbage_is_named_and_can_be_reset(self, store: CheckpointStore) -> None:
        """What cannot be read is an error that says where it is; nothing overwrites it, and a reset mends it."""
        saved = store.save(FULL)
        self.corrupt(store, STREAM, GENERATION)

        with pytest.raises(CheckpointInvalidError) as caught:
            store.load(STREAM, GENERATION)
        assert store.where(STREAM, GENERATION) in str(caught.value)
        with pytest.raises((CheckpointInvalidError, CheckpointConflictError)):
            store.save(replace(saved, version=7))

        store.reset(STREAM, GENERATION)
        assert store.load(STREAM, GENERATION).version == 0

    def test_where_names_the_checkpoint(self, store: CheckpointStore) -> None:
        """The sentence tells one checkpoint from the next, and names both."""
        where = store.where(STREAM, GENERATION)

        assert STREAM in where
        assert GENERATION in where
        assert where != store.where(STREAM, "products_20270101t000000")

    @pytest.mark.parametrize("stored", [0, 1], ids=["first save", "later save"])
    def test_one_of_many_savers_wins(self, store: CheckpointStore, stored: int) -> None:
        """Of threads that save from one version at the same moment exactly one succeeds, and its checkpoint stands."""
        if not self.compare_and_set:
            pytest.skip("this store states that it has no compare-and-set")
        read = store.save(FULL) if stored else FULL
        at_once = Barrier(self.savers)

        def save(number: int) -> Checkpoint | None:
            at_once.wait()
            try:
                return store.save(replace(read, position=Position(str(number)), saved_by=f"saver {number}"))
            except CheckpointConflictError:
                return None

        with ThreadPoolExecutor(self.savers) as pool:
            winners = [saved for saved in pool.map(save, range(self.savers)) if saved]

        assert [winner.version for winner in winners] == [stored + 1]
        assert store.load(STREAM, GENERATION) == winners[0]
