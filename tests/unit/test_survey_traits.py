"""A survey asks nothing that cannot matter: of a plain table no catalogue of children, triggers, defaults or subscriptions."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from airflow_reindex_provider.sources.postgres.survey import CLOCK, first_statements, second_statement
from airflow_reindex_provider.sources.postgres.traits import Traits

PLAIN = Traits(**dict.fromkeys((field.name for field in fields(Traits)), False))
CATALOGUES = {
    "has_family": "pg_inherits",
    "has_triggers": "pg_trigger",
    "has_default": "pg_attrdef",
    "is_generated": "typcategory",
    "has_domains": "typbasetype",
    "is_subscribed": "pg_subscription_rel",
    "is_kept_otherwise": "pg_am",
    "are_recorded": "obj_description",
}
"""For each trait, what no other part of the survey names."""


def second(version: int = 170_000, **traits: bool) -> str:
    return second_statement(replace(PLAIN, **traits), version) or ""


def test_a_plain_table_is_asked_once() -> None:
    """And whole catalogues are left out."""
    assert second() == ""
    asked = " ".join((CLOCK, *first_statements(170_000)))
    unneeded = {*CATALOGUES.values(), "pg_depend", "pg_constraint", "pg_cast"} - {"pg_subscription_rel"}
    assert [name for name in unneeded if name in asked] == []


@pytest.mark.parametrize("trait", [field.name for field in fields(Traits)])
def test_each_trait_brings_its_part(trait: str) -> None:
    """And no other one's catalogue."""
    assert CATALOGUES[trait] in second(**{trait: True})


def test_a_default_and_a_trigger_bring_no_children() -> None:
    """The usual table."""
    assert "pg_inherits" not in second(has_default=True, has_triggers=True)


def test_old_constraints_are_asked_for_where_there_are_some() -> None:
    """On a server where a constraint need not hold for old rows."""
    assert "convalidated" not in " ".join(first_statements(170_000))
    assert "convalidated" in " ".join(first_statements(180_000))
    assert "convalidated" in second(180_000, has_family=True)
    assert "children" not in " ".join(first_statements(180_000))
