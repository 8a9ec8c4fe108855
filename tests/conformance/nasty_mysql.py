"""What MySQL and MariaDB can hold, at its nastiest: one table of values, and what they are in Python and in JSON."""

from __future__ import annotations

import base64
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from airflow_reindex_provider.testing.mariadb import MariaDatabase

PRICE = "12345678901234567890123456789012345.012345678901234567890123456789"
NASTY: dict[str, tuple[str, str | None, Any]] = {
    "big": ("BIGINT UNSIGNED", "18446744073709551615", Decimal(18446744073709551615)),
    "price": ("DECIMAL(65,30)", f"'{PRICE}'", Decimal(PRICE)),
    "small": ("FLOAT", "0.1", 0.1),
    "eight": ("FLOAT", "16777215", 16777215.0),
    "exact": ("DOUBLE", "0.30000000000000004", 0.30000000000000004),
    "largest": ("DOUBLE", "-1.7976931348623157e308", -1.7976931348623157e308),
    "least": ("DOUBLE", "2.2250738585072014e-308", 2.2250738585072014e-308),
    "yes": ("BIT(1)", "b'1'", True),
    "bits": ("BIT(64)", "~0", Decimal(2**64 - 1)),
    "mood": ("ENUM('sad','it''s \"ok\"')", "2", 'it\'s "ok"'),
    "many": ("SET('a','b c','d')", "'a,d'", ["a", "d"]),
    "none_of": ("SET('a')", "''", []),
    "quoted": ("SET('a \"b\"','c\\\\d','{','NULL')", "15", ['a "b"', "c\\d", "{", "NULL"]),
    "doc": ("JSON", '\'{"a": [1, null, "é😀"]}\'', {"a": [1, None, "é😀"]}),
    "raw": ("VARBINARY(9)", "x'00ff5c27'", b"\x00\xff\\'"),
    "no_bytes": ("BLOB", "x''", b""),
    "words": ("TEXT CHARACTER SET utf8mb4", "'é 😀 ''\\\\ \\t %s'", "é 😀 '\\ \t %s"),
    "lines": ("TEXT", "'\\\\N\\n\\r\\\\.\\n'", "\\N\n\r\\.\n"),
    "empty": ("TEXT", "''", ""),
    "nothing": ("TEXT", "NULL", None),
    "old": ("VARCHAR(20) CHARACTER SET latin1", "'Ünï'", "Ünï"),
    "old3": ("VARCHAR(20) CHARACTER SET utf8mb3", "'鍵'", "鍵"),
    "at": ("DATETIME(6)", "'2026-03-29 02:30:00.000001'", datetime.fromisoformat("2026-03-29T02:30:00.000001")),
    "moment": (
        "TIMESTAMP(6) NULL",
        "'2026-11-01 06:30:00.999999'",
        datetime(2026, 11, 1, 6, 30, 0, 999999, tzinfo=UTC),
    ),
    "zero": ("DATETIME", "'0000-00-00'", None),
    "zero_day": ("DATE", "'0000-00-00'", None),
    "no_day": ("DATE", "'2026-02-00'", None),
    "no_month": ("DATETIME(6)", "'2026-00-11 10:00:00'", None),
    "day": ("DATE", "'9999-12-31'", date(9999, 12, 31)),
    "lasting": ("TIME(6)", "'-838:59:58.000001'", "-838:59:58.000001"),
    "year": ("YEAR", "2155", 2155),
    "twice": ("INT AS (2 * 21) STORED", None, 42),
    "tiny": ("TINYINT(1)", "-1", -1),
}
"""Type, value as SQL writes it, and as Python has it."""


def make_items(database: MariaDatabase) -> None:
    """A table ``items`` with a row of these, in three partitions."""
    columns = ", ".join(f"`{name}` {kind}" for name, (kind, _, _) in NASTY.items())
    given = {name: value for name, (_, value, _) in NASTY.items() if value is not None}
    with closing(database.connect(charset="utf8mb4")) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00', sql_mode = ''")
        cursor.execute(
            f"CREATE TABLE items (id BIGINT UNSIGNED PRIMARY KEY, {columns}, updated_at TIMESTAMP(6) NOT NULL DEFAULT"
            " CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at)) PARTITION BY KEY (id) PARTITIONS 3"
        )
        cursor.execute(
            f"INSERT INTO items (id, {', '.join(f'`{n}`' for n in given)}) VALUES (1, {', '.join(given.values())})"
        )


def in_json(value: Any) -> Any:
    """As an engine has it, whose numbers have been read as decimals where they are no whole ones."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return Decimal(repr(value)) if isinstance(value, float) else value
