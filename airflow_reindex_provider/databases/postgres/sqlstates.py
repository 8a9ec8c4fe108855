"""What each SQLSTATE asks for: another try, a person, or that one row be put aside. The whole list, decided code by code."""

from __future__ import annotations

from enum import StrEnum

import psycopg
from psycopg import errors


class AnotherServer(psycopg.OperationalError):
    """Something between us and the server spreads transactions over several."""


class Verdict(StrEnum):
    RETRY = "retry"
    """Comes from the moment: a retry goes on after the last chunk."""
    FIX = "fix"
    """Comes back with every try until a person has mended something."""
    ROW = "row"
    """Comes from a value of one row. Who writes rows can put that one aside; for everybody else a person must mend it."""


_CODES = {
    Verdict.RETRY: """
        08000 08001 08003 08004 08006 08007 08P01
        25P03 25P04
        40000 40001 40002 40003 40P01
        53000 53100 53200 53300
        55006 55P03
        57000 57014 57P01 57P02 57P03 57P05
        58000 58030
        72000
        HV000 HV001 HV00L HV00M HV00N
        XX000
    """,
    Verdict.FIX: """
        02000 02001 03000 09000 0A000 0B000 0F000 0F001 0L000 0LP01 0P000 0Z000 0Z002 10608 20000 21000
        22P04
        24000
        25000 25001 25002 25003 25004 25005 25006 25007 25008 25P01 25P02
        26000 27000 28000 28P01 2B000 2BP01 2D000
        2F000 2F002 2F003 2F004 2F005
        34000 38000 38001 38002 38003 38004 39000 39001 39004 39P01 39P02 39P03 3B000 3B001 3D000 3F000
        42000 42501 42601 42602 42611 42622 42701 42702 42703 42704 42710 42712 42723 42725 42803 42804 42809 42830 42846
        42883 428C9 42939 42P01 42P02 42P03 42P04 42P05 42P06 42P07 42P08 42P09 42P10 42P11 42P12 42P13 42P14 42P15 42P16
        42P17 42P18 42P19 42P20 42P21 42P22
        53400
        54001 54011 54023
        55000 55P02 55P04
        57P04
        58P01 58P02 58P03
        F0000 F0001
        HV002 HV004 HV005 HV006 HV007 HV008 HV009 HV00A HV00B HV00C HV00D HV00J HV00K HV00P HV00Q HV00R HV010 HV014 HV021
        HV024 HV090 HV091
        XX001 XX002
    """,
    Verdict.ROW: """
        22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G 2200H 2200L 2200M 2200N 2200S
        2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019 2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023
        22024 22025 22026 22027 2202E 2202G 2202H 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B
        2203C 2203D 2203E 2203F 2203G 22P01 22P02 22P03 22P05 22P06
        23000 23001 23502 23503 23505 23514 23P01
        44000
        54000
        P0000 P0001 P0002 P0003 P0004
    """,
}

VERDICTS = {code: verdict for verdict, codes in _CODES.items() for code in codes.split()}

REFUSALS: tuple[type[psycopg.Error], ...] = (
    errors.DataError,
    errors.IntegrityError,
    *(
        errors.lookup(code)
        for code, verdict in VERDICTS.items()
        if verdict is Verdict.ROW and code[:2] not in ("22", "23")
    ),
)
"""What Postgres refuses because of a row, not because of itself: a value that does not cast, a constraint, a trigger's objection,
a text too long for an index or a tsvector."""

REMEDIES = {
    "22021": "A text is not in the encoding that its database states, as SQL_ASCII allows: mend the row, or read it through a"
    " query that says what it is, convert_from(convert_to(column, 'SQL_ASCII'), 'LATIN1') for example.",
    "22P05": "The database of the index cannot hold this character: make it ENCODING 'UTF8'.",
    "25006": "The role or its transactions are read only (default_transaction_read_only), or this is a standby: let the"
    " role write, or point the connection at the primary.",
    "25P03": "idle_in_transaction_session_timeout of the role or the database is shorter than the other side takes for a chunk:"
    " raise it for this role, or lower chunk_rows.",
    "25P04": "transaction_timeout of the role or the database is shorter than a batch (of the source) or a chunk (of the target)"
    " takes: raise it for this role, or lower batch_size or chunk_rows.",
    "53100": "Make room on the disk of the server, or of the tablespace; what was acknowledged stays, and a retry goes on"
    " behind it.",
    "53300": "The server has no connection left: raise max_connections, or run fewer batches at once.",
    "53400": "temp_file_limit of the role is too small for this statement: raise it, or work_mem, or maintenance_work_mem where"
    " an index is built, or create the index that the warnings of the plan ask for.",
    "54011": "Name fewer columns, with columns=.",
    "55P03": "Somebody holds a lock on it for longer than lock_timeout.",
    "57014": "If it was a timeout: raise statement_timeout for this role, or lower batch_size (of the source) or"
    " chunk_rows (of the target).",
    "57P05": "idle_session_timeout of the role or the database is shorter than the other side takes for a chunk: raise it for"
    " this role, or lower chunk_rows.",
    "XX001": "The data are damaged, says the server: restore the table before an index is made from it.",
    "XX002": "An index of the table is damaged, says the server: REINDEX it.",
    **dict.fromkeys(("42P01", "42703", "42704", "3F000"), "Mend the stream, or bring the object back."),
}


BAD_ENCODING = REMEDIES["22021"]
_LOST = (
    "If it comes again, the server's log says why: a restart, somebody who ended the session, or one of transaction_timeout,"
    " idle_session_timeout and idle_in_transaction_session_timeout."
)


def verdict_of(error: psycopg.Error) -> Verdict:
    """Of a code that the list does not have, as an extension's, or of none, its kind decides."""
    if _has_no_transactions(error):
        return Verdict.FIX
    if decided := VERDICTS.get(error.sqlstate or ""):
        return decided
    return Verdict.RETRY if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) else Verdict.FIX


def remedy_of(error: psycopg.Error, *, grant: str) -> str:
    """Empty where the error says it all. :param grant: the statement that mends a missing privilege."""
    if _has_no_transactions(error):
        return "Set pool_mode = transaction or session for this database, or connect to the server itself."
    if isinstance(error, AnotherServer):
        return (
            "Point the connection at the primary itself: a pool or a list of hosts that spreads reads over servers would give"
            " rows of a standby for the primary's horizon."
        )
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        return _LOST
    if error.sqlstate != errors.InsufficientPrivilege.sqlstate:
        return REMEDIES.get(error.sqlstate or "", "")
    # By the function that refuses, since the server writes its messages in the language of its lc_messages.
    if error.diag.source_function == "check_enable_rls" or "row-level security" in str(error):
        return "ALTER ROLE ... BYPASSRLS, or read a view without policies; rows must not be hidden from the source"
    return grant


def _has_no_transactions(error: psycopg.Error) -> bool:
    """Whether it is a PgBouncer that gives each statement another session; it has one code for everything."""
    return error.sqlstate == errors.ProtocolViolation.sqlstate and "statement pooling" in str(error)
