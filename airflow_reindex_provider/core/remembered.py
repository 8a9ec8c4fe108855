"""What is remembered of a stream beside its checkpoints: what it connects, that it had an index, and which source that was
made from. Kept in the stream's checkpoint store, where a checkpoint has its generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import CheckpointConflictError, CheckpointInvalidError
from airflow_reindex_provider.core.model import Checkpoint, Position, Survey
from airflow_reindex_provider.core.protocols import CheckpointStore

STREAM = "stream"
"""Stands where a checkpoint has its generation. No generation is called so: they all end in a time."""
_FORM = "1"
_SAME = ("server", "database", "table")
"""A source that shows all of these, and the same as before, is the same, whatever it is called by now."""
_ALTERED = {"sequence", "form of the sequence"}
"""Change together where a counter was altered (its type, its cache), and the first alone where it was restarted."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a stream connects, as its source and its target call themselves."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} with {self.target}"


@dataclass(frozen=True, slots=True)
class Remembered:
    """:ivar generation: the last one that a run was planned for. :ivar identity: of the source that it was made from."""

    route: Route
    generation: str
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> tuple[str, ...] | None:
        """What tells the source's table from all others; None where that is not known."""
        told = tuple(self.identity[name] for name in _SAME if name in self.identity)
        return told if len(told) == len(_SAME) else None


class Memory:
    """Of one stream, while a run of it is planned. :ivar known: None where nothing is remembered yet."""

    def __init__(self, store: CheckpointStore, stream: str, route: Route) -> None:
        self._store = store
        self._stream = stream
        self._route = route
        self._stored = store.load(stream, STREAM)
        self.known = remembered_in(self._stored)

    def require_same(self, survey: Callable[[], Survey]) -> None:
        """:param survey: asked only where the source goes by another name.
        :raises CheckpointInvalidError: a stream of this name connects something else."""
        known = self.known
        if known is None or known.route == self._route:
            return
        shown = [known.identity.get(name) for name in _SAME]
        if known.route.target == self._route.target and all(shown):
            identity = survey().identity
            if shown == [identity.get(name) for name in _SAME]:
                return
        raise CheckpointInvalidError(
            f"Stream {self._stream!r} connects {known.route} as far as is remembered, and now {self._route}. Two streams of one"
            " name would share lease, asset and checkpoints: give one of them another name. If this is one stream, whose"
            f" connection, query or index goes by another name now: {self._accept}"
        )

    def warnings(self, generation: str | None, survey: Survey, *, read: bool) -> Iterator[str]:
        """:param generation: None where the target has none. :param read: whether rows have been read into it.
        :raises CheckpointInvalidError: the source is another one, and its cursor a number: another table's numbers are other
            changes."""
        known = self.known
        if known is None:
            return
        if generation is None:
            position = self._store.load(self._stream, known.generation).position
            yield (
                f"Stream {self._stream!r} had an index, {known.generation}, read up to {position or 'no known place'};"
                f" {self._route.target} has none of it any more. It was dropped, or the connection leads elsewhere by now. All"
                " rows are loaded anew."
            )
        elif read and generation == known.generation and (other := _differences(known.identity, survey.identity)):
            told = ", ".join(f"{name} {survey.identity[name]} instead of {known.identity[name]}" for name in other)
            if set(other) == _ALTERED:
                yield (
                    f"Stream {self._stream!r}: what hands out the cursor's values was altered since {generation} was made"
                    f" ({told}). If it was restarted as well, rows got numbers that the checkpoint has passed: rebuild the index."
                    f" If not: {self._accept}"
                )
                return
            why = (
                f"Stream {self._stream!r}: the source is not the one that {generation} was made from ({told}): it was restored,"
                " replaced or made anew, or a standby took over. Rows that were never read and lie before the checkpoint there"
                " are missing from the index, and documents may say what no row says any more. Rebuild the index, which starts"
                f" from what is there. If it is the same source with the same rows: {self._accept}"
            )
            if survey.schema.cursor_type is CursorType.INTEGER and other != ["timeline"]:
                raise CheckpointInvalidError(why)
            yield why

    def keep(self, generation: str, survey: Survey, *, read: bool) -> None:
        """Remember it, where that is not known yet. What another run saves at the same moment is as good."""
        now, known = Remembered(self._route, generation, survey.identity), self.known
        if known is not None and read and known.generation == generation:
            # The source that was replaced stays known until the index is made anew, or a person has accepted it.
            now = replace(now, identity={**survey.identity, **known.identity})
        if now == known:
            return
        try:
            self._store.save(replace(self._stored, position=Position(_FORM, tuple(_texts(now)))))
        except CheckpointConflictError:
            return

    @property
    def _accept(self) -> str:
        return (
            f"accept_changes(stream) says so, or forget what is remembered. {self._store.where(self._stream, STREAM)}"
        )


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [name for name in before if now.get(name, before[name]) != before[name]]


def _texts(known: Remembered) -> Iterator[str]:
    yield f"source={known.route.source}"
    yield f"target={known.route.target}"
    yield f"generation={known.generation}"
    for name, value in sorted(known.identity.items()):
        yield f"of {name}={value}"


def remembered_in(stored: Checkpoint) -> Remembered | None:
    """None where something else is kept there, or a form of another version."""
    if stored.generation != STREAM:
        return None
    if stored.position is None or stored.position.cursor != _FORM:
        return None
    texts = dict(text.partition("=")[::2] for text in stored.position.key)
    if not {"source", "target", "generation"} <= texts.keys():
        return None
    identity = {name.removeprefix("of "): value for name, value in texts.items() if name.startswith("of ")}
    return Remembered(Route(texts["source"], texts["target"]), texts["generation"], identity)
