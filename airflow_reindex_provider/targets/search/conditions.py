"""What an index must be like so that what is written is what is kept, and found: its mapping, settings and aliases in effect.

An index template can give any of these to an index that is made, and anybody can set them afterwards, without a word to whom
writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.targets.search.blocks import BLOCKS, FULL, lift_setting

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.indexes import Held

_PIPELINE = "an ingest pipeline changes or drops documents on their way in"
_TO_BE_STATED = {
    "index.default_pipeline": _PIPELINE,
    "index.final_pipeline": _PIPELINE,
    "index.lifecycle.name": "a lifecycle policy closes, shrinks or deletes indexes by itself",
}
"""Settings that an author may want, and that do harm where nobody knows of them."""
_AS_WRITTEN = {"index.mode": ("standard", "lookup"), "index.mapping.source.mode": ("stored",)}
"""Settings, and the values with which a document is kept as it was written."""


def require_as_made(held: Held, *, aliases: Collection[str], label: str) -> None:
    """Of an index that was just made.

    :param aliases: those that it was made with.

    :raises ConfigurationError: its template or the author's mapping has made something else of it."""
    name, where = held.name, f"{label}: index {held.name!r}"
    source = held.mapping.get("_source", {})
    partly = [f"{key}={value!r}" for key, value in source.items() if key in ("includes", "excludes") and value]
    if str(source.get("enabled", True)).lower() == "false" or source.get("mode", "stored") != "stored" or partly:
        raise ConfigurationError(
            f"{where} would not keep all of a document in _source ({', '.join(partly) or source}), so a rebuild could not carry"
            " documents over, nor a sweep compare them. Leave _source as it is, in mappings= of the target and in the"
            f" template that matches {name!r}."
        )
    for setting, allowed in _AS_WRITTEN.items():
        if (value := held.settings.get(setting)) is not None and value not in allowed:
            raise ConfigurationError(
                f"{where} would have {setting}={value!r}, which does not keep documents as they were written, so a rebuild could"
                f" not carry them over, nor a sweep compare them. Leave it at {allowed[0]!r}, in settings= of the target and"
                f" in the template that matches {name!r}."
            )
    if str(held.mapping.get("_routing", {}).get("required", False)).lower() == "true":
        raise ConfigurationError(
            f"{where} would ask for a routing with every document, and those that are written here have none. Take"
            f' "_routing": {{"required": true}} out of mappings= of the target, or of the template that matches {name!r}.'
        )
    if others := sorted(set(held.aliases) - set(aliases)):
        raise ConfigurationError(
            f"{where} would get the alias {others[0]!r} from an index template: whoever searches by it would see a generation"
            f" before it is whole, and then two at once. Take the alias out of the template that matches {name!r}, or give"
            " the target another index name."
        )


def require_writable(held: Held, *, stated: Mapping[str, Any], label: str) -> None:
    """Of an index that is about to be written.

    :param stated: the author's settings by their full names.

    :raises ConfigurationError: something that the author has not stated changes what is written, or nothing can be written.
    :raises TransientError: the disk is full."""
    name, where = held.name, f"{label}: index {held.name!r}"
    for setting, harm in _TO_BE_STATED.items():
        value = held.settings.get(setting, "_none")
        if value not in ("_none", "", stated.get(setting)):
            raise ConfigurationError(
                f"{where} has {setting}={value!r}, by an index template or by hand: {harm}. If it is meant, state it in"
                f' settings={{"{setting}": "{value}"}} of the target; if not, take it out of the template that matches'
                f' {name!r}, and of an index that is there by PUT /{name}/_settings {{"{setting}": null}}.'
            )
    if held.settings.get("index.verified_before_close") == "true":
        raise ConfigurationError(f"{where} is closed. Open it: POST /{name}/_open.")
    if held.settings.get("index.blocks.read_only_allow_delete") == "true":
        raise TransientError(f"{where} is blocked (index.blocks.read_only_allow_delete). {FULL}")
    for setting in sorted(set(BLOCKS.values()) & held.settings.keys()):
        if held.settings[setting] == "true":
            raise ConfigurationError(f"{where} is blocked. {lift_setting(setting, name)}")


def warnings(held: Held, *, label: str) -> Iterator[str]:
    """Of an index that takes writes, and is not as a person may think."""
    if held.settings.get("index.translog.durability") == "async":
        yield (
            f"{label}: index {held.name!r} acknowledges writes before they are on disk (index.translog.durability=async): a crash"
            " of the engine loses the last seconds, which stay missing until a sweep."
        )
