"""Checkpoints in Airflow Variables: nothing to set up, readable and editable in the UI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from airflow_reindex_provider.checkpoints.stored import conflict, invalid, read_checkpoint, storage_key, told
from airflow_reindex_provider.core.errors import CheckpointInvalidError, ConfigurationError, TransientError
from airflow_reindex_provider.core.model import Checkpoint
from airflow_reindex_provider.core.model.packed import MANY


@dataclass(frozen=True)
class VariableCheckpoint:
    """One Airflow Variable for each (stream, generation), ``reindex.products.products_20261123t172543`` say.

    Its value is JSON. Edit ``cursor`` in the UI to read again from there, or delete the Variable to read from
    the first row on; ``{"cursor": "..."}`` alone is a valid value.

    Works inside tasks. Airflow's Variables have no compare-and-set: the version is compared right before the write,
    some milliseconds apart. Two runs of one stream that end within these milliseconds may both succeed, and the later
    one wins. Then a position is at worst an older one, so rows are read again, but a document that only the earlier one
    had parked is no longer remembered. Where runs overlap by design, as backfills beside live runs do, take
    ``TableCheckpoint``.

    :param prefix: first part of the Variables' keys.
    :raises ConfigurationError: the prefix has other characters than ASCII letters, digits, ``_``, ``-`` and ``.``.
    """

    prefix: str = "reindex"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.prefix, re.ASCII):
            raise ConfigurationError(
                f"VariableCheckpoint(prefix={self.prefix!r}): take ASCII letters, digits, '_', '-' and '.' alone."
            )

    def load(self, stream: str, generation: str) -> Checkpoint:
        """:raises TransientError: Airflow did not answer; that is never taken for "nothing stored"."""
        where = self.where(stream, generation)
        text = self._text(storage_key(self.prefix, stream, generation))
        if text is None:
            return Checkpoint(stream, generation)
        try:
            value = json.loads(text)
        except ValueError as error:
            raise invalid(f"it is not JSON: {error}", where) from error
        return read_checkpoint(value, stream=stream, generation=generation, where=where)

    def _text(self, key: str) -> str | None:
        from airflow.sdk import Variable

        with _explained(key):
            text: str | None = Variable.get(key, default=None)
            # Variable.get turns every failed request into "not found". The list of keys does not.
            if text is None and key in Variable.keys(prefix=key):
                raise TransientError(f"The Variable {key!r} exists, but reading it failed.")
        return text

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        from airflow.sdk import Variable

        key = storage_key(self.prefix, checkpoint.stream, checkpoint.generation)
        stored = self.load(checkpoint.stream, checkpoint.generation)
        if stored.version != checkpoint.version:
            raise conflict(checkpoint, self.where(checkpoint.stream, checkpoint.generation), stored.version)
        saved = replace(checkpoint, version=checkpoint.version + 1)
        with _explained(key):
            Variable.set(
                key,
                json.dumps(saved.to_json(), indent=2 if len(saved.parked) <= MANY else None, ensure_ascii=False),
                description=f"How far stream {saved.stream!r} has been indexed. Delete it to start from the first row.",
            )
        return saved

    def reset(self, stream: str, generation: str) -> None:
        from airflow.sdk import Variable

        key = storage_key(self.prefix, stream, generation)
        with _explained(key):
            Variable.delete(key)

    def kept(self) -> Iterator[Checkpoint]:
        """Asks Airflow once for each Variable with the prefix. One is ours where its value says the stream and the generation
        that its key stands for."""
        from airflow.sdk import Variable

        with _explained(self.prefix):
            keys = list(Variable.keys(prefix=f"{self.prefix}."))
        for key in keys:
            with suppress(ValueError, KeyError, TypeError, CheckpointInvalidError):
                value = json.loads(self._text(key) or "")
                stream, generation = value["stream"], value["generation"]
                if storage_key(self.prefix, stream, generation) == key:
                    yield read_checkpoint(value, stream=stream, generation=generation, where=key)

    def where(self, stream: str, generation: str) -> str:
        key = storage_key(self.prefix, stream, generation)
        place = f"the Airflow Variable {key!r} (Admin > Variables)"
        return told(stream, generation, place=place, reset=f"airflow variables delete '{key}'")


@contextmanager
def _explained(key: str) -> Iterator[None]:
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"The Variable {key!r} can be reached inside a running task only; elsewhere use the UI or"
            " `airflow variables`."
        ) from error
    except PermissionError as error:
        raise ConfigurationError(f"This task may not use the Variable {key!r}: {error}") from error
    except AirflowRuntimeError as error:
        raise TransientError(f"Airflow did not answer for the Variable {key!r}: {error}") from error
