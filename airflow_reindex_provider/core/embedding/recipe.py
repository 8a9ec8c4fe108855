"""What the passages of an index are made by. Another recipe makes other passages, so it takes another generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.stable_text import stable_text


@dataclass(frozen=True, slots=True)
class Recipe:
    """:ivar fields: whose texts are embedded, in this order. :ivar model: its identity as text, with all that changes the
    numbers. :ivar dimensions: of a vector. :ivar splitter: what cuts the texts, as text."""

    fields: tuple[str, ...]
    model: str
    dimensions: int
    splitter: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fields": list(self.fields)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        return cls(tuple(value["fields"]), value["model"], value["dimensions"], value["splitter"])

    def unlike(self, other: Recipe) -> str:
        """In words, what the two do not have in common."""
        mine, others = self.to_json(), other.to_json()
        return "; ".join(f"{name} {mine[name]!r}, not {others[name]!r}" for name in mine if mine[name] != others[name])


def require_recipe(found: Recipe | None, wanted: Recipe | None, generation: str, label: str) -> None:
    """:raises ConfigurationError: the generation has been made with another model, splitter or choice of fields."""
    if found == wanted:
        return
    if wanted is None:
        what = "has passages with vectors, and the stream has no embed= any more"
    elif found is None:
        what = "has no passages, and the stream has embed="
    else:
        what = f"was made with {found.unlike(wanted)}"
    raise ConfigurationError(
        f"{label}: generation {generation!r} {what}. The two are never mixed in one index. Rebuild the index (RebuildDag): the"
        " live one serves on until the new one is complete, and texts that stay as they are with the same model are not"
        " embedded again. Or set the stream back."
    )


def named(splitter: Any) -> str:
    """A splitter as text, with its settings as far as they can be seen: equal in every process, another one where a setting of it
    is another. What the body of a function says is not seen: one that cuts in another way needs another name."""
    if is_dataclass(splitter):
        return repr(splitter)
    owner = getattr(splitter, "__self__", None)
    if owner is None:
        return stable_text(splitter)
    settings = {name: value for name, value in sorted(vars(owner).items()) if _is_plain(value)}
    return f"{type(owner).__qualname__}.{splitter.__name__}({settings})"


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
