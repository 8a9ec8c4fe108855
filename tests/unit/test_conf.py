"""A misspelt key of a run's conf is an error, not a run that does something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Param

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream, SweepDag
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.dags import WINDOW_PARAMS
from airflow_reindex_provider.operators.base import is_true
from airflow_reindex_provider.operators.conf import require_known

STREAM = Stream(
    name="items",
    source=PostgresSource("shop", table="public.items", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("search", index="public.items_index"),
)
GROUPED = Stream(
    name="grouped",
    source=PostgresSource("shop", table="public.items", primary_key="id", cursor_field="updated_at", group_by="tenant"),
    target=PostgresTarget("search", index="public.items_{group}"),
)
GROUP = (
    "{{ params.get('window_start') or '' }}",
    "{{ params.get('window_end') }}",
    "{{ params.get('dry_run', false) }}",
)


def context_of(dag: DAG, conf: dict[str, Any] | None, **params: Any) -> Any:
    return {
        "dag": dag,
        "task": SimpleNamespace(params=params),
        "dag_run": SimpleNamespace(conf=conf, run_id="manual__1"),
        "params": {},
    }


@pytest.mark.parametrize("stream", [STREAM, GROUPED], ids=["single", "groups"])
@pytest.mark.parametrize(
    ("kind", "key", "meant"),
    [
        (ReindexDag, "start", "window_start"),
        (ReindexDag, "windowstart", "window_start"),
        (ReindexDag, "dryrun", "dry_run"),
        (RebuildDag, "rollback", "rollback_to"),
        (RebuildDag, "throttle", "throttle_docs_per_s"),
        (SweepDag, "max_delete", "max_delete_fraction"),
        (SweepDag, "dry-run", "dry_run"),
    ],
)
def test_in_a_dag_of_ours(kind: Any, key: str, meant: str, stream: Stream) -> None:
    """Every key that is no field of the form is named, with the one that was meant and all that there are."""
    dag = kind(stream, dag_id="made", params={"own": Param(1)})
    with pytest.raises(ConfigurationError, match=f"'{key}' is perhaps '{meant}'") as error:
        require_known(context_of(dag, {key: "2026-01-01", "own": 2}))
    for name in dag.params:
        assert repr(name) in str(error.value)
    with pytest.raises(ConfigurationError, match="'zzz'"):
        require_known(context_of(dag, {"zzz": 1}))
    require_known(context_of(dag, dict.fromkeys(dag.params)))
    require_known(context_of(dag, None))


@pytest.mark.parametrize("declared", [{}, WINDOW_PARAMS], ids=["without fields", "with the form"])
def test_in_a_dag_of_the_authors(declared: dict[str, Param]) -> None:
    """There other tasks may read what they like: a key is wrong that looks like one of those that this task reads."""
    dag = DAG("own", schedule=None, params=declared)
    for key in ("start", "window-start", "windowend", "DRY_RUN", "dry"):
        with pytest.raises(ConfigurationError, match=f"'{key}' is perhaps"):
            require_known(context_of(dag, {key: "2026-01-01"}), GROUP)
    for key in ("window_start", "customer", "reason", "notify"):
        require_known(context_of(dag, {key: "x"}), GROUP)
    require_known(context_of(dag, {"window": "x"}, window="y"), GROUP)


@pytest.mark.parametrize(
    "templates",
    [(None, None, False), ("2026-01-01", "{{ ds }}", True), ("{{ dag_run.conf['start'] }}", "{{ params.end }}", False)],
)
def test_where_conf_does_not_reach(templates: tuple[Any, ...]) -> None:
    """An author's own templates say which keys are right; a task that reads none has nothing to say."""
    require_known(context_of(DAG("own", schedule=None), {"start": "x", "end": "y"}), templates)


def test_conf_that_airflow_does_not_hand_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With that setting off the form changes nothing, which a person has to be told."""
    monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    dag = ReindexDag(STREAM, dag_id="made")
    with pytest.raises(ConfigurationError, match="dag_run_conf_overrides_params"):
        require_known(context_of(dag, {"dry_run": True}))


@pytest.mark.parametrize("value", ["yes", "1", 1, "on", "tru"])
def test_a_flag_is_true_or_false(value: Any) -> None:
    """A dry run that is meant by another word would write."""
    with pytest.raises(ConfigurationError, match="plan_only is true or false"):
        is_true("plan_only", value)


def test_flags() -> None:
    """As templates render them; an absent one is false."""
    assert all(is_true("plan_only", value) for value in (True, "True", "true", " TRUE "))
    assert not any(is_true("plan_only", value) for value in (False, "False", "false", "", None, "None"))
