"""What OpenSearch and Elasticsearch share as targets: how one is opened, and the checks at the start."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.refusing import not_installed
from airflow_reindex_provider.targets.search.definition import SearchDefinition

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls, Engine
    from airflow_reindex_provider.targets.search.session import SearchTargetSession


@dataclass(frozen=True, slots=True)
class SearchTarget(SearchDefinition):
    """An index of a search engine: one physical index for each generation, behind an alias with the name ``index``.

    Guarantee: versioned. Documents and deletions are written with ``version_type=external_gte``, so the engine itself
    refuses what is older than what it holds. It remembers a deletion's version for ``index.gc_deletes``, which a generation
    has at one hour unless ``settings`` says otherwise, and until the node is restarted.

    The physical indexes are ``{index}_{YYYYMMDDtHHMMSS}``.

    :param conn_id: Airflow connection of the engine's type; what its user needs is in ``privileges``.
    :param index: the alias that searches name; an index name in lower case.
    :param mappings: the mapping, as a dict or the path of a JSON file. Columns that its ``properties`` do not name get a
        field of their own type.
    :param settings: the index settings, likewise.
    :param nested: children whose objects are of type ``nested``, by their paths (``reviews``, ``reviews.comments``), so that a
        query can ask for several values of one of them. All others are of type ``object``.
    :param chunk_rows: rows acknowledged at once.
    :param compress: whether bodies travel as gzip. Default: unless the engine runs on the same machine.
    :param timeout_s: how long one request may take before it is sent again.
    :param passages: what a stream with ``embed`` tells its target; nobody else gives it.
    """

    @contextmanager
    def open(self, stream: str) -> Iterator[SearchTargetSession]:
        with ExitStack() as opened:
            try:
                from airflow_reindex_provider.targets.search.engine import Calls
                from airflow_reindex_provider.targets.search.session import SearchTargetSession

                engine = opened.enter_context(self.connect())
            except ModuleNotFoundError as error:
                raise not_installed(self.label, self.extra, error) from error
            privileges = self.privileges.format(names=f"{self.index} and {self.index}_*")
            calls = Calls(engine, self.label, self.conn_id, privileges)
            self.check_version(calls)
            yield SearchTargetSession(self, stream, calls)

    @abstractmethod
    def connect(self) -> AbstractContextManager[Engine]:
        """A client from the official provider's hook."""

    @abstractmethod
    def check_version(self, calls: Calls) -> None:
        """:raises ConfigurationError: another product answers, or too old a version."""

    def require_version(self, number: str, oldest: tuple[int, int]) -> None:
        found = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
        if found < oldest:
            raise ConfigurationError(
                f"{self.label}: {self.engine_name} {number} is too old; {oldest[0]}.{oldest[1]} is the oldest that this target"
                " knows. Upgrade it."
            )
