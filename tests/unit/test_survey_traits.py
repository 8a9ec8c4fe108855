"""A survey asks nothing that cannot matter: of a plain table no catalogue of children, triggers, defaults or subscriptions."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from airflow_reindex_provider.sources.postgres.catalog import SURVEY, needed
from airflow_reindex_provider.sources.postgres.traits import Traits

PLAIN = Traits(**dict.fromkeys((field.name for field in fields(Traits)), False))
CATALOGUES = {
    "has_family": "pg_inherits",
    "has_triggers": "pg_trigger",
    "has_default": "pg_attrdef",
    "is_generated": "typcategory",
    "has_domains": "typbasetype",
    "is_subscribed": "pg_subscription_rel",
}
"""For each trait, what no other part of the survey names."""


def survey(traits: Traits, *, recorded: bool = False, version: int = 170_000) -> str:
    return needed(SURVEY, traits, recorded=recorded, version=version)


def test_a_plain_table_is_asked_little() -> None:
    """Whole catalogues are left out."""
    plain = survey(PLAIN)
    assert [name for name in (*CATALOGUES.values(), "pg_depend", "pg_constraint", "pg_cast") if name in plain] == []


@pytest.mark.parametrize("trait", [field.name for field in fields(Traits)])
def test_each_trait_brings_its_part(trait: str) -> None:
    """And a table with all of them is asked all."""
    assert CATALOGUES[trait] in survey(replace(PLAIN, **{trait: True}))


def test_all_of_them_bring_all() -> None:
    """With tombstones, on a server where a constraint need not hold for old rows."""
    everything = Traits(**dict.fromkeys((field.name for field in fields(Traits)), True))
    assert survey(everything, recorded=True, version=180_000) == SURVEY
    assert "convalidated" in survey(PLAIN, version=180_000)
    assert "obj_description" in survey(PLAIN, recorded=True)
