"""The committed bundle of the page, as Airflow is told of it. That it is what its sources give is proved by `make check-page`."""

from __future__ import annotations

import gzip
import re

from airflow_reindex_provider.plugin.entry import BUNDLE, MAIN, NAME, ReindexPlugin

MOST_BYTES = 150_000


def test_the_bundle_is_small() -> None:
    """What goes over the wire when somebody opens the page for the first time."""
    assert len(gzip.compress((BUNDLE / MAIN).read_bytes())) < MOST_BYTES


def test_the_bundle_takes_what_airflow_has() -> None:
    """React, the router and the components come from Airflow's own page: a second React would break the first."""
    text = (BUNDLE / MAIN).read_text().strip()
    taken = set(text.rpartition(")(")[2].removesuffix(");").split(","))
    assert taken == {"React", "ReactJSXRuntime", "ReactRouterDOM", "ChakraUI"}
    assert not re.findall(r"\b(?:import|require)\s*[(\x27\"`{*]", text)


def test_the_page_is_in_all_its_places() -> None:
    """One name, so that Airflow finds the component wherever it was loaded first; a route of its own for each, or Airflow leaves
    out all but the first."""
    apps = ReindexPlugin().react_apps
    assert {app["name"] for app in apps} == {NAME}
    assert [app["destination"] for app in apps] == ["nav", "dag", "dag_run", "dashboard"]
    assert len({app["url_route"] for app in apps}) == len(apps)
    assert f"{NAME}:" in (BUNDLE / MAIN).read_text()
