"""What people attach to a view: read from the catalogue, and attached again where a swap has to make the view anew.

A view has no more than this: constraints, indexes, policies, statistics, publications and storage are for tables. Views and
functions that are made of the view are another matter: with them it cannot be dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from psycopg import Connection

log = logging.getLogger(__name__)

# What it is, the column that it goes with, and the statement that attaches it. The view's own comment is the stream's mark.
_ATTACHED = """
WITH v AS (SELECT c.oid, c.relacl, format('%%I.%%I', n.nspname, c.relname) AS name, c.relowner AS owner
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%(view)s)),
columns AS (SELECT a.*, format('%%s.%%I', v.name, a.attname) AS place, v.name FROM v JOIN pg_attribute a ON a.attrelid = v.oid)
SELECT 'the default of column ' || quote_ident(attname), attname,
       format('ALTER VIEW %%s ALTER COLUMN %%I SET DEFAULT %%s', name, attname, pg_get_expr(adbin, adrelid)), 1
FROM columns JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT 'the comment on column ' || quote_ident(attname), attname, format('COMMENT ON COLUMN %%s IS %%L', place, description), 1
FROM columns JOIN pg_description ON objoid = attrelid AND classoid = 'pg_class'::regclass AND objsubid = attnum
UNION ALL
SELECT 'a security label of column ' || quote_ident(attname), attname,
       format('SECURITY LABEL FOR %%I ON COLUMN %%s IS %%L', provider, place, label), 1
FROM columns JOIN pg_seclabel ON objoid = attrelid AND classoid = 'pg_class'::regclass AND objsubid = attnum
UNION ALL
SELECT 'the security label', NULL, format('SECURITY LABEL FOR %%I ON VIEW %%s IS %%L', provider, name, label), 1
FROM v JOIN pg_seclabel ON objoid = v.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
UNION ALL
SELECT 'trigger ' || quote_ident(tgname), NULL, pg_get_triggerdef(t.oid), 1
FROM v JOIN pg_trigger t ON tgrelid = v.oid WHERE NOT tgisinternal
UNION ALL
SELECT 'rule ' || quote_ident(rulename), NULL, pg_get_ruledef(r.oid), 1
FROM v JOIN pg_rewrite r ON ev_class = v.oid WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'the comment on trigger ' || quote_ident(tgname), NULL,
       format('COMMENT ON TRIGGER %%I ON %%s IS %%L', tgname, name, description), 2
FROM v JOIN pg_trigger t ON tgrelid = v.oid JOIN pg_description ON objoid = t.oid AND classoid = 'pg_trigger'::regclass
UNION ALL
SELECT 'the comment on rule ' || quote_ident(rulename), NULL,
       format('COMMENT ON RULE %%I ON %%s IS %%L', rulename, name, description), 2
FROM v JOIN pg_rewrite r ON ev_class = v.oid JOIN pg_description ON objoid = r.oid AND classoid = 'pg_rewrite'::regclass
WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'the privileges of the owner', NULL, format('REVOKE ALL ON %%s FROM %%I', name, pg_get_userbyid(owner)), 3
FROM v WHERE relacl IS NOT NULL
UNION ALL
SELECT 'a privilege', NULL, format('GRANT %%s ON %%s TO %%s%%s', privilege_type, name,
       coalesce(quote_ident(rolname), 'PUBLIC'), CASE WHEN is_grantable AND grantee <> owner THEN ' WITH GRANT OPTION' END), 4
FROM v, aclexplode(relacl) LEFT JOIN pg_roles r ON r.oid = grantee
UNION ALL
SELECT 'a privilege on column ' || quote_ident(attname), attname, format('GRANT %%s (%%I) ON %%s TO %%s%%s', privilege_type,
       attname, name, coalesce(quote_ident(rolname), 'PUBLIC'), CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END), 4
FROM columns, aclexplode(attacl) LEFT JOIN pg_roles r ON r.oid = grantee
ORDER BY 4
"""
# ALTER DEFAULT PRIVILEGES gives a new view what somebody may have taken from the old one.
_GRANTEES = """
SELECT DISTINCT coalesce(quote_ident(rolname), 'PUBLIC')
FROM pg_class c, aclexplode(c.relacl) LEFT JOIN pg_roles r ON r.oid = grantee
WHERE c.oid = to_regclass(%(view)s) AND grantee <> relowner
"""


@dataclass(frozen=True, slots=True)
class Attachment:
    """:ivar column: goes without a word where the view has no such column any more, since it goes with the column."""

    what: str
    column: str | None
    statement: str


def attachments(connection: Connection[Any], view: sql.Identifier) -> list[Attachment]:
    rows = connection.execute(_ATTACHED, {"view": view.as_string(None)})
    return [Attachment(what, column, statement) for what, column, statement, _ in rows]


def attach(
    connection: Connection[Any],
    view: sql.Identifier,
    found: Collection[Attachment],
    columns: Collection[str],
    *,
    label: str,
) -> None:
    """To the view of that name, which has been made anew by its owner.

    :raises ConfigurationError: one does not fit any more (a rule on a column that is gone, say); names it.
    """
    for (grantee,) in connection.execute(_GRANTEES, {"view": view.as_string(None)}).fetchall():
        connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(view, sql.SQL(grantee)))
    for one in found:
        if one.column is not None and one.column not in columns:
            log.warning("%s: %s of the view goes with the column.", label, one.what)
            continue
        try:
            connection.execute(one.statement.encode())
        except psycopg.DatabaseError as error:
            if isinstance(error, psycopg.OperationalError):
                raise
            raise ConfigurationError(
                f"{label}: the index's columns have changed, so its view {view.as_string(None)} has to be made anew, and"
                f" {one.what} cannot be attached to it again: {str(error).splitlines()[0]}. Drop that, let the swap be tried"
                f" again, and make it as it fits by then. It was: {one.statement}"
            ) from error
