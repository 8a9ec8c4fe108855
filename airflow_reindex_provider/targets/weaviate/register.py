"""The collection ``{index}_register``: its description says whose the index is and which generations there are, as JSON.

It holds no objects and takes none. Which generation is live is the alias with the public name. Whoever changes one of the two
holds the register's lock.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.targets.known_generations import KnownGenerations
from airflow_reindex_provider.targets.weaviate.definition import LOCK, WeaviateDefinition
from airflow_reindex_provider.targets.weaviate.lock import Lock, is_lock
from airflow_reindex_provider.targets.weaviate.server import ExistsError, Server

log = logging.getLogger(__name__)

MARK = "airflow_reindex_provider"
_IS_REGISTER = "register"
GENERATION = "generation"
"""What the collection of one says that it is."""


@dataclass(frozen=True, slots=True)
class Made:
    """A generation. :ivar served: whether it is or was live."""

    served: bool = False


class State(KnownGenerations[Made]):
    """What the register and the alias say."""

    __slots__ = ()

    @property
    def text(self) -> str:
        generations = {name: asdict(made) for name, made in self.generations.items()}
        return json.dumps({MARK: {"is": _IS_REGISTER, "stream": self.stream, "generations": generations}})


class Register:
    def __init__(self, server: Server, target: WeaviateDefinition) -> None:
        self._server = server
        self._index = target.index
        self._name = target.register
        self._lock = Lock(server, self._name, self._name)

    def state(self) -> State:
        """As it is now. :raises ConfigurationError: the public name is taken by something that is not ours."""
        if self._server.description(self._index) is not None:
            raise self._not_ours(f"a collection {self._index}")
        live = self._server.alias(self._index)
        said = self._said()
        if live is not None and live not in said.generations:
            raise self._not_ours(f"an alias {self._index} of the collection {live}")
        return replace(said, live=live)

    def change(self, decide: Callable[[State], State | None], first: Callable[[], None] | None = None) -> bool:
        """Put another state in the place of the present one.

        :param decide: says which; None for nothing at all. Nobody else changes it meanwhile.
        :param first: done before that, where there is something to do; if it breaks off here, the next call does it again.
        :returns: whether there was something to do."""
        if self.state().stream is None:
            if decide(State()) is None:
                return False
            self._make()
        with self._lock.held() as hold:
            before = self.state()
            if (after := decide(before)) is None:
                return False
            if not self._lock.is_held(hold):
                raise TransientError(f"{self._server.label}: somebody else changes its generations. Try again.")
            if first is not None:
                first()
            self._server.describe(self._name, after.text)
            if after.live is not None and after.live != before.live:
                # In one step; last of all, so that what is live has been noted before.
                if before.live is None:
                    self._server.make_alias(self._index, after.live)
                else:
                    self._server.point(self._index, after.live)
        return True

    def drop(self, generation: str) -> None:
        """The collection of one. Names under which writers of it may still write point at the
        register from now on, which takes no objects: Weaviate might make a collection of a name that it does not know."""
        known = self.state().generations
        for alias in self._server.aliases(self._name):
            of, _, number = alias.rpartition(LOCK)
            if number.isdigit() and of not in (*known, generation, self._name):
                self._server.drop_alias(alias)
        for alias in self._server.aliases(generation):
            if is_lock(alias, generation + LOCK):
                self._server.point(alias, self._name)
        self._server.drop(generation)

    def remove(self) -> None:
        """With all that belongs to it."""
        state = self.state()
        if state.stream is None:
            return
        self._server.drop_alias(self._index)
        for name in (*state.generations, self._name):
            for alias in self._server.aliases(name):
                if LOCK in alias:
                    self._server.drop_alias(alias)
            self._server.drop(name)

    def _said(self) -> State:
        text = self._server.description(self._name)
        if text is None:
            return State()
        if (said := said_by(text)) is None:
            raise self._not_ours(f"a collection {self._name}")
        return said

    def _make(self) -> None:
        config = {
            "class": self._name,
            "description": State().text,
            "vectorizer": "none",
            # Without a tenant no object is taken.
            "multiTenancyConfig": {"enabled": True, "autoTenantCreation": False},
        }
        try:
            self._server.make(config)
        except ExistsError:
            log.debug("%s is made by somebody else.", self._name)

    def _not_ours(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._server.label}: there is {what}, which this package did not make. It is left alone: give the stream another"
            " index name, or remove it."
        )


def said_by(description: str) -> State | None:
    """What the description of a register says, which is all but the live one; None where it is of something else."""
    mark = mark_of(description)
    if mark.get("is") != _IS_REGISTER:
        return None
    return State(mark["stream"], None, {name: Made(**made) for name, made in mark["generations"].items()})


def is_generation(description: str) -> bool:
    return mark_of(description).get("is") == GENERATION


def mark_of(description: str) -> dict[str, Any]:
    """What is noted in a collection's description; empty where this package did not make it."""
    try:
        mark = json.loads(description)[MARK]
    except (ValueError, KeyError, TypeError):
        return {}
    return mark if isinstance(mark, dict) else {}
