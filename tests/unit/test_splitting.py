"""The default splitter: nothing is lost, nothing is empty or too long, and an edit moves the cuts beside it alone."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reindex_provider.core.embedding.embedder import EmbedderSession, Identity, Limits
from airflow_reindex_provider.core.embedding.passages import Splitter, passages
from airflow_reindex_provider.core.embedding.splitting import SplitByContent
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.stable_text import stable_text


class Model:
    """Its tokens cannot be counted here."""

    identity = Identity("test", "letters", 3)
    label = "model 'letters'"
    limits = Limits(10)

    def open(self) -> AbstractContextManager[EmbedderSession]:
        raise NotImplementedError


class WordModel(Model):
    """Its tokens are words, and one of more than ten letters is several."""

    def __init__(self, text_tokens: int | None = None) -> None:
        self.limits = Limits(10, text_tokens=text_tokens)

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return [sum(-(-len(word) // 10) for word in text.split()) for text in texts]


def by_characters(most: int = 2_000) -> Splitter:
    return SplitByContent(max_characters=most).for_model(Model())


SPLIT = by_characters(80)
PIECES = [
    "boat",
    "Kettle",
    " ",
    "\n",
    "\n\n",
    ". ",
    "! ",
    "。",
    "## ",
    "- ",
    "e.g. ",
    '" ',
    "x" * 200,
    "👍🏽",
    "\u3000",
]
TEXTS = st.one_of(st.text(max_size=400), st.lists(st.sampled_from(PIECES), max_size=120).map("".join))


def without_space(text: str) -> str:
    return "".join(text.split())


@given(TEXTS)
def test_nothing_is_lost_or_said_twice(text: str) -> None:
    """Only whitespace between passages goes."""
    assert without_space("".join(SPLIT(text))) == without_space(text)


@given(TEXTS)
def test_none_is_empty_or_too_long_or_begins_with_nothing(text: str) -> None:
    assert all(piece and piece == piece.strip() and len(piece) <= 80 for piece in SPLIT(text))


@given(TEXTS)
def test_each_stands_in_the_text(text: str) -> None:
    """So every passage has offsets, in the order of the text."""
    found = passages({"body": text}, ["body"], split=SPLIT, hashed=lambda _: b"")
    spans = [(p.start, p.end) for p in found]
    assert None not in {start for start, _ in spans}
    assert spans == sorted(spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@given(TEXTS)
def test_what_fits_is_not_cut(text: str) -> None:
    """And what was cut once is not cut again."""
    for piece in SPLIT(text):
        assert SPLIT(piece) == [piece]


def test_paragraphs_before_sentences_before_lines() -> None:
    sentence = "It carries forty copper kettles."
    paragraph = f"{sentence} {sentence}"
    assert SPLIT(f"{paragraph}\n\n{paragraph}") == [paragraph, paragraph]
    assert SPLIT(f"{sentence} {sentence}\n{sentence}")[-1] in (f"{sentence}\n{sentence}", sentence)
    assert len(by_characters(60)(f"{'kettle ' * 7}\n{'copper ' * 7}")) == 2


def test_a_heading_stays_with_what_it_is_above() -> None:
    part = "It carries forty copper kettles, and a lantern for each."
    text = "\n\n".join(f"## Boats {number}\n\n{part}" for number in range(20))
    assert by_characters(90)(text) == text.split("\n\n## ")[:1] + ["## " + rest for rest in text.split("\n\n## ")[1:]]


# -- cuts that stay

WORDS = [
    "harbour",
    "lantern",
    "quietly",
    "measures",
    "forty",
    "copper",
    "kettles",
    "beside",
    "another",
    "window",
    "under",
]


def prose(chance: random.Random, paragraphs: int) -> list[str]:
    def sentence() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(5, 20))).capitalize() + "."

    return [" ".join(sentence() for _ in range(chance.randint(1, 8))) for _ in range(paragraphs)]


def test_an_edit_moves_the_cuts_beside_it_alone() -> None:
    """In a text of 400 kB, wherever a paragraph is put in or taken out; with a usual splitter it is most of what follows."""
    chance = random.Random(3)
    paragraphs = prose(chance, 1_200)
    split = by_characters()
    before = set(split("\n\n".join(paragraphs)))
    assert len(before) > 200
    changed = []
    for _ in range(10):
        at = chance.randrange(len(paragraphs))
        changed.append(set(split("\n\n".join([*paragraphs[:at], *prose(chance, 1), *paragraphs[at:]]))) - before)
        changed.append(set(split("\n\n".join([*paragraphs[:at], *paragraphs[at + 1 :]]))) - before)
    assert max(map(len, changed)) <= 4
    assert sum(map(len, changed)) / len(changed) < 2


def test_a_text_inside_another_is_cut_as_by_itself() -> None:
    """But for its ends: cuts do not count from the beginning."""
    chance = random.Random(3)
    passages_of_both = shared_by_both = 0
    for _ in range(20):
        shared = "\n\n".join(prose(chance, 60))
        first, second = ("\n\n".join([*prose(chance, 3), shared, *prose(chance, 3)]) for _ in range(2))
        one, other = set(by_characters()(first)), set(by_characters()(second))
        passages_of_both += len(one)
        shared_by_both += len(one & other)
    assert shared_by_both > 0.8 * passages_of_both


# -- what is no prose


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2_000_000,
        "👍🏽" * 600_000,
        "." * 2_000_000,
        "same. " * 200_000,
        "word " * 400_000,
        "\n \n" * 600_000 + "x",
    ],
    ids=["no space", "one emoji", "dots", "one sentence", "no sentence", "nothing"],
)
def test_megabytes_of_anything_take_seconds(text: str) -> None:
    """Processor time, so that a busy machine fails nothing; work that grew with the square would take an hour."""
    started = time.process_time()
    pieces = by_characters()(text)
    assert time.process_time() - started < 30
    assert max(map(len, pieces)) <= 2_000
    assert without_space("".join(pieces)) == without_space(text)


# -- sizes


@given(TEXTS)
def test_sizes_are_in_tokens_where_the_model_has_a_tokenizer(text: str) -> None:
    model = WordModel()
    pieces = SplitByContent(max_tokens=20).for_model(model)(text)
    assert all(count <= 20 for count in model.count_tokens(pieces))
    assert without_space("".join(pieces)) == without_space(text)


def test_no_passage_has_more_tokens_than_the_model_takes() -> None:
    model = WordModel(text_tokens=16)
    pieces = SplitByContent(max_tokens=500).for_model(model)("kettle " * 500)
    assert max(model.count_tokens(pieces)) <= 16


def test_a_text_is_known_by_the_sizes_too() -> None:
    """What an index was split by is compared with what the stream says."""
    assert stable_text(SplitByContent()) == "SplitByContent(max_tokens=500, max_characters=2000)"


@pytest.mark.parametrize("sizes", [{"max_tokens": 0}, {"max_characters": 15}])
def test_passages_of_nothing_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="less than 16"):
        SplitByContent(**sizes)
