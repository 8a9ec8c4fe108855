"""A file of streams for a database, as somebody would write it who has looked at the catalogue; comments say the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import yaml

from airflow_reindex_provider.core.model import Finding, Level
from airflow_reindex_provider.sources.postgres.proposing import Proposal
from airflow_reindex_provider.sources.postgres.source import PostgresSource

_HEAD = """\
# yaml-language-server: $schema=reindex.schema.json
# The schema is what `airflow reindex schema` prints. Proposed from the catalogue of {conn_id}: take out what no search needs.
version: 1
defaults:
  source: {{conn_id: {conn_id}}}
  target: {{type: {type}, conn_id: {target}}}{unsure}
  reindex: {{schedule: "*/5 * * * *"}}
  # What is deleted outright leaves the index with the sweep, if nothing tells it before.
  sweep: {{schedule: "@weekly"}}
streams:
"""


def source_of(proposal: Proposal, conn_id: str) -> PostgresSource:
    """Of one that is ready."""
    assert proposal.key is not None
    assert proposal.cursor is not None
    return PostgresSource(
        conn_id,
        table=proposal.table,
        primary_key=proposal.key,
        cursor_field=proposal.cursor,
        cursor_timezone=proposal.zone,
        soft_delete_column=proposal.gone,
        tombstones=proposal.recorded,
    )


def file_of(
    proposals: Sequence[Proposal],
    found: Mapping[str, Sequence[Finding]],
    *,
    conn_id: str,
    target: tuple[str, str] | None,
) -> str:
    """The text of the file.

    :param found: what the doctor says of the tables that are ready, by name. :param target: type and connection of the
        indexes; None where nobody has said."""
    kind, to = target or ("opensearch", "opensearch")
    head = _HEAD.format(
        conn_id=_word(conn_id),
        type=kind,
        target=_word(to),
        unsure="" if target else "  # Say where the indexes are to be.",
    )
    names = _names(proposals)
    lines = [line for p in proposals for line in _stream(p, names[p.table], found.get(p.table, ()), kind)]
    return head + "\n".join(lines or ["  {}  # The database has no table."]) + "\n"


def sql_of(proposals: Iterable[Proposal], found: Mapping[str, Sequence[Finding]]) -> str:
    """The statements that are missing, by table; empty where none is."""
    parts = []
    for proposal in proposals:
        told = [*proposal.missing, *_statements(found.get(proposal.table, ()))]
        if told:
            parts.append("\n".join([f"-- {proposal.table}", *told]))
    return "\n\n".join(parts) + "\n" if parts else ""


def _statements(found: Iterable[Finding]) -> Iterator[str]:
    seen = set()
    for finding in found:
        if finding.level is not Level.OK and finding.statement and finding.statement not in seen:
            seen.add(finding.statement)
            yield finding.statement


def _stream(proposal: Proposal, name: str, found: Sequence[Finding], kind: str) -> Iterator[str]:
    rows = "" if proposal.rows is None else f" About {proposal.rows:,} rows."
    yield ""
    yield f"  # {proposal.table}:{rows} {_how_rows_leave(proposal)}"
    wrong = [finding for finding in found if finding.level is Level.WRONG]
    for finding in found:
        if finding.level is not Level.OK:
            yield from _comment(f"{finding.what}: {finding.says}")
    missing = list(proposal.missing)
    if missing:
        yield "  # It can be no stream before this has run:"
        yield from (f"  #   {line}" for statement in missing for line in statement.splitlines())
    yield f"  {_word(name)}:"
    yield "    source:"
    yield f"      table: {_word(proposal.table)}"
    yield f"      primary_key: {_word(list(proposal.key or ['id']))}" + ("" if proposal.key else "  # Choose one.")
    yield f"      cursor_field: {_word(proposal.cursor or 'updated_at')}"
    if proposal.zone:
        yield f"      cursor_timezone: {_word(proposal.zone)}  # Of the sessions that write it."
    if proposal.gone:
        yield f"      soft_delete_column: {_word(proposal.gone)}"
    if proposal.recorded:
        yield "      tombstones: true"
    index = f"{proposal.schema}.{proposal.name}_index" if kind == "postgres" else name.lower().lstrip("_-+.")
    yield f"    target: {{index: {_word(index)}}}"
    if not proposal.is_ready or wrong:
        yield "    enabled: false"


def _how_rows_leave(proposal: Proposal) -> str:
    if proposal.gone:
        return f"Rows are marked as deleted in {proposal.gone}."
    if proposal.recorded:
        return "Deletions are recorded beside it."
    return "Nothing records what is deleted: the sweep finds it, or `airflow reindex tombstones install` sees to it."


def _comment(text: str) -> Iterator[str]:
    line = "  #"
    for word in " ".join(text.split()).split(" "):
        if len(line) + len(word) > 118:
            yield line
            line = "  #  "
        line += f" {word}"
    yield line


def _names(proposals: Iterable[Proposal]) -> dict[str, str]:
    """Of the streams: the table's, with the schema's before it where it is not ``public``."""
    return {
        p.table: "".join(
            letter if (letter.isalnum() and letter.isascii()) or letter in "_.-" else "_"
            for letter in (p.name if p.schema == "public" else f"{p.schema}_{p.name}")
        )
        for p in proposals
    }


def _word(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("...").rstrip("\n")
