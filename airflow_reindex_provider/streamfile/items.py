"""A YAML file as values that know their places: variables of the environment filled in, overlays laid over it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from airflow_reindex_provider.streamfile.problems import Place, Problem, StreamFileError

_VARIABLE = re.compile(r"\$(\$)?\{([^}:]*)(?::-([^}]*))?\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"^AIRFLOW_(_|CONN_|VAR_)|PASSW|SECRET|TOKEN|API_?KEY|CREDENTIAL", re.IGNORECASE)
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT, _STR = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
# YAML 1.2, which editors check: `on` and `no` are words, `1:30` is no number of seconds, and a date is text.
_WORDS = (
    (_NULL, re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    (_BOOL, re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    (_INT, re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    (_FLOAT, re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), list("-+.0123456789")),
)
# Of its C form, where PyYAML was built with it; and with no words but those above.
_Resolving: Any = type("_Resolving", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"yaml_implicit_resolvers": {}})
for _tag, _pattern, _first in _WORDS:
    _Resolving.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern.pattern})$"), _first)


@dataclass(frozen=True, slots=True)
class Item:
    """A value of the file. :ivar value: a scalar, a list of items, or a dict of them by key. :ivar place: where it stands; of
    a value in a mapping, where its key does."""

    value: Any
    place: Place

    @property
    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain for item in self.value]
        return self.value

    def at(self, path: Sequence[str | int]) -> Item:
        """The item that a path leads to, or the last one on the way that is there."""
        found = self
        for step in path:
            inner: Any = found.value
            is_there = (
                step in inner if isinstance(inner, dict) else isinstance(inner, list) and step in range(len(inner))
            )
            found = inner[step] if is_there else found
        return found

    def over(self, below: Item | None) -> Item:
        """This laid over another one: mappings are joined, what is null here is there no more, all else counts as it is here.

        A part that names another ``type`` than the one below starts anew."""
        if below is None or not isinstance(self.value, dict) or not isinstance(below.value, dict):
            return self
        own, theirs = self.value.get("type"), below.value.get("type")
        if own is not None and theirs is not None and own.value != theirs.value:
            return self
        joined = {**below.value, **{key: item.over(below.value.get(key)) for key, item in self.value.items()}}
        return replace(self, value=joined)


def read_items(path: Path, *, variables: Mapping[str, str] | None = None) -> tuple[Item, list[Problem]]:
    """The file's mapping, and what is wrong with single values of it. ``${NAME}`` and ``${NAME:-else}`` in a value are filled
    in; ``$${`` stands for ``${``.

    :param variables: default: the environment. :raises StreamFileError: it cannot be read, or is no YAML."""
    name = path.name
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise alone(Place(name, 1), f"the file cannot be read: {error.strerror}. Looked for {path}.") from error
    except UnicodeDecodeError as error:
        raise alone(Place(name, 1), f"the file is not in UTF-8 ({error.reason}): save it as UTF-8.") from error
    reader = _Reader(name, os.environ if variables is None else variables)
    try:
        loader = _Resolving(text)
        node = loader.get_single_node()
        item = None if node is None else reader.item(loader, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise alone(Place(name, line), f"this is no YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise alone(Place(name, 1), f"this is no YAML: {' '.join(str(error).split())}.") from error
    if item is None or not isinstance(item.value, dict):
        raise alone(Place(name, 1), "the file has to be a mapping with version and streams.")
    return item, reader.problems


def alone(place: Place, says: str) -> StreamFileError:
    return StreamFileError([Problem(place, says)])


def fill(text: str, variables: Mapping[str, str], tell: Callable[[str], None]) -> str:
    """:param tell: told what cannot be filled in."""

    def filled(match: re.Match[str]) -> str:
        escaped, name, otherwise = match.groups()
        if escaped:
            return match[0][1:]
        if not _NAME.fullmatch(name):
            tell(f"{match[0]} is no variable: write ${{NAME}}, or $${{ for these two characters.")
        elif _SECRET.search(name):
            tell(f"${{{name}}} looks like a secret, and what stands here is shown to all: keep it in a connection.")
        elif name in variables:
            return variables[name]
        elif otherwise is None:
            tell(f"the variable {name} is not set: set it, or write ${{{name}:-what else it is}}.")
        return otherwise or ""

    return _VARIABLE.sub(filled, text)


class _Reader:
    """:ivar problems: each with the stream that it is of, None where it is of none alone."""

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self._name = name
        self._variables = variables
        self._within: list[Any] = []
        self._path: list[str] = []
        self.problems: list[Problem] = []

    def item(self, loader: Any, node: Any, place: Place | None = None) -> Item:
        here = self._place(node)
        place = place or here
        if any(node is outer for outer in self._within):
            self._problem(here, "an anchor stands within itself.")
            return Item(None, place)
        self._within.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return Item(self._mapping(loader, node), place)
            if isinstance(node, yaml.SequenceNode):
                return Item([self.item(loader, inner) for inner in node.value], place)
            return Item(self._scalar(loader, node, here), place)
        finally:
            self._within.pop()

    def _mapping(self, loader: Any, node: Any) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(place, "a key has to be a word.")
                continue
            key = key_node.value
            self._path.append(key)
            if key in found:
                self._problem(place, f"{key} stands on line {found[key].place.line} already: one of the two has to go.")
            found[key] = self.item(loader, value_node, place)
            self._path.pop()
        return found

    def _scalar(self, loader: Any, node: Any, place: Place) -> Any:
        text, tag = node.value, node.tag
        if "${" in text:
            text = fill(text, self._variables, lambda says: self._problem(place, says))
            if not node.style:
                tag = loader.resolve(yaml.ScalarNode, text, (True, False))
        make = _SCALARS.get(tag)
        if make is None:
            self._problem(place, f"the tag {tag} is not known here: write the value without it.")
            return None
        try:
            return make(text)
        except ValueError:
            self._problem(place, f"{text!r} is not what its tag says: write the value without one.")
            return None

    def _place(self, node: Any) -> Place:
        return Place(self._name, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, place: Place, says: str) -> None:
        stream = self._path[1] if len(self._path) > 1 and self._path[0] == "streams" else None
        self.problems.append(Problem(place, says, stream))


_SCALARS: dict[str, Callable[[str], Any]] = {
    _NULL: lambda text: None,
    _BOOL: lambda text: text.lower() == "true",
    _INT: int,
    _FLOAT: float,
    _STR: str,
}
