"""A document's passages: the pieces of its texts that are embedded as one each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_reindex_provider.core.errors import TextRefusedError

Splitter = Callable[[str], Sequence[str]]
"""Cuts a text into pieces, in their order. Whatever it gives for a text, it gives for an equal one."""

_SPACE = re.compile(r"\s*")
_NEAR = 2
"""Characters between most pieces."""


class Passage(NamedTuple):
    """One piece of one of a document's texts.

    :ivar place: among all passages of the document, from 0 on.
    :ivar start: where it begins in the field's text, in characters; :ivar end: where it ends. Both are None where the
        splitter has made a piece that does not stand in the text.
    :ivar hash: of the text and the model's identity: passages of equal hash have equal vectors.
    """

    field: str
    place: int
    start: int | None
    end: int | None
    text: str
    hash: bytes


def passages(
    document: Mapping[str, Any], fields: Sequence[str], *, split: Splitter, hashed: Callable[[str], bytes]
) -> tuple[Passage, ...]:
    """Those of the named fields' texts, in the order of the names. A field that is not there, is None or has no text but
    whitespace has none, and none is empty.

    :param hashed: see :meth:`~airflow_reindex_provider.core.embedding.embedder.Identity.hasher`.
    :raises TextRefusedError: a field holds something else than a text, or the splitter gives something else than texts."""
    found: list[Passage] = []
    for name in fields:
        text = document.get(name)
        if text is None:
            continue
        if not isinstance(text, str):
            raise TextRefusedError(
                f"field {name!r} is to be embedded and holds a {type(text).__name__}, not a text. Make it one with a transform."
            )
        for start, piece in _placed(name, text, split(text) if text.strip() else ()):
            try:
                digest = hashed(piece)
            except UnicodeEncodeError:
                raise TextRefusedError(
                    f"field {name!r} holds half of a surrogate pair, which is no character. Mend the text, or leave it out with a"
                    " transform."
                ) from None
            end = None if start is None else start + len(piece)
            found.append(Passage(name, len(found), start, end, piece, digest))
    return tuple(found)


def distinct(passages: Sequence[Passage]) -> Sequence[Passage]:
    """An equal text once, at the first of its places."""
    if len({passage.hash for passage in passages}) == len(passages):
        return passages
    found: dict[bytes, Passage] = {}
    for passage in passages:
        found.setdefault(passage.hash, passage)
    return list(found.values())


def _placed(field: str, text: str, pieces: Sequence[str]) -> Iterator[tuple[int | None, str]]:
    """The pieces that say anything, each with where it begins."""
    start = end = 0
    for piece in pieces:
        if not isinstance(piece, str):
            raise TextRefusedError(
                f"the splitter made a {type(piece).__name__} of field {field!r}; it must give a list of texts."
            )
        if not piece.strip():
            continue
        found = _begin(text, piece, start, end)
        if found is not None:
            start, end = found + 1, found + len(piece)
        yield found, piece


def _begin(text: str, piece: str, after_start: int, at_end: int) -> int | None:
    """Where a piece stands: right behind the one before, but for whitespace, or the next place after that one's beginning."""
    found = text.find(piece, at_end, at_end + len(piece) + _NEAR)
    if found == at_end or (found > 0 and text[at_end:found].isspace()):
        return found
    space = _SPACE.match(text, at_end)
    if space and text.startswith(piece, space.end()):
        return space.end()
    found = text.find(piece, after_start)
    return None if found < 0 else found
