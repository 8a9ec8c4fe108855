"""Every SQLSTATE that the driver knows is decided: another try, a person, or one row put aside."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.databases.postgres.errors import explained
from airflow_reindex_provider.databases.postgres.sqlstates import _CODES, REFUSALS, VERDICTS, Verdict, verdict_of

KNOWN: dict[str, type[psycopg.Error]] = {
    found.sqlstate: found
    for found in vars(errors).values()
    if isinstance(found, type) and isinstance(getattr(found, "sqlstate", None), str)
}


def test_every_code_is_decided_once():
    """A code that a new release of the driver brings must be put into the list."""
    assert set(KNOWN) - set(VERDICTS) == set()
    assert len(VERDICTS) == sum(len(codes.split()) for codes in _CODES.values())


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_what_is_permanent_is_not_tried_again(code: str):
    """What a person must mend fails at once, in the whole of its class; what the moment brings is tried again."""
    permanent = code[:2] in ("22", "23", "42", "54", "0A", "28", "3D", "3F", "21", "44", "P0") or code == "25006"
    passing = code[:2] in ("08", "40", "57", "53") and code not in ("57P04", "53400")
    decided = VERDICTS[code]

    assert not permanent or decided is not Verdict.RETRY
    assert not passing or decided is Verdict.RETRY
    with (
        pytest.raises(
            TransientError if decided is Verdict.RETRY else ConfigurationError, match="source 'x' on 'db': why"
        ),
        explained("source 'x' on 'db'", grant="GRANT"),
    ):
        raise KNOWN[code]("why\nLINE 1: ...")


@pytest.mark.parametrize("code", sorted(c for c, v in VERDICTS.items() if v is not Verdict.RETRY))
def test_a_row_is_put_aside_for_what_is_its_own_fault(code: str):
    """And for nothing else."""
    if code in KNOWN and code != "22P04":
        assert issubclass(KNOWN[code], REFUSALS) == (VERDICTS[code] is Verdict.ROW)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), Verdict.RETRY),
        (psycopg.InterfaceError("the cursor is closed"), Verdict.RETRY),
        (psycopg.ProgrammingError("the query has 1 placeholder"), Verdict.FIX),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), Verdict.FIX),
        (type("Own", (psycopg.DatabaseError,), {"sqlstate": "ABC01"})("an extension's own"), Verdict.FIX),
    ],
)
def test_errors_that_the_list_does_not_have(error: Any, verdict: Verdict):
    """Those of the driver itself, and codes that functions make up."""
    assert verdict_of(error) is verdict


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("54011", "columns="),
        ("25006", "default_transaction_read_only"),
        ("53400", "temp_file_limit"),
        ("57014", "statement_timeout"),
        ("57P05", "idle_session_timeout"),
        ("25P03", "idle_in_transaction_session_timeout"),
        ("25P04", "transaction_timeout"),
        ("55P03", "lock_timeout"),
        ("42501", "GRANT SELECT"),
        ("22P05", "UTF8"),
    ],
)
def test_the_remedy_is_named_in_every_language(code: str, remedy: str):
    """The server writes its messages in the language of its lc_messages: what to set stands in ours."""
    ours = pytest.raises((ConfigurationError, TransientError), match=rf"Remedy: .*{remedy}")
    with ours, explained("source", grant="GRANT SELECT"):
        raise KNOWN[code]("verflixt")


def test_a_lost_connection_says_where_to_look():
    """The server's last words often do not arrive."""
    with pytest.raises(TransientError, match=r"Remedy: .*log.*transaction_timeout"), explained("source", grant=""):
        raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


def test_a_text_that_cannot_be_decoded_is_explained():
    """With what stands there and what mends it."""
    with pytest.raises(ConfigurationError, match=r"source: .*0xe9.*utf-8.*SQL_ASCII"), explained("source", grant=""):
        b"caf\xe9".decode()
