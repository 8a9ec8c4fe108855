"""Decimals in JSON are numbers of as many digits as they have."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from airflow_reindex_provider.core.exact_json import dumps, iso


def test_a_decimal_keeps_its_digits() -> None:
    """At any depth, beside whatever else is there; what is no number is a text."""
    value = {
        "ä": [Decimal("12345678901234567890.1250"), {"b": Decimal("1E+2")}, None],
        "c": 0.1,
        "d": [Decimal("sNaN"), Decimal("-inf")],
    }
    assert dumps(value) == '{"ä": [12345678901234567890.1250, {"b": 1E+2}, null], "c": 0.1, "d": ["NaN", "-Infinity"]}'
    assert dumps({True: Decimal(1), None: 2, 3: "x"}) == '{"true": 1, "null": 2, "3": "x"}'
    assert dumps({"ä": Decimal(1)}, ascii=True) == '{"\\u00e4": 1}'


def test_what_has_no_form() -> None:
    """Is an error, or what the caller makes of it."""
    assert dumps([date(2026, 3, 1), Decimal(1)], default=str) == '["2026-03-01", 1]'
    for value in ([date(2026, 3, 1)], [date(2026, 3, 1), Decimal(1)]):
        with pytest.raises(TypeError, match="a date has no form in JSON"):
            dumps(value)


def test_a_time_ends_without_noughts() -> None:
    """Its zone stays."""
    assert iso("2026-03-01T12:00:00.120000+00:00") == "2026-03-01T12:00:00.12+00:00"
    assert iso("2026-03-01T12:00:00") == "2026-03-01T12:00:00"
