"""A document and its passages are one, under every order of events; the classic mistakes of vector stores are planted one by
one, and caught."""

from __future__ import annotations

import pytest
from interleavings import play, play_until_caught
from passages_interleavings import Passages, PassageTarget
from storms import tries

from airflow_reindex_provider.core.model import Counts, Document
from airflow_reindex_provider.testing.memory_target import _Index


class PassagesWithoutVersion(PassageTarget):
    """(k) the row is fenced, its passages are written whatever has become of it."""

    def _take(self, index: _Index, document: Document) -> tuple[Counts, str | None]:
        taken = super()._take(index, document)
        if all(p.hash in self.given for p in document.passages):
            self.put_passages(document)
        return taken


class PassagesAddedOnly(PassageTarget):
    """(l) those that are new are written, and nobody takes away those that a shorter document left."""

    def put_passages(self, document: Document) -> None:
        before = self.held(self.writing).get(document.key, {})
        super().put_passages(document)
        self.held(self.writing)[document.key] = {**before, **self.held(self.writing)[document.key]}


class PassagesAfterTheirRow(PassageTarget):
    """(m) rows first, passages in a second step, which a crash leaves out."""

    was_crashing = False

    def _take(self, index: _Index, document: Document) -> tuple[Counts, str | None]:
        held = dict(self.held(self.writing))
        taken = super()._take(index, document)
        if self._crash is None and self.was_crashing:
            self.vectors[self.writing] = held
        return taken

    def crash_after(self, chunks: int | None, *, documents: int = 0) -> None:
        self.was_crashing = chunks is not None
        super().crash_after(chunks, documents=documents)


class Unfenced(Passages):
    target_class = PassagesWithoutVersion


class AddedOnly(Passages):
    target_class = PassagesAddedOnly


class TwoSteps(Passages):
    target_class = PassagesAfterTheirRow


@pytest.mark.storm
def test_documents_and_passages_are_one_under_every_interleaving() -> None:
    """No order of events breaks promises 1 to 6, nor that a document has what its text makes."""
    play(Passages, tries(25, of=200))


@pytest.mark.parametrize(
    ("planted", "good_seed"),
    [
        pytest.param(Unfenced, 2, id="passages-without-version"),
        pytest.param(AddedOnly, 1, id="passages-added-only"),
        pytest.param(TwoSteps, 2, id="passages-after-their-row"),
    ],
)
def test_a_planted_mistake_is_caught(planted: type[Passages], good_seed: int) -> None:
    """The machine that finds nothing in the core finds each of the classic mistakes."""
    with pytest.raises(AssertionError, match="passages: "):
        play_until_caught(planted, good_seed=good_seed)
