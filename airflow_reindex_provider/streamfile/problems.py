"""What is wrong in a file of streams: where it is, what it is, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from airflow_reindex_provider.core.errors import ConfigurationError

_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Place:
    """:ivar line: from 1. :ivar column: from 1."""

    file: str
    line: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """:ivar says: what it is, and the remedy. :ivar stream: None of one that all streams of the file share."""

    place: Place
    says: str
    stream: str | None = None

    def of(self, stream: str) -> Problem:
        return replace(self, stream=stream)

    def __str__(self) -> str:
        whose = "" if self.stream is None else f", stream {self.stream!r}"
        return f"{self.place.file}, line {self.place.line}{whose}: {self.says}"


class StreamFileError(ConfigurationError):
    """What a file of streams says cannot be meant; each problem has its line and its remedy.

    :ivar problems: all of them, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.place.line, problem.place.column)))
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence: the nearest of what there is, or all of it."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return (
        f"There are: {', '.join(words)}."
        if len(words) < _MOST_LISTED
        else "See docs/streams-file.md for what there is."
    )
