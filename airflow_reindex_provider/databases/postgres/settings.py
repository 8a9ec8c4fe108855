"""Settings of the server that would change what our SQL means or what it answers: the one place where they are settled."""

from __future__ import annotations

READER_TAG = "airflow_reindex_reader"
"""``application_name`` of our readers begins like this, see :data:`IS_OUR_READER`."""

WRITER_TAG = "airflow_reindex_writer"

_BEGAN = "(extract(epoch FROM {}) * 1000000)::bigint"

IS_OUR_READER = f"application_name = '{READER_TAG} ' || {_BEGAN.format('xact_start')}"
"""Condition on a row of ``pg_stat_activity``. Our transactions that only read carry their own start in their name, so no other
transaction is taken for one: not of a session that once was ours, nor of somebody who likes the name."""

SETTLED = {
    # Whatever the server, the database or the role sets, the same value always becomes the same text or bytes ...
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "xmlbinary": "base64",
    # ... names the same names, and our statements mean the same.
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "xmloption": "content",
    # A row-level policy would hide rows in silence; with this, Postgres raises an error instead.
    "row_security": "off",
    # Would leave out rows of what an index answers.
    "gin_fuzzy_search_limit": "0",
    # A document that is refused must not end the session.
    "exit_on_error": "off",
}

REFUSED = {"zero_damaged_pages": "on", "ignore_checksum_failure": "on"}
"""What only a superuser can set, and we not undo: a session that has it is not used."""

# What lies in pg_catalog comes first, and what lies in a temporary schema last, whoever made it in a pooled session.
_SEARCH_PATH = """SELECT pg_catalog.set_config('search_path', coalesce((
  SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ' ORDER BY n) OPERATOR(pg_catalog.||) ', pg_temp'
  FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p(s, n)
  WHERE s OPERATOR(pg_catalog.<>) 'pg_catalog' AND NOT pg_catalog.starts_with(s::pg_catalog.text, 'pg_temp')
), ''), true)"""

# What is acknowledged must be safe, on disk and at the standbys that the server waits for.
_SYNCHRONOUS_COMMIT = "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END"


def opening(tag: str, *, read_only: bool) -> bytes:
    """The beginning of each of our transactions: BEGIN, and the settings, which end with it."""
    settings = {name: f"'{value}'" for name, value in SETTLED.items()}
    if read_only:
        settings["application_name"] = f"'{tag} ' || {_BEGAN.format('now()')}"
    else:
        settings["application_name"] = f"'{tag}'"
        settings["synchronous_commit"] = _SYNCHRONOUS_COMMIT
    calls = ", ".join(f"set_config('{name}', {value}, true)" for name, value in settings.items())
    # Statements see what is committed before each of them, as our own order of asking and reading needs it.
    mode = "ISOLATION LEVEL READ COMMITTED" + (", READ ONLY" if read_only else "")
    return f"BEGIN {mode}; {_SEARCH_PATH}; SELECT {calls}".encode()
