"""A document's key as one text whose order, byte by byte, is that of ``core.keys``.

A key of one text is that text. A whole number is ``+`` and its digits with noughts in front, a negative one ``!`` and its
distance from the least; between the parts of a compound key are two NULs, and a NUL within a part is followed by a ``\\x01``.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_reindex_provider.core.keys import KeyKind
from airflow_reindex_provider.core.model import Key

_DIGITS = 19
"""Of the largest bigint."""
_ALL_NINES = 10**_DIGITS - 1
_END = "\0\0"


class KeyTexts:
    """:param kinds: of the key's columns."""

    def __init__(self, kinds: Sequence[KeyKind]) -> None:
        self._kinds = tuple(kinds)
        self._is_plain = self._kinds == (KeyKind.TEXT,)

    def text(self, key: Key) -> str:
        if self._is_plain:
            return key[0]
        return _END.join(
            _number(int(part)) if kind is KeyKind.NUMBER else part.replace("\0", "\0\x01")
            for part, kind in zip(key, self._kinds, strict=True)
        )

    def key(self, text: str) -> Key:
        """The inverse of :meth:`text`."""
        if self._is_plain:
            return (text,)
        return tuple(
            str(_whole(part)) if kind is KeyKind.NUMBER else part.replace("\0\x01", "\0")
            for part, kind in zip(_parts(text, len(self._kinds)), self._kinds, strict=True)
        )


def _number(value: int) -> str:
    return f"+{value:0{_DIGITS}}" if value >= 0 else f"!{_ALL_NINES + value:0{_DIGITS}}"


def _whole(text: str) -> int:
    return int(text) if text[0] == "+" else int(text[1:]) - _ALL_NINES


def _parts(text: str, count: int) -> list[str]:
    # Within a part, what follows a NUL is no NUL.
    parts = text.split(_END)
    assert len(parts) == count
    return parts
