"""What the annotations of the public classes are in a file: texts, numbers, durations, times, names of Python objects."""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BeforeValidator, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|sec|min|[smhdw])\s*")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_MOMENT = "a time with its zone like 2026-01-01T00:00:00Z"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


TAKES = "takes"


def takes(what: str) -> PydanticCustomError:
    """The error of a value that is of another kind."""
    return PydanticCustomError(TAKES, "{what}", {"what": what})


def _duration(value: Any) -> timedelta:
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise takes("a duration like 90s, 15min, 6h or 1d")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value)))


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise takes(_MOMENT) from None
    if moment.tzinfo is None:
        raise takes(_MOMENT)
    return moment


def _named(value: Any) -> Any:
    if not isinstance(value, str) or not _DOTTED.fullmatch(value):
        raise takes("a Python object by its module and its name, like my_company.documents.make")
    try:
        return pkgutil.resolve_name(value)
    except Exception as error:
        # Whatever its module does when it is imported is told as what it is.
        raise ValueError(
            f"{value} cannot be imported ({type(error).__name__}: {error}): its module has to lie where Dag files import from,"
            " the bundle's folder or plugins"
        ) from error


def _called(value: Any) -> Any:
    found = _named(value)
    if not callable(found):
        raise ValueError(f"{value} is a {type(found).__name__} and cannot be called: name a function")
    return found


def _path(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str):
        raise takes("a path, relative to this file")
    path = (info.context or {})["folder"] / value
    if not path.is_file():
        raise ValueError(f"there is no file {path}: a path is relative to this file")
    return Path(path)


_DURATION_SCHEMA = {"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["90s", "15min", "6h", "1d"]}
_OBJECT_SCHEMA = {"type": "string", "pattern": f"^{_DOTTED.pattern}$", "description": "A Python object: module.name"}
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Named = Annotated[Any, BeforeValidator(_named), WithJsonSchema(_OBJECT_SCHEMA)]
Called = Annotated[Any, BeforeValidator(_called), WithJsonSchema(_OBJECT_SCHEMA)]
OwnFile = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]

_TYPES: dict[str, Any] = {
    "None": None,
    "str": StrictStr,
    "int": StrictInt,
    "float": StrictInt | StrictFloat,
    "bool": StrictBool,
    "Any": Any,
    "timedelta": Duration,
    "datetime": Moment,
    "Path": OwnFile,
    "tuple": tuple,
    "list": list,
    "dict": dict,
    "Mapping": dict,
    "MutableMapping": dict,
    "Sequence": list,
    "Collection": list,
    "Iterable": list,
    "Literal": Literal,
    "Union": Union,
    "Names": StrictStr | tuple[StrictStr, ...],
    "Transform": Called,
    "Splitter": Called,
    "Callable": Called,
    "Asset": StrictStr,
}


class Unsayable(TypeError):
    """An option of a public class has a type of which nobody has decided how a file says it."""


class _Names(dict[str, Any]):
    def __init__(self, module: str, other: Callable[[str, Any], Any]) -> None:
        super().__init__(_TYPES)
        self._module, self._other = module, other

    def __missing__(self, name: str) -> Any:
        found = getattr(sys.modules[self._module], name, None)
        if isinstance(found, type) and issubclass(found, Enum):
            return Literal[tuple(str(member.value) for member in found)]
        return self._other(name, found)


def said(annotation: str, module: str, other: Callable[[str, Any], Any]) -> Any:
    """What pydantic takes for a Python annotation.

    :param module: where it stands. :param other: asked for each name that is neither a plain type nor an enumeration.
    :raises Unsayable: it holds a type that no file can say."""
    # A function is named, whatever it takes and gives.
    annotation = re.sub(r"Callable\[\[.*?\], .*?\](?=$| \|)", "Callable", annotation)
    if re.search(r"\bPath\b", annotation):
        # A text in its place is a path too, and in a file it is relative to the file.
        annotation = re.sub(r"\|\s*str\b", "", annotation)
    try:
        # Of our own sources, and Airflow's: never of what somebody has written into a file.
        return eval(annotation, {}, _Names(module, other))
    except (TypeError, NameError, SyntaxError) as error:
        raise Unsayable(f"{annotation!r} in {module}: {error}") from error
