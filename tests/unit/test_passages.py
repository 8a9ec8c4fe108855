"""A document's passages: their places and offsets, their hashes, and what is no text to embed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reindex_provider.core.embedding.embedder import HASH_BYTES, Identity
from airflow_reindex_provider.core.embedding.passages import Passage, passages
from airflow_reindex_provider.core.errors import TextRefusedError

MODEL = Identity("test", "letters", 3)


def made(document: dict[str, Any], *fields: str, split: Any = str.splitlines) -> tuple[Passage, ...]:
    return passages(document, fields, split=split, hashed=MODEL.hasher())


def test_each_knows_its_field_its_place_and_where_it_stands() -> None:
    """Places count through the document, offsets begin anew in each field."""
    found = made({"title": "Boats", "body": "One.\n\n  \nTwo."}, "title", "body")
    assert [(p.field, p.place, p.start, p.end, p.text) for p in found] == [
        ("title", 0, 0, 5, "Boats"),
        ("body", 1, 0, 4, "One."),
        ("body", 2, 9, 13, "Two."),
    ]


@given(st.text(max_size=60), st.integers(1, 7))
def test_pieces_of_a_text_stand_where_they_were_cut(text: str, width: int) -> None:
    """Also where the text repeats itself, whatever whitespace lies at the cuts."""
    cuts = range(0, len(text), width)
    found = made({"body": text}, "body", split=lambda text: [text[at : at + width] for at in cuts])
    assert [p.start for p in found] == [at for at in cuts if text[at : at + width].strip()]
    assert all(p.start is not None and text[p.start : p.end] == p.text for p in found)


@given(st.lists(st.sampled_from(["a", "b", " ", "\n"]), max_size=30).map("".join))
def test_stripped_pieces_stand_where_they_were_cut(text: str) -> None:
    """A splitter that leaves out whitespace at the cuts is followed all the same."""
    found = made({"body": text}, "body", split=lambda text: [piece.strip() for piece in text.split("\n")])
    expected = []
    at = 0
    for line in text.split("\n"):
        if line.strip():
            expected.append(at + len(line) - len(line.lstrip()))
        at += len(line) + 1
    assert [p.start for p in found] == expected


def test_overlapping_pieces_stand_where_they_were_cut() -> None:
    found = made({"body": "one two three"}, "body", split=lambda _: ["one two", "two three"])
    assert [(p.start, p.end) for p in found] == [(0, 7), (4, 13)]


def test_a_piece_that_does_not_stand_in_the_text_has_no_offsets() -> None:
    """A splitter may write a heading above each piece; those that follow are found again."""
    found = made({"body": "one two"}, "body", split=lambda _: ["Boats: one", "two"])
    assert [(p.start, p.end) for p in found] == [(None, None), (4, 7)]


@pytest.mark.parametrize("nothing", [None, "", " \n\t ", "\u3000"])
def test_a_text_of_nothing_has_no_passages(nothing: str | None) -> None:
    """Providers refuse an empty text."""
    assert made({"body": nothing, "other": "x"}, "body", "missing", "other")[0].field == "other"


def test_one_of_nothing_but_whitespace_is_left_out() -> None:
    assert [p.text for p in made({"body": "x"}, "body", split=lambda _: ["", " ", "x", "\n"])] == ["x"]


@pytest.mark.parametrize(
    ("document", "split", "said"),
    [
        ({"body": 7}, str.splitlines, "holds a int, not a text"),
        ({"body": "half \ud83d"}, str.splitlines, "half of a surrogate pair"),
        ({"body": "x"}, lambda _: [b"x"], "made a bytes"),
    ],
)
def test_what_no_model_can_embed_is_said_of_the_field(document: dict[str, Any], split: Any, said: str) -> None:
    with pytest.raises(TextRefusedError, match=said) as error:
        made(document, "body", split=split)
    assert "'body'" in str(error.value)


def test_equal_text_and_model_is_equal_hash_wherever_it_stands() -> None:
    """What moved or stands in another document has its vector already."""
    first, second, third = made({"title": "same", "body": "other\nsame"}, "title", "body")
    assert first.hash == third.hash != second.hash
    assert len(first.hash) == HASH_BYTES


@pytest.mark.parametrize(
    "other",
    [
        Identity("other", "letters", 3),
        Identity("test", "words", 3),
        Identity("test", "letters", 4),
        Identity("test", "letters", 3, (("prefix", "passage: "),)),
    ],
)
def test_whatever_changes_the_numbers_changes_the_hash(other: Identity) -> None:
    assert other.hasher()("same") != MODEL.hasher()("same")


def test_the_order_of_settings_changes_nothing() -> None:
    one, two = ("a", "1"), ("b", "2")
    assert str(Identity("p", "m", 3, (one, two))) == str(Identity("p", "m", 3, (two, one)))


def test_a_hash_is_the_same_in_every_process() -> None:
    """It is compared with those that other runs have written; a change of it would embed everything anew."""
    code = (
        "from airflow_reindex_provider.core.embedding.embedder import Identity\n"
        "print(Identity('test', 'letters', 3, (('a', 'b'),)).hasher()('Boats').hex())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == "9cca288ac813a2a6ac46c99012bd9638"
