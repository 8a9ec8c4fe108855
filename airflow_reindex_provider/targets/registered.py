"""An open target whose engine has one place that says which generations an index has: what does not hang on the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from airflow_reindex_provider.core.errors import GenerationGoneError
from airflow_reindex_provider.core.keys import Checksum, KeyRange
from airflow_reindex_provider.core.model import Document, Generation, Recalled, Schema
from airflow_reindex_provider.targets.fitting import Wanted, require_fit
from airflow_reindex_provider.targets.known_generations import KnownGenerations
from airflow_reindex_provider.targets.made_for import MadeFor
from airflow_reindex_provider.targets.refusing import gone, require_ours, still_live
from airflow_reindex_provider.targets.whole_documents import Recalling

StateT = TypeVar("StateT", bound=KnownGenerations[Any])


class Register(Protocol[StateT]):
    """Where that stands."""

    def state(self) -> StateT: ...

    def change(self, decide: Callable[[StateT], StateT | None]) -> bool:
        """Put another state in the place of the present one, in one step.

        :param decide: says which; None for nothing at all. It may be asked again.
        :returns: whether there was something to do."""


class RegisteredSession(ABC, Generic[StateT]):
    """The generations of an index, and whose they are. Documents are written whole, with the vectors of all their passages."""

    def __init__(self, target: Wanted, stream: str, register: Register[StateT]) -> None:
        self._target = target
        self._stream = stream
        self._register = register

    @staticmethod
    @abstractmethod
    def _engine_type(kind: str) -> object:
        """What the engine has for a type of the source."""

    @abstractmethod
    def _layout(self, generation: str) -> MadeFor:
        """:raises GenerationGoneError: there is none of this name."""

    @abstractmethod
    def _make(self, name: str, schema: Schema, *, is_there: Callable[[StateT], str | None]) -> str:
        """:param is_there: names the generation that there is no need to make another one for."""

    @abstractmethod
    def _recalled(self, generation: str, documents: Sequence[Document], given: Collection[bytes]) -> Recalled:
        """The vectors that are held of the documents' passages. :param given: hashes of those that need not be looked for."""

    def generations(self) -> Sequence[Generation]:
        return self._state().listed()

    def create_first(self, name: str, schema: Schema) -> str:
        return self._make(name, schema, is_there=lambda state: next(iter(sorted(state.generations)), None))

    def create(self, name: str, schema: Schema) -> None:
        self._make(name, schema, is_there=lambda state: name if name in state.generations else None)

    def hand_over(self, stream: str) -> None:
        def decide(state: StateT) -> StateT | None:
            self._require_ours(state)
            return replace(state, stream=stream) if state.stream is not None else None

        self._register.change(decide)
        self._stream = stream

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        layout = self._layout(generation)
        require_fit(self._target, generation, layout, schema, engine_type=self._engine_type)
        return [field.name for field in schema.fields if field.name in layout.columns]

    def recall(self, generation: str, documents: Sequence[Document], schema: Schema) -> Recalled:
        """All vectors of a document are sent again."""
        return self._recalled(generation, documents, ())

    def checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum | None:
        """Only Postgres hashes as Postgres does."""
        return None

    def _recalling(self, generation: str) -> Recalling | None:
        return partial(self._recalled, generation) if self._target.passages else None

    def _state(self) -> StateT:
        state = self._register.state()
        self._require_ours(state)
        return state

    def _require_ours(self, state: StateT) -> None:
        require_ours(self._target.label, self._stream, state.stream)

    def _without(self, generation: str, state: StateT) -> StateT | None:
        """The state once the generation is dropped; None where there is none to drop."""
        self._require_ours(state)
        if generation not in state.generations:
            return None
        if state.live == generation:
            raise still_live(self._target.label, generation)
        return state.without(generation)

    def _gone(self, generation: str) -> GenerationGoneError:
        return gone(self._target.label, generation)
