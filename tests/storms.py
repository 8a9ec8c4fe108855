"""How long chance is at work: a few tries in each run of the tests, all of them in ``make storms``."""

from __future__ import annotations

import os

ALL = os.environ.get("REINDEX_STORMS") == "all"


def tries(each_run: int, *, of: int) -> int:
    """So many seeds, stories or rounds: ``each_run`` in ``make test``, the first of all ``of`` them that ``make storms`` goes
    through. Tests that ask here are marked ``storm``."""
    return of if ALL else each_run
