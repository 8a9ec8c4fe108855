"""What Airflow reads of this provider at start-up. Standard library only."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    return {
        "package-name": "airflow-reindex-provider",
        "name": "Reindex",
        "description": "Keeps a search or vector index true to a database table: incremental, resumable reindexing.",
        "integrations": [
            {
                "integration-name": "Reindex",
                "tags": ["software"],
            }
        ],
        "operators": [
            {
                "integration-name": "Reindex",
                "python-modules": [
                    "airflow_reindex_provider.operators.extract",
                    "airflow_reindex_provider.operators.index",
                    "airflow_reindex_provider.operators.checkpoint",
                    "airflow_reindex_provider.operators.approving",
                    "airflow_reindex_provider.operators.rebuild",
                    "airflow_reindex_provider.operators.rebuild_groups",
                    "airflow_reindex_provider.operators.sweep",
                    "airflow_reindex_provider.operators.sweep_groups",
                    "airflow_reindex_provider.operators.groups",
                    "airflow_reindex_provider.operators.leases",
                    "airflow_reindex_provider.operators.maintenance",
                    "airflow_reindex_provider.operators.failures",
                    "airflow_reindex_provider.operators.watch",
                ],
            }
        ],
        "sensors": [{"integration-name": "Reindex", "python-modules": ["airflow_reindex_provider.sensors.changes"]}],
        "hooks": [{"integration-name": "Reindex", "python-modules": ["airflow_reindex_provider.hooks.progress"]}],
        "cli": ["airflow_reindex_provider.cli.definition.get_reindex_cli_commands"],
        "triggers": [
            {
                "integration-name": "Reindex",
                "python-modules": [
                    "airflow_reindex_provider.triggers.changes",
                    "airflow_reindex_provider.triggers.pause",
                    "airflow_reindex_provider.triggers.watching",
                ],
            }
        ],
    }
