"""What to do when an engine does not take a mapping or settings: its reasons speak of its own terms, not of columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

_LIMITS = (
    ("Limit of total fields", "index.mapping.total_fields.limit"),
    ("Limit of mapping depth", "index.mapping.depth.limit"),
    ("Limit of nested fields", "index.mapping.nested_fields.limit"),
    ("is longer than the limit of", "index.mapping.field_name_length.limit"),
)
"""What a reason says, and the setting that it is about."""
_OTHERWISE = "If that is about the mapping or the settings, mend mappings= or settings= of the target."


def remedy(reason: str, mapping: Mapping[str, Any], columns: Collection[str]) -> str:
    """Sentences to say behind the engine's reason for not making an index of this mapping.

    :param columns: of the source, those whose fields are derived from them too."""
    for find in (_limit, _reserved, _vectors, _data_stream, _names):
        if said := find(reason, mapping, columns):
            return said
    return _OTHERWISE


def _limit(reason: str, mapping: Mapping[str, Any], columns: Collection[str]) -> str | None:
    setting = next((setting for words, setting in _LIMITS if words in reason), None)
    if setting is None:
        return None
    wanted = "more"
    said = ""
    if setting == "index.mapping.total_fields.limit":
        fields = sum(1 for _ in _fields(mapping))
        # Room for what a transform or a template adds.
        wanted = str(fields + fields // 10 + 10)
        said = f"The mapping has {fields:,} fields (a text column makes two). "
    return (
        f'{said}Raise the limit with settings={{"{setting}": {wanted}}} of the target, have fewer with columns= of the source, or'
        " map some of them together in mappings=."
    )


def _reserved(reason: str, mapping: Mapping[str, Any], columns: Collection[str]) -> str | None:
    match = re.search(r"Field \[([^]]+)\] is defined more than once", reason)
    if match is None or match[1] not in columns:
        return None
    return f"{match[1]!r} is the engine's own field in every document. {_rename([match[1]])}"


def _vectors(reason: str, mapping: Mapping[str, Any], columns: Collection[str]) -> str | None:
    if "[index.knn]" not in reason and "[knn_vector]" not in reason:
        return None
    names = [name for name, field in mapping["properties"].items() if field.get("type") == "knn_vector"]
    return (
        f"The columns {', '.join(map(repr, names))} hold vectors, for which OpenSearch needs its k-NN plugin: install"
        ' opensearch-knn on the nodes; or keep the values without a search for neighbours, by mappings={"properties": {'
        + ", ".join(f'"{name}": {{"type": "object", "enabled": false}}' for name in names)
        + "}} of the target; or leave the columns out with columns= of the source."
    )


def _data_stream(reason: str, mapping: Mapping[str, Any], columns: Collection[str]) -> str | None:
    if "data stream" not in reason:
        return None
    return "Give the target another index name, or take its names out of the template's index_patterns."


def _names(reason: str, mapping: Mapping[str, Any], columns: Collection[str]) -> str | None:
    """Columns whose names say something else to an engine: a dot stands between an object and a field of it."""
    odd = [name for name in columns if _is_odd(name)]
    within = [
        (outer, name) for name in columns for outer in columns if name.startswith(f"{outer}.") and outer not in odd
    ]
    if odd and re.search(r"\bname\b", reason):
        return (
            f"The engine takes no field of the name {', '.join(map(repr, odd))}: a dot stands between an object and its field,"
            f" and neither has an empty or blank name. {_rename(odd)}"
        )
    if within and "mapp" in reason:
        outer, name = within[0]
        return (
            f"To the engine, {name!r} is a field within {outer!r}, which is a column of its own and no object."
            f" {_rename([name])}"
        )
    return None


def _is_odd(name: str) -> bool:
    *before, last = name.split(".")
    return not name.strip(" .") or not all(part.strip() for part in before) or (last != "" and not last.strip())


def _rename(names: Sequence[str]) -> str:
    renamed = ", ".join(f'"{name}" AS {_plain(name)}' for name in names)
    return f"Name it otherwise, in a view or in query= of the source (SELECT {renamed}, ...), or leave it out with columns=."


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_") or "other_name"


def _fields(mapping: Mapping[str, Any]) -> Iterator[str]:
    """All that count against the limit: objects, fields, and the fields below a field."""
    for part in ("properties", "fields"):
        for name, field in mapping.get(part, {}).items():
            yield name
            yield from _fields(field)
