"""The indexes that belong to one target: which there are, whose they are, which is live, and the change from one to another."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

_MARK = "airflow_reindex_provider"
_TRIES = 5
Action = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Index:
    """A physical index under our names.

    :ivar alias: how the public alias points at it (its filter and routing, if it has any); None where it does not.
    :ivar served: whether it does so or has done so. :ivar mark: what was noted in its mapping when it was made; None where
        this package did not make it.
    """

    name: str
    alias: Mapping[str, Any] | None
    served: bool
    mark: Mapping[str, Any] | None

    @property
    def live(self) -> bool:
        return self.alias is not None


@dataclass(frozen=True, slots=True)
class Held:
    """A generation as it is in effect, with what templates and others have made of it.

    :ivar settings: by their full names, as texts. :ivar mark: what was noted when it was made.
    """

    name: str
    aliases: Mapping[str, Any]
    mapping: Mapping[str, Any]
    settings: Mapping[str, str]
    mark: Mapping[str, Any]


class Indexes:
    """What a stream has under one public name.

    That a generation has served is a hidden alias of its own, ``{index}_served``, which comes in the very step that makes it
    live.
    """

    def __init__(self, calls: Calls, index: str, *, stream: str, label: str) -> None:
        self._calls = calls
        self._index = index
        self._stream = stream
        self._label = label

    def own(self) -> list[Index]:
        """The stream's generations, oldest first.

        :raises ConfigurationError: the public name is another's."""
        index, label, stream = self._index, self._label, self._stream
        found = self._look()
        for other in found:
            if other.name == index:
                raise ConfigurationError(
                    f"{label}: there is an index or a data stream of this name, which this package did not make, where the"
                    f" alias should be. It is left alone: give stream {stream!r} another index name; or copy it under another"
                    " name (POST /_reindex, or _clone), delete it, and let the first run load the new one."
                )
            if other.live and other.mark is None:
                raise ConfigurationError(
                    f"{label}: the alias of this name points at the index {other.name!r}, which this package did not make. It is"
                    f" left alone: give stream {stream!r} another index name, or rename or remove the alias."
                )
            if other.mark is not None and other.mark["stream"] != stream:
                raise ConfigurationError(
                    f"{label}: the index {other.name!r} belongs to stream {other.mark['stream']!r}. It is left alone: give stream"
                    f" {stream!r} another index name."
                )
        return [i for i in found if i.mark is not None]

    def change(self, decide: Callable[[Sequence[Index]], tuple[str | None, list[Action]] | None]) -> bool:
        """Change aliases in one atomic step, which the engine refuses if the live generation is not the one seen any more.

        :param decide: told what there is, says what shall be live afterwards, and what else to do; None for nothing at all.
            Asked again when the live generation has changed meanwhile.
        :returns: whether there was something to do."""
        for _ in range(_TRIES):
            found = self.own()
            if (decided := decide(found)) is None:
                return False
            after, actions = decided
            live = {i.name: dict(i.alias) for i in found if i.alias is not None}
            steps: list[Action] = [
                {"remove": {"index": name, "alias": self._index, "must_exist": True}} for name in live
            ]
            if after is not None:
                # A filter or a routing that somebody has given to the alias stays with it.
                alias = live.get(after) or next(iter(live.values()), {})
                steps.append({"add": {"index": after, "alias": self._index, **alias}})
            try:
                self._calls.call("POST", "/_aliases", {"actions": [*steps, *actions]})
            except ConfigurationError:
                if {i.name for i in self.own() if i.live} == set(live):
                    raise
            else:
                return True
        raise TransientError(f"{self._label}: the alias is moved again and again by somebody else. Try again.")

    def serve(self, generation: str) -> Action:
        """The mark of a generation that is made live."""
        return {"add": {"index": generation, "alias": f"{self._index}_served", "is_hidden": True}}

    def held(self, generation: str) -> Held | None:
        """None where there is no such generation."""
        answer = self._calls.call("GET", path(generation) + "?flat_settings=true", missing_ok=True)
        # An alias of this name would answer with what it points at.
        if not answer or (found := answer.get(generation)) is None or (mark := mark_of(found)) is None:
            return None
        return Held(generation, found["aliases"], found["mappings"], found["settings"], mark)

    def _look(self) -> list[Index]:
        """All indexes that have the public name, bear it as an alias, or could be generations of it by their names."""
        index = self._index
        query = {
            "ignore_unavailable": "true",
            "allow_no_indices": "true",
            "expand_wildcards": "open,closed,hidden",
        }
        if self._calls.engine.name == "Elasticsearch":
            query["features"] = "aliases,mappings"
        generation = re.compile(re.escape(index) + r"_\d{8}t\d{6}")
        answer = self._calls.call("GET", f"{path(f'{index},{index}_*')}?{urlencode(query)}")
        # A data stream answers with the indexes behind it.
        known = {index if found.get("data_stream") == index else name: found for name, found in answer.items()}
        return [
            Index(name, aliases.get(index), index in aliases or f"{index}_served" in aliases, mark_of(found))
            for name, found in sorted(known.items())
            if index in (aliases := found["aliases"]) or name == index or generation.fullmatch(name)
        ]


def marked(mapping: Mapping[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with what is to be known of the generation later."""
    return {**mapping, "_meta": {**mapping.get("_meta", {}), _MARK: mark}}


def path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe=',*')}" for part in parts)


def mark_of(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What was noted when the index was made, in the engine's answer for it; None where this package did not make it."""
    mark = found.get("mappings", {}).get("_meta", {}).get(_MARK)
    return mark if isinstance(mark, dict) and "stream" in mark else None
