"""A value as text that is the same in every process: whoever compares texts to see whether something has changed needs it.

What ``repr`` gives for functions and for objects without one of their own holds an address, and for sets an order by hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from functools import partial
from reprlib import recursive_repr
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@recursive_repr("...")
def stable_text(value: Any) -> str:
    """Like ``repr``, with these differences.

    What can be called says its name, without what is bound to it (that may be large, or a secret) and without the module,
    which for a Dag file depends on where the file lies. Of an author's own ``__repr__``, addresses are left out."""
    match value:
        case partial():
            return f"partial({stable_text(value.func)})"
        case _ if callable(value):
            return str(getattr(value, "__qualname__", type(value).__qualname__))
        case _ if is_dataclass(value) or hasattr(value, "__attrs_attrs__"):
            made_of = fields(value) if is_dataclass(value) else value.__attrs_attrs__
            shown = ", ".join(f"{f.name}={stable_text(getattr(value, f.name))}" for f in made_of if f.repr)
            return f"{type(value).__qualname__}({shown})"
        case Mapping():
            return "{" + ", ".join(f"{stable_text(k)}: {stable_text(v)}" for k, v in value.items()) + "}"
        case Set():
            return "{" + ", ".join(sorted(map(stable_text, value))) + "}"
        case list() | tuple():
            return f"{type(value).__qualname__}({', '.join(map(stable_text, value))})"
        case _ if vars(object)["__repr__"] is getattr(type(value), "__repr__", None):
            return f"{type(value).__qualname__}()"
        case _:
            return _ADDRESS.sub("", repr(value))
