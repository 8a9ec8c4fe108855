"""Numbers in sentences."""

from __future__ import annotations


def counted(count: int, noun: str, verb: tuple[str, str] = ("", ""), *, more: bool = False) -> str:
    """``1 change waits``, ``3 changes wait``. :param verb: for one and for several. :param more: whether it is a lower bound."""
    one = count == 1 and not more
    said = f"{count:,}{' or more' if more else ''} {noun if one else f'{noun}s'}"
    return f"{said} {verb[not one]}".rstrip()
