"""A search engine is asked to refresh where a question could otherwise not see what it is for."""

from __future__ import annotations

from airflow_reindex_provider.targets.search import recalling
from airflow_reindex_provider.targets.search.recalling import Refreshes

OURS, OTHER = b"ours", b"other"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_question_and_one_a_while() -> None:
    clock = Clock()
    refreshes = Refreshes(30, clock)
    assert refreshes.are_due("a", {OURS})
    assert not refreshes.are_due("a", {OURS})
    assert refreshes.are_due("b", {OURS}), "of another generation nothing is known"
    clock.now = 30
    assert refreshes.are_due("a", {OURS})
    assert not refreshes.are_due("a", {OURS})


def test_what_was_looked_for_in_vain_is_looked_for_until_it_is_there() -> None:
    refreshes = Refreshes(30, Clock())
    assert refreshes.are_due("a", {OURS})
    refreshes.answered("a", found=(), missing={OURS, OTHER})
    assert refreshes.are_due("a", {OURS})
    refreshes.answered("a", found={OURS}, missing=())
    assert not refreshes.are_due("a", {OURS})
    assert refreshes.are_due("a", {OTHER}), "it may have been written after the last refresh"


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    refreshes = Refreshes(30, Clock())
    assert refreshes.are_due("a", {OURS})
    refreshes.answered("a", found=(), missing={n.to_bytes(16, "big") for n in range(recalling._MOST_MISSING + 1)})
    assert refreshes.are_due("a", {OTHER}), "what is forgotten can be seen from now on"
    assert not refreshes.are_due("a", {(0).to_bytes(16, "big")})


def test_every_question() -> None:
    refreshes = Refreshes(0)
    assert all(refreshes.are_due("a", {OURS}) for _ in range(3))
