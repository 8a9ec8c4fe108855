"""How Python is to run the components of Airflow."""

from __future__ import annotations

_AIRFLOW = "import runpy; runpy.run_module('airflow', run_name='__main__', alter_sys=True)"
# For a component whose forks do the work: what each of them would import, a second's work, is there.
_IMPORTED = (
    "-c",
    "import airflow_reindex_provider as provider; [getattr(provider, name) for name in provider.__all__];"
    "import airflow.dag_processing.dagbag, airflow.providers.postgres.hooks.postgres, jinja2.ext;"
    f"import airflow_reindex_provider.sources.postgres.session, airflow_reindex_provider.targets.postgres.session; {_AIRFLOW}",
)
_OURS = {
    # SIGUSR1 makes it write into its log what each of its threads is doing.
    "api-server": ("-c", f"import faulthandler, signal; faulthandler.register(signal.SIGUSR1); {_AIRFLOW}"),
    "scheduler": _IMPORTED,
    "dag-processor": _IMPORTED,
}


def how_to_run(component: str) -> tuple[str, ...]:
    """The interpreter's options before the component's own arguments."""
    return _OURS.get(component, ("-m", "airflow"))
