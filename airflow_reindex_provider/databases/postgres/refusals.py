"""Why a connection could not be opened, as our errors: a person must mend it, or it may come back by itself."""

from __future__ import annotations

import re
import sys

import psycopg

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError

# A server that refuses a session sends no SQLSTATE that the driver would hand on, so its words must do. Those of libpq are
# English; a server's are in the language of its configuration, and what is not found here is tried again.
_NEEDS_A_PERSON = re.compile(
    r"""
      authentication\ failed | no\ password\ supplied | password\ must\ be | no\ pg_hba\.conf\ entry | pg_hba\.conf\ rejects
    | certificate | private\ key | does\ not\ support\ SSL | SSL\ was\ required | SSL\ required | invalid\ when\ SSL
    | GSSAPI | Kerberos | SASL | SCRAM | channel\ binding
    | does\ not\ exist | is\ not\ permitted\ to\ log\ in | permission\ denied | not\ currently\ accepting\ connections
    | no\ such\ (database|user) | unsupported\ startup\ parameter
    | unrecognized\ configuration\ parameter | invalid\ value\ for\ parameter | invalid\ command-line
    | invalid\ (connection\ option|integer\ value|port\ number|URI|percent-encoded) | invalid\ \S+\ value | missing\ "="
    | Name\ or\ service\ not\ known | nodename\ nor\ servname | No\ address\ associated | could\ not\ translate\ host\ name
    | connection\ is\ bad:\ (?!connection\ to\ )  # libpq does not even begin
    | could\ not\ parse | is\ too\ long | weak\ passwords? | could\ not\ match\ \d+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PASSES_BY_ITSELF = re.compile(
    r"Temporary failure in name resolution|the database system is|too many|remaining connection slots", re.IGNORECASE
)


def unopened(error: Exception, conn_id: str, owner: str) -> ReindexError:
    """The error of opening a connection as one of ours, which names the connection and what it takes."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.ProgrammingError):
        return ConfigurationError(
            f"{owner}: the connection {conn_id!r} has something that the driver does not know: {text}. Mend its extra, whose keys"
            " are libpq's parameters (sslmode, options, connect_timeout ...)."
        )
    if not isinstance(error, (psycopg.Error, OSError)):
        return ConfigurationError(
            f"{owner}: the connection {conn_id!r} cannot be opened: {type(error).__name__}: {text}. Mend the connection."
        )
    if _NEEDS_A_PERSON.search(text) and not _PASSES_BY_ITSELF.search(text):
        return ConfigurationError(f"{owner}: the connection {conn_id!r} is refused: {text}. Mend the connection.")
    return TransientError(f"{owner}: the connection {conn_id!r} does not answer: {text}")


def unknown(conn_id: str, owner: str) -> ReindexError:
    """There is no connection of this name, as far as Airflow looks for it here."""
    if _is_in_a_task():
        where = ""
    else:
        where = (
            " Outside of a task Airflow does not look into its own database, where the UI and `airflow connections add` keep"
            " connections, but only at the environment and a secrets backend: do this in a task, or set"
            f" AIRFLOW_CONN_{conn_id.upper()} here, to what `airflow connections get {conn_id}` shows."
        )
    return ConfigurationError(
        f"{owner} uses the connection {conn_id!r}, which does not exist: add a Postgres connection with this id"
        f" (Admin > Connections, `airflow connections add {conn_id}`, or AIRFLOW_CONN_{conn_id.upper()}).{where}"
    )


def _is_in_a_task() -> bool:
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None
