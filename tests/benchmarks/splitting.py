"""Passages to embed again after one edit: ours, beside the splitter that most people take.

The texts are what the installed distributions say of themselves: prose, lists and code, as documents have them.
"""

from __future__ import annotations

import random
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import metadata

from airflow_reindex_provider.core.embedding.embedder import EmbedderSession, Identity, Limits
from airflow_reindex_provider.core.embedding.splitting import SplitByContent
from tests.benchmarks.contest import say
from tests.benchmarks.figures import Figure

Splitter = Callable[[str], Sequence[str]]

_LENGTHS = range(2_000, 200_000)
_EDITS_A_TEXT = 3
_WORDS = ("harbour", "lantern", "quietly", "measures", "forty", "copper", "kettles", "beside", "another", "window")
_KINDS = ("word", "paragraph_in", "paragraph_out", "appended")


class _Model:
    """Its tokens cannot be counted, as with most providers."""

    identity = Identity("none", "none", 1)
    limits = Limits(1)
    label = "no model"

    def open(self) -> AbstractContextManager[EmbedderSession]:
        raise NotImplementedError


def figures() -> list[Figure]:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    def recursive(size: int, overlap: int) -> Splitter:
        return RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=overlap).split_text

    texts = list(_texts())
    ours = _measure(SplitByContent().for_model(_Model()), texts)
    # As large as ours come to be, so that a text has about as many; and as its own guide has it.
    rivals = {"recursive 1,200/0": recursive(1_200, 0), "recursive 1,000/200": recursive(1_000, 200)}
    found = {"SplitByContent": ours, **{name: _measure(split, texts) for name, split in rivals.items()}}

    say(
        f"{len(texts)} texts, {sum(map(len, texts)) / 1e6:.1f} MB; passages to embed again after one edit, mean (worst):"
    )
    say(f"{'':<22}{'a text':>8}" + "".join(f"{kind:>18}" for kind in _KINDS))
    for name, (many, again) in found.items():
        cells = "".join(f"{f'{statistics.mean(again[kind]):.2f} ({max(again[kind])})':>18}" for kind in _KINDS)
        say(f"{name:<22}{many:>8.1f}{cells}")
    mean = {kind: statistics.mean(ours[1][kind]) for kind in _KINDS}
    # The limits are what a prototype had, on other texts.
    return [
        Figure.alone("split_word", mean["word"], "passages", at_most=1.4),
        Figure.alone("split_paragraph_in", mean["paragraph_in"], "passages", at_most=2.1),
        Figure.alone("split_paragraph_out", mean["paragraph_out"], "passages", at_most=1.7),
        Figure.alone("split_appended", mean["appended"], "passages", at_most=1.3),
    ]


def _texts() -> Iterator[str]:
    for found in sorted(metadata.distributions(), key=lambda found: found.name.lower()):
        about = found.metadata
        text = str(about.get_payload() or about.get("Description") or "")  # type: ignore[attr-defined]  # an email message
        if len(text) in _LENGTHS:
            yield text


def _measure(split: Splitter, texts: Sequence[str]) -> tuple[float, dict[str, list[int]]]:
    """How many passages a text has, and of each kind of edit how many are new after it. The same edits for everybody."""
    chance = random.Random(7)
    again: dict[str, list[int]] = {kind: [] for kind in _KINDS}
    many = []
    for text in texts:
        before = set(split(text))
        many.append(len(before))
        for _ in range(_EDITS_A_TEXT):
            for kind, edited in _edits(text, chance):
                again[kind].append(len(set(split(edited)) - before))
    return statistics.mean(many), again


def _edits(text: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    word = chance.choice(list(re.finditer(r"\b[a-z]{3,}\b", text)))
    yield "word", text[: word.start()] + chance.choice(_WORDS) + text[word.end() :]
    paragraphs = text.split("\n\n")
    at = chance.randrange(len(paragraphs))
    new = " ".join(f"{' '.join(chance.choices(_WORDS, k=20)).capitalize()}." for _ in range(3))
    yield "paragraph_in", "\n\n".join([*paragraphs[:at], new, *paragraphs[at:]])
    yield "paragraph_out", "\n\n".join([*paragraphs[:at], *paragraphs[at + 1 :]])
    yield "appended", f"{text}\n\n{new}"
