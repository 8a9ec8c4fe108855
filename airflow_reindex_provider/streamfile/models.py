"""Models of the public classes, made from the fields that the classes declare: what they gain, a file can say."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.streamfile.kinds import CLOSED, GIVEN, NAMES, PARTS, kinds_of
from airflow_reindex_provider.streamfile.values import Named, Unsayable, said

OWN = "own"
_PARAM = re.compile(r":param (\w+):((?:(?!:param|:ivar|:raises|:returns?:).)*)", re.DOTALL)


class Said(BaseModel):
    """What a file says of one object."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_default=False)
    makes: ClassVar[Any] = dict

    def made(self) -> Any:
        """The object: what is not said is as its class has it."""
        return self.makes(**self.arguments())

    def arguments(self) -> dict[str, Any]:
        return {
            name: self.argument(name) for name in type(self).model_fields if name in self.model_fields_set - {"type"}
        }

    def argument(self, name: str) -> Any:
        """One of them, made."""
        return _made(getattr(self, name))


class Own(Said):
    """An object of a class of the author's own, named by its module and its name; its other keys are its arguments."""

    model_config = ConfigDict(extra="allow")
    type: Named

    def made(self) -> Any:
        return self.type(**(self.model_extra or {}))


def _made(value: Any) -> Any:
    if isinstance(value, Said):
        return value.made()
    if isinstance(value, (list, tuple)):
        return type(value)(map(_made, value))
    return {key: _made(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def descriptions(made: Any) -> dict[str, str]:
    """Of the arguments, from the docstrings of a class and of what it is made of."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(made)):
        for name, says in _PARAM.findall(base.__doc__ or ""):
            text = " ".join(says.replace("``", "`").split())
            found[name] = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return found


@cache
def model_of(made: type, type_name: str | None = None, *, without: frozenset[str] = frozenset()) -> type[Said]:
    """The model of a dataclass. :raises Unsayable: it has a field of which nobody has decided how a file says it."""
    told = descriptions(made)
    more: dict[str, Any] = {}
    if type_name is not None:
        more["type"] = (Literal[type_name], Field(default=type_name, description="Which kind it is."))
    for field in fields(made):
        if field.name in GIVEN | without:
            continue
        home = next(base for base in inspect.getmro(made) if field.name in inspect.get_annotations(base))
        more[field.name] = (
            said(str(field.type), home.__module__, _other),
            Field(
                default=... if field.default is MISSING and field.default_factory is MISSING else None,
                description=told.get(field.name) or None,
            ),
        )
    model: type[Said] = create_model(made.__name__, __base__=Said, __doc__=None, **more)
    model.makes = made
    return model


def _other(name: str, found: Any) -> Any:
    if name in NAMES:
        return part(NAMES[name])
    if isinstance(found, type) and is_dataclass(found):
        return model_of(found)
    raise Unsayable(f"{name}: say in streamfile.values what it is in a file")


_parts: dict[str, Any] = {}


def part(name: str) -> Any:
    """The kinds that a part of a stream may be of."""
    if name in _parts:
        return _parts[name]
    # Children have children: who asks while it is being made gets a name for it.
    _parts[name] = ForwardRef(f"_{name}")
    models = [model_of(kind.made, kind.word) for kind in kinds_of(name)]
    types: list[Any] = [Annotated[model, Tag(_word(model))] for model in models]
    default = PARTS[name]

    def tag(value: Any) -> str | None:
        named = value.get("type", default) if isinstance(value, dict) else None
        return OWN if isinstance(named, str) and ("." in named or ":" in named) else named

    if name not in CLOSED:
        types.append(Annotated[Own, Tag(OWN)])
    _parts[name] = Annotated[Union[(*types,)], Discriminator(tag)] if models else Own
    for model in models:
        model.model_rebuild(_types_namespace={f"_{name}": _parts[name]})
    return _parts[name]


def _word(model: type[Said]) -> str:
    return str(model.model_fields["type"].default)


def stream_model() -> type[Said]:
    """Of a stream without its name, which is its key in the file."""
    return model_of(Stream, without=frozenset({"name"}))
