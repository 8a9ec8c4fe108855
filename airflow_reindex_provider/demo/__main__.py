"""`python -m airflow_reindex_provider.demo [--stay]`: starts all that is needed, tells the story, leaves nothing behind."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from types import FrameType

try:
    from rich.console import Console
except ImportError:
    sys.exit("The demo needs an extra: pip install 'airflow-reindex-provider[demo]'")

from airflow_reindex_provider.demo.corpus import ROWS, read_corpus
from airflow_reindex_provider.demo.docs_table import load
from airflow_reindex_provider.demo.story import Story
from airflow_reindex_provider.plugin.entry import PAGE
from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres

_DAGS = Path(__file__).parent / "dags"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupted(KeyboardInterrupt):
    """A signal has asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: list[str] | None = None) -> int:
    """:returns: 0, or 1 when anything was not as it should be, or 128 + the signal that interrupted."""
    parser = argparse.ArgumentParser(prog="python -m airflow_reindex_provider.demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave Airflow and its UI open until Ctrl-C")
    stay = parser.parse_args(arguments).stay
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=140)
    _on_signals(_interrupt)
    try:
        _demo(console, stay=stay)
    except _Interrupted as interrupted:
        console.print("\nInterrupted; all that was started has been stopped.")
        return 128 + interrupted.number
    except RuntimeError as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False)
        return 1
    return 0


def _demo(console: Console, *, stay: bool) -> None:
    began = time.monotonic()
    console.print(
        "This takes one to three minutes on two cores. A PostgreSQL and an Airflow are started in a temporary folder; "
        + ("they stay until Ctrl-C." if stay else "nothing of them is left at the end.")
    )

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:4.0f} s[/]  {text}", highlight=False)

    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="reindex-demo-", ignore_cleanup_errors=True))
        postgres = stack.enter_context(EmbeddedPostgres(durable=False))
        docs = postgres.create_database("docs", conn_id="docs_db")
        search = postgres.create_database("search", conn_id="search_db")
        # What is imported by now stays: the collector need not look at it again after every few syntax trees.
        gc.freeze()
        stopped = threading.Event()
        corpus = stack.enter_context(ThreadPoolExecutor(1)).submit(_load_corpus, docs, stopped)
        stack.callback(stopped.set)
        say("PostgreSQL is up. Airflow starts; meanwhile the docstrings of this Python's source files are read.")
        env = {**docs.env, **search.env}
        airflow = stack.enter_context(Airflow(home, dag_folders={"demo": _DAGS}, postgres=postgres, env=env))
        # Runs first of all at the end: no signal is to interrupt what cleans up.
        stack.callback(_on_signals, _ignore)
        say(f"Airflow is up: {airflow.url}  user {airflow.user}  password {airflow.password}")
        say(f"{corpus.result():,} documented functions and classes are in the table api_docs.")
        Story(airflow, docs, search, console).tell()
        console.print()
        say("All as expected.")
        if stay:
            say(f"The UI is open: {airflow.url}  user {airflow.user}  password {airflow.password}  (Ctrl-C ends)")
            say(f"The page of the streams: {airflow.url}{PAGE}")
            _wait_for_signal()
        say("Stopping.")
    say("Done; nothing is left running.")


def _load_corpus(docs: Database, stopped: threading.Event) -> int:
    with docs.connect() as connection:
        return load(connection, takewhile(lambda _: not stopped.is_set(), read_corpus(ROWS)))


def _wait_for_signal() -> None:
    try:
        while True:
            signal.pause()
    except _Interrupted:
        return


def _on_signals(handler: object) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)  # type: ignore[arg-type]


def _interrupt(number: int, frame: FrameType | None) -> None:
    _on_signals(_ignore)
    raise _Interrupted(number)


def _ignore(number: int, frame: FrameType | None) -> None:
    # A handler, and not SIG_IGN, which the processes started for the clean-up would inherit.
    pass


if __name__ == "__main__":
    sys.exit(main())
