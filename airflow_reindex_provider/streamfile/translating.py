"""What pydantic says of a stream, as problems of the file: the place, in the file's own words, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from airflow_reindex_provider.streamfile.items import Item
from airflow_reindex_provider.streamfile.models import OWN, Said
from airflow_reindex_provider.streamfile.problems import Problem, did_you_mean
from airflow_reindex_provider.streamfile.values import TAKES

Path = tuple[str | int, ...]
_TAKES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def problems_of(error: ValidationError, item: Item, model: type[Said], under: Path = ()) -> Iterator[Problem]:
    """:param under: what stands before the paths, in messages."""
    found: dict[Path, list[Any]] = {}
    for told in error.errors(include_url=False):
        found.setdefault(_in_file(told, item), []).append(told)
    # Whoever writes `price: {}` in the place of a text is told once, and not for each kind that it might be.
    for path, errors in found.items():
        if not any(path == other[: len(path)] and path != other for other in found):
            yield Problem(item.at(path).place, _says((*under, *path), errors, item.at(path), model))


def _in_file(told: Any, item: Item) -> Path:
    """The part of the error's path that is the file's; the rest are names of ours for what the value might be."""
    path: list[str | int] = []
    here: Any = item.value
    for step in told["loc"]:
        if (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int)):
            path.append(step)
            here = here[step].value
    return (*path, told["loc"][-1]) if told["type"] == "missing" else tuple(path)


def _says(path: Path, errors: Sequence[Any], item: Item, model: type[Said]) -> str:
    first, name = errors[0], dotted(path)
    match first["type"]:
        case "extra_forbidden":
            return f"{name} is not known. {did_you_mean(str(path[-1]), _known(model, first['loc'][:-1]))}"
        case "missing":
            about = _about(model, first["loc"])
            return f"{name} is missing: {about or 'add it.'}"
        case "union_tag_not_found" if not isinstance(item.value, dict):
            return f"{name} takes a mapping, and not {item.plain!r}."
        case "union_tag_not_found" | "union_tag_invalid":
            tags = [tag.strip(" '") for tag in _tags(model, first["loc"])]
            given = item.value.get("type")
            if given is None:
                return f"{name}.type is missing: one of {', '.join(tags)}, or a class of your own by module and name."
            return f"{name}.type {given.value!r} is not known. {did_you_mean(str(given.value), tags)}"
    if whole := [told for told in errors if told["type"] == "value_error"]:
        return f"{name}: {whole[0]['ctx']['error']}."
    wanted = [_wanted(told) for told in errors]
    return f"{name} takes {' or '.join(dict.fromkeys(wanted))}, and not {_short(item.plain)}."


def _wanted(told: Any) -> str:
    if told["type"] == TAKES:
        return str(told["ctx"]["what"])
    if told["type"] == "literal_error":
        return f"one of {told['ctx']['expected'].replace(' or ', ', ')}"
    return _TAKES.get(told["type"]) or str(told["msg"])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."


def dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _models(model: type[Said], path: Sequence[Any]) -> list[type[Said]]:
    """Those that say what may stand at a path of pydantic's."""
    found = [model]
    for step in path:
        below = [inner for one in found if step in one.model_fields for inner in _said_in(one.model_fields[step])]
        named = [one for one in found if _kind(one) == step or one.__name__ == step]
        found = below or named or found
    return found


def _said_in(annotation: Any) -> Iterator[type[Said]]:
    kind = getattr(annotation, "annotation", annotation)
    if isinstance(kind, type) and issubclass(kind, Said):
        yield kind
    for inner in get_args(kind):
        yield from _said_in(inner)


def _kind(model: type[Said]) -> Any:
    field = model.model_fields.get("type")
    return None if field is None else OWN if field.is_required() else field.default


def _known(model: type[Said], path: Sequence[Any]) -> list[str]:
    return sorted({name for one in _models(model, path) for name in one.model_fields})


def _about(model: type[Said], path: Sequence[Any]) -> str:
    for one in _models(model, path[:-1]):
        if path[-1] in one.model_fields:
            return one.model_fields[path[-1]].description or ""
    return ""


def _tags(model: type[Said], path: Sequence[Any]) -> list[str]:
    return [str(_kind(one)) for one in _models(model, path) if _kind(one) not in (None, OWN)]
