"""What COPY has escaped in a value is the value again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_reindex_provider.databases.postgres.text_copy import cells_of

_WRITTEN = {"\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
"""As Postgres documents it."""


@given(st.lists(st.text("\\\b\f\n\r\t\vbfnrtvNé"), min_size=1))
def test_values_come_back(values: list[str]) -> None:
    line = "\t".join("".join(_WRITTEN.get(letter, letter) for letter in value) for value in values)
    assert cells_of(line.encode() + b"\n") == [value.encode() for value in values]


def test_null_is_no_text() -> None:
    assert cells_of(rb"\N" + b"\t" + rb"\\N" + b"\n") == [None, rb"\N"]
