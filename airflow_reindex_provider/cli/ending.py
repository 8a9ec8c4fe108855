"""How a command ends: with a code that a script can rely on, and words for whoever typed it."""

from __future__ import annotations

import sys

from airflow_reindex_provider.cli.figures import printable
from airflow_reindex_provider.control.acts import UnknownArgumentsError
from airflow_reindex_provider.control.steering import (
    ConfRefusedError,
    DagPausedError,
    NotCarriedError,
    RunConflictError,
)
from airflow_reindex_provider.core.errors import ReindexError

FAILED, MISTAKEN, CONFLICT, NOT_YET, INTERRUPTED = 1, 2, 3, 4, 130
"""It failed, or something is wrong; the command cannot be meant; something else is under way, or nothing is; not done yet; the
person had enough."""


class Ending(Exception):
    """The command ends here. :ivar code: of the process."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def tell(text: str) -> None:
    """To the person, beside the command's output."""
    print(printable(text), file=sys.stderr, flush=True)


def code_of(error: Ending | ReindexError) -> int:
    if isinstance(error, Ending):
        return error.code
    if isinstance(error, (UnknownArgumentsError, ConfRefusedError, NotCarriedError)):
        return MISTAKEN
    if isinstance(error, RunConflictError):
        return CONFLICT
    return NOT_YET if isinstance(error, DagPausedError) else FAILED
