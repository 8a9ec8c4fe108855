"""What Airflow reads of the command line at the start of every command: names and options, no code of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ARG_YES, ActionCommand, Arg, GroupCommand, lazy_load_command

from airflow_reindex_provider.cli.options import argument, interval, option, positional, seconds
from airflow_reindex_provider.cli.words import DOINGS, Doing
from airflow_reindex_provider.control.status.records import StreamState

_HOME = "airflow_reindex_provider.cli"
EXITS = """Exit codes:
  0  done
  1  it failed, or something is wrong
  2  the command cannot be meant: arguments, names
  3  something else is under way, or nothing is
  4  not done yet: paused, no scheduler, an approval is missing, or the time is up"""

ARG_STREAM = argument("stream", metavar="STREAM", help="Name of the stream.")
ARG_ONE_OR_ALL = argument("stream", metavar="STREAM", nargs="?", help="Name of the stream. Default: all of them.")
ARG_STREAMS = argument("streams", metavar="STREAM", nargs="*", help="Names of streams. Default: all of them.")
ARG_RUN_ID = argument("run_id", metavar="RUN_ID", nargs="?", help="Id of the run. Needed where there are several.")
ARG_STATE = argument("--state", choices=tuple(map(str, StreamState)), help="Only the streams in this state.")
ARG_MATCH = argument("--match", metavar="TEXT", help="Only the streams whose name, source or target has this in it.")
ARG_WATCH = argument("-w", "--watch", action="store_true", help="Show it live, until Ctrl-C.")
ARG_EVERY = argument(
    "--every", type=interval, default=2.0, metavar="SECONDS", help="How often --watch looks. Default: 2."
)
ARG_EXACT = argument(
    "--exact",
    action="store_true",
    help="Ask the source, now and from this machine, how many changes wait and how old the oldest is.",
)
ARG_FILE = argument(
    "--file", metavar="PATH", help="A Dag file to take the stream from. Default: where its Dag comes from."
)
ARG_CHECKED_FILE = argument(
    "--file",
    metavar="PATH",
    help="A file of streams in YAML, which needs no database of Airflow's, or a Dag file. Default: where their Dags come from.",
)
ARG_OVERLAY = argument(
    "--overlay",
    metavar="PATH",
    action="append",
    help="A file laid over that of --file. Give the option again for each.",
)
ARG_CONN = argument("--conn", metavar="ID", required=True, help="Connection of the Postgres to look at.")
ARG_SCHEMA = argument(
    "--schema", metavar="NAME", action="append", help="Of its tables. Default: all. Give the option again for each."
)
ARG_TARGET_CONN = argument("--target-conn", metavar="ID", help="Connection of the indexes; it says their kind.")
ARG_WRITE = argument(
    "--write",
    metavar="PATH",
    help="Write the file there, its SQL and its JSON Schema beside it; what is there stays. Default: print it.",
)
ARG_AS_RUN = argument(
    "--as-run",
    action="store_true",
    help="Let a run of the stream's Dag do it, with the credentials that tasks have.",
)
ARG_DRY_RUN = argument("--dry-run", action="store_true", default=None, help="Say what would be done, and do nothing.")
ARG_NO_WAIT = argument("--no-wait", action="store_true", help="Start the run and return. Default: wait for its end.")
ARG_TIMEOUT = argument(
    "--timeout",
    type=seconds,
    metavar="SECONDS",
    help="Wait this long at the most; the run goes on. Default: no bound.",
)
ARG_ALL_RUNS = argument("--all", action="store_true", help="All runs of the stream that are under way.")

_WAITING = (ARG_NO_WAIT, ARG_TIMEOUT, ARG_OUTPUT, ARG_VERBOSE)
_SHOWING = (ARG_OUTPUT, ARG_VERBOSE)
_GROUPS = {
    "parked": "What could not be indexed and is tried again",
    "checkpoint": "How far a stream has been read",
    "tombstones": "Recorded deletions at the source",
}


def get_reindex_cli_commands() -> list[GroupCommand]:
    commands: list[ActionCommand | GroupCommand] = [
        *_reading(),
        *(_doing(doing) for doing in DOINGS if len(doing.words) == 1),
    ]
    for name, said in _GROUPS.items():
        within = [_doing(doing) for doing in DOINGS if doing.words[0] == name]
        commands.append(GroupCommand(name=name, help=said, subcommands=[*within, *_READING_IN.get(name, ())]))
    return [
        GroupCommand(
            name="reindex",
            help="See and steer streams that keep indexes true to tables",
            epilog=EXITS,
            subcommands=commands,
        )
    ]


def _reading() -> Iterable[ActionCommand]:
    yield _command("list", "All streams, and how they are", "reading.list_command", ARG_STATE, ARG_MATCH, *_SHOWING)
    yield _command(
        "status",
        "How a stream is, or all of them",
        "reading.status_command",
        *(ARG_ONE_OR_ALL, ARG_WATCH, ARG_EVERY, ARG_EXACT, ARG_FILE, ARG_AS_RUN, ARG_TIMEOUT, *_SHOWING),
    )
    yield _command(
        "check",
        "Look for what is wrong or missing: connections, rights, indexes, triggers, clocks; writes nothing",
        "looking.check_command",
        *(ARG_STREAMS, ARG_CHECKED_FILE, ARG_OVERLAY, ARG_AS_RUN, ARG_TIMEOUT, *_SHOWING),
    )
    yield _command(
        "init",
        "Look at a database's catalogue and propose a file of streams, with the SQL that is missing; changes nothing there",
        "filing.init_command",
        *(ARG_CONN, ARG_SCHEMA, ARG_TARGET_CONN, ARG_WRITE, ARG_VERBOSE),
    )
    yield _command(
        "schema", "Print the JSON Schema of a file of streams, for editors", "filing.schema_command", ARG_VERBOSE
    )
    yield _command("generations", "The indexes of a stream", "reading.generations_command", ARG_STREAM, *_SHOWING)
    yield _command(
        "cancel",
        "End a run that is under way; what it has written stays",
        "answering.cancel_command",
        *(ARG_STREAM, ARG_RUN_ID, ARG_ALL_RUNS, *_SHOWING),
    )
    yield _command(
        "approve", "Let a run go on that waits for it", "answering.approve_command", ARG_STREAM, ARG_RUN_ID, *_SHOWING
    )
    yield _command(
        "reject", "End a run that waits for an approval", "answering.reject_command", ARG_STREAM, ARG_RUN_ID, *_SHOWING
    )


def _command(name: str, said: str, code: str, *args: Arg) -> ActionCommand:
    return ActionCommand(name=name, help=said, func=lazy_load_command(f"{_HOME}.{code}"), args=args, epilog=EXITS)


_READING_IN = {
    "parked": (_command("list", "Parked documents, and why", "reading.parked_command", ARG_STREAM, *_SHOWING),),
    "checkpoint": (
        _command("show", "The cursor that was reached", "reading.checkpoint_command", ARG_STREAM, *_SHOWING),
    ),
}


def _doing(doing: Doing) -> ActionCommand:
    act = next(doing.acts)
    free = [positional(name, doing.properties[name], default=given) for name, given in doing.positional.items()]
    flags = [
        option(name, schema, required=name in act.needed)
        for name, schema in doing.properties.items()
        if name not in doing.positional
    ]
    dry = [ARG_DRY_RUN] if doing.has_dry_run else []
    yes = [ARG_YES] if doing.asks else []
    command: Callable[..., Any] = partial(lazy_load_command(f"{_HOME}.starting.act_command"), words=doing.words)
    return ActionCommand(
        name=doing.words[-1],
        help=act.says.rstrip("."),
        func=command,
        args=(ARG_STREAM, *free, *flags, *dry, *yes, *_WAITING),
        epilog=EXITS,
    )
