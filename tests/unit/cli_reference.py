"""The tables of docs/command-line.md, from the parser. Run as a program, it writes them into the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from airflow_reindex_provider.cli.definition import get_reindex_cli_commands

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
BEGIN, END = "<!-- from the parser: begin -->\n", "<!-- from the parser: end -->\n"
_COMMON = ("--no-wait", "--timeout", "--output", "--verbose")


def reference() -> str:
    commands = list(_commands(get_reindex_cli_commands()[0].subcommands))
    lines = ["| command, after `airflow reindex` | what it does |", "|---|---|"]
    lines += [f"| `{_usage(words, command)}` | {_cell(command.help)} |" for words, command in commands]
    lines += ["", "| option or argument | meaning |", "|---|---|"]
    told: dict[str, None] = {}
    for _, command in commands:
        for arg in command.args:
            told.setdefault(f"| `{_written(arg)}` | {_cell(arg.kwargs['help'])} |")
    return "\n".join([*lines, *sorted(told, key=lambda line: (line.startswith("| `-"), line))]) + "\n"


def page_with(tables: str) -> str:
    """The page, with these in the place of those that it has."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    return before + BEGIN + tables + END + rest.split(END)[1]


def _commands(found: Iterable[object], words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ActionCommand]]:
    for command in sorted(found, key=lambda c: c.name):  # type: ignore[attr-defined]
        if isinstance(command, GroupCommand):
            yield from _commands(command.subcommands, (*words, command.name))
        elif isinstance(command, ActionCommand):
            yield (*words, command.name), command


def _usage(words: tuple[str, ...], command: ActionCommand) -> str:
    free = [_placed(arg) for arg in command.args if not arg.flags[0].startswith("-")]
    flags = [arg for arg in command.args if arg.flags[0].startswith("-") and arg.flags[-1] not in _COMMON]
    shown = [_written(arg) if arg.kwargs.get("required") else f"[{_written(arg)}]" for arg in flags]
    return " ".join([*words, *free, *shown]).replace("|", "\\|")


def _placed(arg: Arg) -> str:
    optional = {"?": "[{}]", "*": "[{} ...]"}.get(arg.kwargs.get("nargs"), "{}")
    return optional.format(_written(arg))


def _written(arg: Arg) -> str:
    flag = arg.flags[-1]
    choices = arg.kwargs.get("choices")
    value = "{" + ",".join(choices) + "}" if choices else arg.kwargs.get("metavar") or ""
    if not flag.startswith("-"):
        return value
    takes_none = arg.kwargs.get("action") == "store_true"
    return flag if takes_none else f"{flag} {value}"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page_with(reference()))
