"""What a task's imports left in memory is not searched for garbage while it works."""

from __future__ import annotations

import gc

from airflow_reindex_provider.operators.collecting import sparing_imports


def test_what_was_there_is_spared_and_what_comes_is_collected() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.own = self

    alive = Cycle()
    before = gc.get_freeze_count()
    with sparing_imports():
        assert gc.get_freeze_count() > 0
        assert not any(found is alive for found in gc.get_objects())
        Cycle()
        assert gc.collect() > 0
    assert gc.get_freeze_count() == before


def test_what_somebody_else_spares_stays_theirs() -> None:
    if others := gc.get_freeze_count():
        gc.unfreeze()
    gc.freeze()
    try:
        with sparing_imports():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        if not others:
            gc.unfreeze()
