"""What OpenSearch and Elasticsearch share as targets: how one is opened, and the checks at the start."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.search.definition import SearchDefinition

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls, Engine
    from airflow_reindex_provider.targets.search.session import SearchTargetSession


@dataclass(frozen=True, slots=True)
class SearchTarget(SearchDefinition):
    """An index of a search engine; see :class:`OpenSearchTarget` and :class:`ElasticsearchTarget`."""

    @contextmanager
    def open(self, stream: str) -> Iterator[SearchTargetSession]:
        with ExitStack() as opened:
            try:
                from airflow_reindex_provider.targets.search.engine import Calls
                from airflow_reindex_provider.targets.search.session import SearchTargetSession

                engine = opened.enter_context(self.connect())
            except ModuleNotFoundError as error:
                raise ConfigurationError(
                    f"{self.label}: the Python module {error.name} is not installed on this worker:"
                    f" pip install 'airflow-reindex-provider[{self.extra}]'."
                ) from error
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


def unknown_connection(target: SearchDefinition, error: Exception) -> ConfigurationError:
    conn_id = target.conn_id
    return ConfigurationError(
        f"Target {target.label} uses the connection {conn_id!r}, which does not exist: add an {target.engine_name} connection"
        f" with this id (Admin > Connections, `airflow connections add {conn_id}`, or AIRFLOW_CONN_{conn_id.upper()})."
    )
