"""Lets one writer at a time into a collection, by aliases: Weaviate's consensus makes an alias once, whoever asks, and that is
the only thing it does under a condition.

The aliases of a collection's lock are numbered. The greatest tells how it stands: an odd one means that it is held, an even one
that it was given back; whoever makes the next number has it. A holder writes under its alias's name. One that dies leaves its
number standing, and whoever has seen it stand for :data:`TAKE_OVER_S`, by a clock of its own, makes the next odd one, and points
the other's alias at the register, which takes no objects: what that one may still send is refused.

This rests on Weaviate to be done within that time with a request that it has begun.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_reindex_provider.core.errors import ReindexError, TransientError
from airflow_reindex_provider.targets.weaviate.definition import LOCK
from airflow_reindex_provider.targets.weaviate.server import ExistsError, MissingError, Server

log = logging.getLogger(__name__)

TAKE_OVER_S = 60.0
_LOOK_EVERY_S = 0.02
_LONGEST_WAIT_S = 900.0


@dataclass(slots=True)
class Hold:
    """:ivar alias: the name to write under. :ivar doubtful: a request is under way, or nobody knows what became of it: then the
    lock is not given back, and others wait as if its holder had died."""

    alias: str
    doubtful: bool = False


class Lock:
    """:param collection: may be the register itself. :param register: of the index."""

    def __init__(self, server: Server, collection: str, register: str) -> None:
        self._server = server
        self._collection = collection
        self._register = register

    @contextmanager
    def held(self) -> Iterator[Hold]:
        """:raises MissingError: there is no such collection. :raises TransientError: it was not to be had for long."""
        number = self._taken()
        hold = Hold(self._name(number))
        try:
            yield hold
        finally:
            if not hold.doubtful:
                self._give_back(number)

    def is_held(self, hold: Hold) -> bool:
        """Whether nobody has taken it over."""
        return hold.alias == self._name(max(self._numbers(), default=0))

    def _taken(self) -> int:
        seen, since, began = 0, time.monotonic(), time.monotonic()
        while True:
            last = max(self._numbers(), default=0)
            now = time.monotonic()
            if last != seen:
                seen, since = last, now
            if last % 2 == 0 or now - since >= TAKE_OVER_S:
                if (number := self._made(last + 1 + last % 2)) is not None:
                    if last % 2:
                        log.info("The lock of %s was taken over from a holder that is gone.", self._collection)
                    return number
            elif now - began > _LONGEST_WAIT_S:
                raise TransientError(
                    f"{self._server.label}: others have written to {self._collection} all the time for"
                    f" {_LONGEST_WAIT_S / 60:.0f} minutes. Let fewer batches run at once (max_active_batches)."
                )
            else:
                time.sleep(_LOOK_EVERY_S)

    def _made(self, number: int) -> int | None:
        """None where somebody else was first."""
        try:
            self._server.make_alias(self._name(number), self._collection)
        except ExistsError:
            return None
        there = self._numbers()
        if max(there, default=0) != number:
            # Between the look and this, others had it and gave it back.
            self._server.drop_alias(self._name(number))
            return None
        self._tidy(there - {number})
        return number

    def _tidy(self, earlier: set[int]) -> None:
        """Nobody writes under an earlier number from now on."""
        for number in sorted(earlier):
            if number % 2 and number + 1 not in earlier:
                self._server.point(self._name(number), self._register)
            else:
                self._server.drop_alias(self._name(number))

    def _give_back(self, number: int) -> None:
        try:
            self._server.make_alias(self._name(number + 1), self._collection)
        except (ExistsError, MissingError):
            # Taken over meanwhile, or dropped with its collection.
            pass
        except ReindexError as error:
            log.info("The lock of %s is not given back, others will take it over: %s", self._collection, error)

    def _numbers(self) -> set[int]:
        begins = self._collection + LOCK
        return {
            int(name.removeprefix(begins)) for name in self._server.aliases(self._collection) if is_lock(name, begins)
        }

    def _name(self, number: int) -> str:
        return f"{self._collection}{LOCK}{number}"


def is_lock(alias: str, begins: str) -> bool:
    """:param begins: the name of a collection and :data:`LOCK`."""
    return alias.startswith(begins) and alias.removeprefix(begins).isdigit()
