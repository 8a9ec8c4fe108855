"""A stream: one source kept in step with one index. What Dag authors write down once and hand to every Dag."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.target import EmbeddingTarget
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.groups import LEAST_ROOM, group_name
from airflow_reindex_provider.core.model import Format, Transform
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.protocols import (
    CheckpointStore,
    GroupingSource,
    GroupingTarget,
    Source,
    SourceSession,
    Target,
)
from airflow_reindex_provider.core.remembered import Route
from airflow_reindex_provider.core.running.indexing import choose_format
from airflow_reindex_provider.core.stable_text import stable_text
from airflow_reindex_provider.core.templates import refuse_templates
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.events import event_asset, events_alias, known_event, stream_asset

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias

_MAX_NAME = 100
_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{_MAX_NAME}}}")
_MAX_MAP_LENGTH = 1024
"""Airflow's ``[core] max_map_length`` as it comes: a longer list of batches would fail the planning task."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Names what is read, where it goes, and how far it has got.

    With ``group_by`` at the source and ``{group}`` in the target's ``index`` it is a stream with groups: one index, and all
    that belongs to it, for each value of the column.

    :param name: unique among the streams of the deployment; letters, digits, ``_ . -``.
    :param source: the table or query. :param target: the index.
    :param checkpoint: where the cursor is kept; default: an Airflow Variable for each generation.
    :param transform: makes a document of a row, or None to take the row out of the index. It gets the row as a dict of
        Python values and must not depend on anything else, since a row may be written more than once. The fastest path
        from source to target is the one without a transform.
    :param embed: cuts texts of the documents into passages, and keeps a vector of each in the index. Behind the transform.
    :param initial_value: where the first run starts instead of at the first row: a time (aware, or ISO 8601) or a number.
    :param batch_size: rows that a batch aims at; more where there would be over ``max_batches``. Default 50,000.
    :param max_batches: mapped tasks of one run at the most; default 64, since Airflow's scheduler slows down past some
        hundreds.
    :param max_failures: documents the target may refuse, in one batch and waiting in all, before the run fails;
        default 100.
    """

    name: str
    source: Source
    target: Target
    checkpoint: CheckpointStore = field(default_factory=VariableCheckpoint)
    transform: Transform | None = None
    embed: Embed | None = None
    initial_value: datetime | str | int | None = None
    batch_size: int = 50_000
    max_batches: int = 64
    max_failures: int = 100

    def __repr__(self) -> str:
        # Airflow keeps it as part of the Dag: any difference between two processes is a new version of the Dag.
        return stable_text(self)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"Stream name {self.name!r}: use up to {_MAX_NAME} letters, digits, underscores, dots and dashes."
            )
        where = ("source", "target", "checkpoint", "initial_value")
        refuse_templates(f"Stream {self.name!r}", **{name: getattr(self, name) for name in where})
        if self.batch_size < 1 or self.max_failures < 0:
            raise ConfigurationError(f"Stream {self.name!r}: batch_size starts at 1, max_failures at 0.")
        if not 1 <= self.max_batches < _MAX_MAP_LENGTH:
            raise ConfigurationError(f"Stream {self.name!r}: max_batches lies between 1 and {_MAX_MAP_LENGTH - 1}.")
        if self.embed is not None:
            if not isinstance(self.target, EmbeddingTarget):
                raise ConfigurationError(
                    f"Stream {self.name!r}: {self.target.label} cannot hold passages with vectors, which embed= makes."
                )
            object.__setattr__(self, "target", self.target.with_passages(self.embed.recipe))
        room = self._room()
        if self.has_groups != (room is not None):
            raise ConfigurationError(
                f"Stream {self.name!r}: groups need both, group_by at the source and {{group}} in the name of the target's"
                f" index. {self.source.label} {'has' if self.has_groups else 'does not have'} the one, {self.target.label}"
                f" {'does not have' if self.has_groups else 'has'} the other."
            )
        if room is not None and room < LEAST_ROOM:
            raise ConfigurationError(
                f"Stream {self.name!r}: its name and that of the index leave {room} characters for the name of a group, and"
                f" {LEAST_ROOM} are needed. Shorten them."
            )

    @property
    def has_groups(self) -> bool:
        """Whether it stands for a stream for each group, and has no index of its own."""
        return isinstance(self.source, GroupingSource) and self.source.has_groups

    @contextmanager
    def opened(self) -> Iterator[Opened[SourceSession]]:
        """Both of its sides, for as long as the context lasts."""
        with self.source.open() as source, self.target.open(self.name) as target:
            yield Opened(self.name, source, target, self.checkpoint)

    def of_group(self, value: str) -> Stream:
        """The stream of one group: its name is this one's, a dot, and the group's.

        :param value: of the column, as Postgres writes it.
        :raises ConfigurationError: this stream has no groups.
        """
        room = self._room()
        if room is None or not isinstance(self.source, GroupingSource) or not isinstance(self.target, GroupingTarget):
            raise ConfigurationError(f"Stream {self.name!r} has no groups: give its source group_by.")
        name = group_name(value, room)
        return replace(
            self,
            name=f"{self.name}.{name}",
            source=self.source.of_group(value),
            target=self.target.of_group(name),
        )

    def _room(self) -> int | None:
        """How long the name of a group may be; None without ``{group}`` in the index's name."""
        room = self.target.group_room if isinstance(self.target, GroupingTarget) else None
        return None if room is None else min(room, _MAX_NAME - len(self.name) - 1)

    @property
    def first_cursor(self) -> str | None:
        """``initial_value`` as text."""
        value = self.initial_value
        return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)

    @property
    def format(self) -> Format:
        """In which its chunks travel."""
        return choose_format(self.source.formats, self.target.formats, self.transform, self.embed)

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.batch_size, self.max_batches)

    @property
    def route(self) -> Route:
        """What it connects, by which it is known again."""
        return Route(self.source.label, self.target.label)

    @property
    def asset(self) -> Asset:
        """The asset that every finished run updates, its counts in the event's ``extra``."""
        return stream_asset(self.name)

    def event(self, event: str) -> Asset:
        """The asset that the event updates, for the ``schedule`` of a Dag. :param event: ``swap.completed``, say: one of
        ``events.Event``.

        :raises ConfigurationError: there is none of this name."""
        return event_asset(known_event(event), self.name)

    @property
    def events(self) -> AssetAlias:
        """What a Dag is scheduled on that wants to hear of all events of the stream."""
        return events_alias(self.name)

    @property
    def checkpoint_assets(self) -> list[Any]:
        """The assets whose state holds the checkpoint: every task that reads or saves it needs them as inlets."""
        from airflow.sdk import Asset

        kept_in = getattr(self.checkpoint, "asset", None)
        if kept_in is None:
            return []
        return [Asset.ref(name=kept_in) if isinstance(kept_in, str) else kept_in]
