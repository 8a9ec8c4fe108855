"""The default splitter, whose cuts stay where they are when a text is edited elsewhere.

A text's paragraphs, sentences and lines are its atoms, and every gap between two of them has a rank: what kind of gap it is, then
a number made of the words behind it. A text that is too long is cut at its gap of the highest rank, and so is each part. No
part's cut depends on where the text begins or how long it is, so an edit moves the cuts beside it and no others.

    A. B.  C. D. E.  F. G.            paragraphs before sentences, then the greater number
          |                           first cut: the whole is too long
                    |                 second cut: what follows it still is
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

from airflow_reindex_provider.core.embedding.embedder import Embedder, TokenizingEmbedder
from airflow_reindex_provider.core.embedding.passages import Splitter
from airflow_reindex_provider.core.errors import ConfigurationError

_LEAST = 16
"""Where there is a choice, no passage is shorter than this part of the longest."""
_SEEN = 32
"""Characters behind a gap that its number is made of: an edit further on in the sentence leaves the cut where it is."""

_WORD, _LINE, _SENTENCE, _PARAGRAPH, _HEADING = range(5)
_GAPS = re.compile(
    r"(?P<paragraph>\n[^\S\n]*\n\s*)"
    r"|(?P<line>\n)"
    # A full stop, perhaps with a quotation mark or bracket behind it, then space; those of Chinese and Japanese need none.
    r"|(?P<sentence>(?:(?<=[.!?\u2026])|(?<=[.!?\u2026][\"'\u201d\u2019)\]\u00bb]))[^\S\n]+"
    r"|(?<=[\u3002\uff01\uff1f])(?![\u3002\uff01\uff1f\u201d\u300f\u300d\uff09]))"
)
_RANKS = {"paragraph": _PARAGRAPH, "line": _LINE, "sentence": _SENTENCE}
_SPACE = re.compile(r"\s+")
_HASHES = re.compile(r"#{1,6}\s")

_Count = Callable[[Sequence[str]], Sequence[int]]
"""Tokens of each of some texts."""


@dataclass(frozen=True, slots=True)
class SplitByContent:
    """Cuts a text at its headings, paragraphs, sentences and lines, in this order; a longer sentence between words, a longer word
    where it must. Passages do not overlap, and none is empty.

    :param max_tokens: of a passage, about, where the model's tokens can be counted here; never more than the model takes.
    :param max_characters: of a passage where they cannot. 2,000 characters are 8,000 bytes at the most, and a model whose tokens
        are made of bytes never counts more tokens than that.
    """

    max_tokens: int = 500
    max_characters: int = 2_000

    def __post_init__(self) -> None:
        if min(self.max_tokens, self.max_characters) < 16:
            raise ConfigurationError("SplitByContent: passages of less than 16 tokens or characters say nothing.")

    def for_model(self, model: Embedder) -> Splitter:
        """By the model's tokens, if they can be counted."""
        if not isinstance(model, TokenizingEmbedder):
            return lambda text: list(_split(text, self.max_characters, None))
        most = min(self.max_tokens, model.limits.text_tokens or self.max_tokens)
        count = model.count_tokens
        return lambda text: list(_split(text, most, count))


def _split(text: str, most: int, count: _Count | None) -> Iterator[str]:
    atoms = _Atoms(text, most, count)
    parts = [(0, len(atoms.spans))]
    while parts:
        first, end = parts.pop()
        if first == end:
            continue
        if end - first == 1 or atoms.size(first, end) <= most:
            yield text[atoms.spans[first][0] : atoms.spans[end - 1][1]]
            continue
        cut = atoms.best_cut(first, end, most // _LEAST)
        parts += [(cut, end), (first, cut)]


class _Atoms:
    """The smallest parts of a text that are not cut, each of the size of a passage at most."""

    def __init__(self, text: str, most: int, count: _Count | None) -> None:
        def sizes(spans: Sequence[tuple[int, int, int]]) -> Sequence[int]:
            return [b - a for a, b, _ in spans] if count is None else count([text[a:b] for a, b, _ in spans])

        self.spans: list[tuple[int, int]] = []
        self._ranks: list[int] = []
        """Of the gap before each."""
        self._begins: list[int] = []
        self._ends: list[int] = []
        """Of each, in characters of the text, or in tokens of those before it."""
        tokens = 0
        whole = list(_sentences(text))
        for (start, end, kind), length in zip(whole, sizes(whole), strict=True):
            pieces = [(start, end, kind)] if length <= most else _smaller(text, start, end, kind, most, length)
            lengths = [length] if len(pieces) == 1 else sizes(pieces)
            for (a, b, rank), of_piece in zip(pieces, lengths, strict=True):
                self.spans.append((a, b))
                self._ranks.append(rank << 32 | crc32(text[a : min(b, a + _SEEN)].encode("utf-8", "surrogatepass")))
                self._begins.append(a if count is None else tokens)
                tokens += of_piece
                self._ends.append(b if count is None else tokens)

    def size(self, first: int, end: int) -> int:
        return self._ends[end - 1] - self._begins[first]

    def best_cut(self, first: int, end: int, least: int) -> int:
        """The atom before which to cut; both sides have ``least`` if that can be."""
        low = bisect_left(self._ends, self._begins[first] + least, first, end) + 1
        high = bisect_right(self._begins, self._ends[end - 1] - least, first, end)
        if low >= high:
            low, high = first + 1, end
        ranks = self._ranks[low:high]
        best = max(ranks)
        at = ranks.index(best)
        if ranks.count(best) > 1:
            # A text that repeats itself: halves, so that the work does not grow with the square of its length.
            middle = len(ranks) // 2
            at = min((i for i, rank in enumerate(ranks) if rank == best), key=lambda i: abs(i - middle))
        return low + at


def _sentences(text: str) -> Iterator[tuple[int, int, int]]:
    """Begin, end, and the kind of the gap before; without the whitespace between them, and without such as are nothing else."""
    kind, start, heading = _PARAGRAPH, 0, False
    for gap in _GAPS.finditer(text):
        begin, end = _stripped(text, start, gap.start())
        next_kind = _RANKS[str(gap.lastgroup)]
        if begin < end:
            is_heading = _HASHES.match(text, begin) is not None
            # A heading stays with what it is above.
            yield begin, end, _WORD if heading else _HEADING if is_heading else kind
            heading, kind = is_heading, next_kind
        else:
            kind = max(kind, next_kind)
        start = gap.end()
    begin, end = _stripped(text, start, len(text))
    if begin < end:
        yield begin, end, _WORD if heading else kind


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _smaller(text: str, start: int, end: int, kind: int, most: int, size: int) -> list[tuple[int, int, int]]:
    """A sentence that is no passage by itself: its words, and what is longer than it may be in pieces."""
    # As many characters as are surely not too many, where a few characters may be many tokens.
    width = max(1, most * (end - start) // size // 2)
    pieces: list[tuple[int, int, int]] = []
    at = start
    while at < end:
        space = _SPACE.search(text, at, end)
        word_end = space.start() if space else end
        while at < word_end:
            stop = min(word_end, at + width)
            pieces.append((at, stop, _WORD if pieces else kind))
            at = stop
        at = space.end() if space else end
    return pieces
