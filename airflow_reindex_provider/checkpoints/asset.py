"""Checkpoints in the asset state store: seen beside the asset in the UI, the weaker keeping place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from airflow_reindex_provider.checkpoints.stored import conflict, read_checkpoint, storage_key, told
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.model import Checkpoint

if TYPE_CHECKING:
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

_PREFIX = "reindex"


@dataclass(frozen=True)
class AssetCheckpoint:
    """One key of an asset's state for each (stream, generation), ``reindex.products.products_20261123t172543`` say.

    Weaker than the other stores; take it where people look at assets and reading rows once more costs little:

    - Only a running task that has the asset among its inlets or outlets reaches it.
    - No compare-and-set: the version is compared right before the write, and of two runs that end within these
      milliseconds the later one wins, as with ``VariableCheckpoint``.
    - Airflow drops an asset's state when the asset is renamed, and may do so when no active Dag uses it any longer;
      while the asset is inactive, its state reads as empty and saving fails. A run then reads from the first row on,
      parked documents included: it costs time and loses nothing.

    :param asset: the asset, or its name.
    """

    asset: Asset | str

    @property
    def name(self) -> str:
        return self.asset if isinstance(self.asset, str) else self.asset.name

    def load(self, stream: str, generation: str) -> Checkpoint:
        """:raises ConfigurationError: not in a running task that has the asset among its inlets or outlets."""
        state = self._state()
        with self._explained():
            value = state.get(storage_key(_PREFIX, stream, generation))
        if value is None:
            return Checkpoint(stream, generation)
        return read_checkpoint(value, stream=stream, generation=generation, where=self.where(stream, generation))

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        stored = self.load(checkpoint.stream, checkpoint.generation)
        if stored.version != checkpoint.version:
            raise conflict(checkpoint, self.where(checkpoint.stream, checkpoint.generation), stored.version)
        saved = replace(checkpoint, version=checkpoint.version + 1)
        state = self._state()
        with self._explained():
            state.set(storage_key(_PREFIX, saved.stream, saved.generation), cast("Any", saved.to_json()))
        return saved

    def reset(self, stream: str, generation: str) -> None:
        state = self._state()
        with self._explained():
            state.delete(storage_key(_PREFIX, stream, generation))

    def where(self, stream: str, generation: str) -> str:
        key = storage_key(_PREFIX, stream, generation)
        return told(
            stream,
            generation,
            place=f"the key {key!r} in the state of the asset {self.name!r} (Assets > the asset > Asset State Store)",
            reset=f"DELETE /api/v2/assets/<id>/state-store/{key}",
        )

    def _state(self) -> AssetStateStoreAccessor:
        from airflow.sdk import get_current_context
        from airflow.sdk.definitions.asset import AssetNameRef

        try:
            context = get_current_context()
        except RuntimeError as error:
            raise ConfigurationError(
                f"AssetCheckpoint({self.name!r}) works inside a running task only; elsewhere use the UI or the"
                " REST API."
            ) from error
        try:
            return context["asset_state_store"][AssetNameRef(self.name)]
        except KeyError as error:
            raise ConfigurationError(
                f"AssetCheckpoint({self.name!r}): the task {context['ti'].task_id!r} does not have this asset among"
                " its inlets or outlets; add it to its inlets."
            ) from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from airflow.sdk.exceptions import AirflowRuntimeError

        try:
            yield
        except AirflowRuntimeError as error:
            raise TransientError(
                f"Airflow did not answer for the state of the asset {self.name!r}, or the asset is not active: {error}"
            ) from error
