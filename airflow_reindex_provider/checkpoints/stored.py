"""What every store has in common: the key of a checkpoint, and reading what a person may have edited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_reindex_provider.core.errors import CheckpointConflictError, CheckpointInvalidError, ConfigurationError
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.leases import LEASE
from airflow_reindex_provider.core.model import Checkpoint
from airflow_reindex_provider.core.remembered import STREAM

MAX_KEY_CHARS = 250
"""The length of a Variable's key in Airflow's metadata database."""

_FIELDS = frozenset(Checkpoint("", "").to_json())
_KEPT = {
    LEASE: ("lease", "delete it where the run that it names is dead"),
    GROUPS: ("list of groups", "delete it to look through the whole source again"),
    STREAM: ("memory", "delete it where the stream was changed on purpose; the next run remembers what it finds"),
}
"""What stands where a checkpoint has its generation, and how a person resets it."""
_PARKED_TEXTS = ("reason", "parked_at", "next_try_at")


def storage_key(prefix: str, stream: str, generation: str) -> str:
    """``prefix.stream.generation``, another one for every pair, of ASCII letters, digits, ``_``, ``-`` and ``.``.

    All other characters become ``~`` and hex, byte by byte in UTF-8.

    :raises ConfigurationError: it is longer than Airflow stores.
    """
    # The last dot is always the one before the generation, whatever dots the stream's name has. Airflow puts the key
    # unescaped into a URL, where slashes and other scripts would not come through.
    key = f"{prefix}.{_escape(stream, '.')}.{_escape(generation, '')}"
    if len(key) > MAX_KEY_CHARS:
        raise ConfigurationError(
            f"The checkpoint of stream {stream!r} would be kept under {key!r}, which is longer than the"
            f" {MAX_KEY_CHARS} characters that Airflow stores: shorten the names of the stream or the index."
        )
    return key


def told(stream: str, generation: str, *, place: str, reset: str) -> str:
    """Where a person finds what is kept, and what to do there. :param place: which thing it is. :param reset: a command."""
    what, remedy = _KEPT.get(
        generation, ("checkpoint", "set its cursor to read from there, or delete it to read from the first row on")
    )
    return f"The {what} of stream {stream!r} is {place}: {remedy} ({reset})."


def _escape(name: str, kept: str) -> str:
    return re.sub(rf"[^\w{re.escape(kept)}-]", lambda m: "".join(f"~{b:02x}" for b in m[0].encode()), name, flags=re.A)


def read_checkpoint(value: Any, *, stream: str, generation: str, where: str) -> Checkpoint:
    """The checkpoint in a stored value, which a person may have edited.

    Only ``cursor`` must be there: ``{"cursor": "2026-11-01 00:00:00+00"}`` is enough, and a whole number stands for its
    text. A version that is left out is 1, so a run that read another one before the edit does not overwrite it. All
    that could hide a slip is refused: an unknown field, and another stream's or generation's checkpoint.

    :raises CheckpointInvalidError: says what is wrong, and ``where``.
    """
    try:
        if not isinstance(value, Mapping):
            raise TypeError(f"an object is expected, not {value!r:.80}")
        if unknown := sorted(set(value) - _FIELDS):
            raise ValueError(f"the field {unknown[0]!r} is unknown; known are {', '.join(sorted(_FIELDS))}")
        if "cursor" not in value:
            raise ValueError("the field 'cursor' is missing")
        if type(cursor := value["cursor"]) is int:
            cursor = str(cursor)
        for name, expected in (("stream", stream), ("generation", generation)):
            if value.get(name, expected) != expected:
                raise ValueError(f"it belongs to the {name} {value[name]!r:.80}, not to {expected!r}")
        _require_texts("key", value.get("key") or [])
        if not isinstance(value.get("parked", []), list):
            raise TypeError("parked must be a list")
        for number, parked in enumerate(value.get("parked", [])):
            _require_parked(number, parked)
        for name in ("saved_at", "saved_by"):
            if not isinstance(value.get(name), str | None):
                raise TypeError(f"{name} must be a text or null")
        checkpoint = Checkpoint.from_json(
            {"version": 1, **value, "cursor": cursor, "stream": stream, "generation": generation}
        )
        if checkpoint.version < 1:
            raise ValueError("version must be 1 or greater; leave it as it is")
    except (KeyError, TypeError, ValueError) as error:
        raise invalid(str(error), where) from error
    return checkpoint


def invalid(why: str, where: str) -> CheckpointInvalidError:
    return CheckpointInvalidError(f"The stored checkpoint cannot be read: {why}. Mend or reset it. {where}")


def conflict(checkpoint: Checkpoint, where: str, stored: int | None = None) -> CheckpointConflictError:
    found = "another one" if stored is None else f"version {stored}"
    return CheckpointConflictError(
        f"The checkpoint was saved or edited meanwhile: version {checkpoint.version} was read, {found} is stored by"
        f" now. Nothing was written; read it again. {where}"
    )


def _require_texts(name: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"{name} must be a list of texts, not {value!r:.80}")


def _require_parked(number: int, value: Any) -> None:
    here = f"parked[{number}]"
    names = {"attempts", *_PARKED_TEXTS}
    if not isinstance(value, Mapping) or set(value) not in (names | {"key"}, names | {"keys"}):
        raise TypeError(f"{here} must be an object of {', '.join(sorted(names))}, and key or keys")
    if "key" in value:
        _require_texts(f"{here}.key", value["key"])
    elif not isinstance(value["keys"], list):
        raise TypeError(f"{here}.keys must be a list of keys, not {value['keys']!r:.80}")
    for key in value.get("keys", ()):
        _require_texts(f"{here}.keys", [key] if isinstance(key, str) else key)
    if type(value["attempts"]) is not int or not all(isinstance(value[name], str) for name in _PARKED_TEXTS):
        raise TypeError(f"{here}: attempts must be a whole number and {', '.join(_PARKED_TEXTS)} texts")
    for name in ("parked_at", "next_try_at"):
        if datetime.fromisoformat(value[name]).tzinfo is None:
            raise ValueError(f"{here}.{name} needs a UTC offset: {value[name]!r:.80}")
