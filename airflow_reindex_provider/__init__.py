"""Keeps a search or vector index true to a database table, on Airflow's schedule.

The names below are the public API. They are imported on first use, since Airflow imports this package in every process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from airflow_reindex_provider.caches.postgres import PostgresVectorCache
    from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
    from airflow_reindex_provider.checkpoints.table import TableCheckpoint
    from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
    from airflow_reindex_provider.control.streams import accept_changes, move_checkpoint, remove_stream, rename_stream
    from airflow_reindex_provider.control.tombstones import purge_tombstones
    from airflow_reindex_provider.core.embedding.embed import Embed
    from airflow_reindex_provider.core.embedding.splitting import SplitByContent
    from airflow_reindex_provider.dags.changed import changes_of
    from airflow_reindex_provider.dags.maintenance import MaintenanceDag
    from airflow_reindex_provider.dags.rebuild import RebuildDag
    from airflow_reindex_provider.dags.reindex import ReindexDag, ReindexTaskGroup
    from airflow_reindex_provider.dags.sweep import SweepDag
    from airflow_reindex_provider.dags.watch import WatchDag
    from airflow_reindex_provider.embedders.bedrock import BedrockEmbedder
    from airflow_reindex_provider.embedders.cohere import CohereEmbedder
    from airflow_reindex_provider.embedders.function import FunctionEmbedder
    from airflow_reindex_provider.embedders.langchain import LangChainEmbedder
    from airflow_reindex_provider.embedders.openai import OpenAIEmbedder
    from airflow_reindex_provider.embedders.wordllama import WordLlamaEmbedder
    from airflow_reindex_provider.hooks.progress import ReindexProgressHook
    from airflow_reindex_provider.operators.checkpoint import CheckpointOperator
    from airflow_reindex_provider.operators.extract import ExtractChangesOperator
    from airflow_reindex_provider.operators.index import IndexBatchOperator
    from airflow_reindex_provider.operators.watch import Watch
    from airflow_reindex_provider.sensors.changes import ChangesSensor
    from airflow_reindex_provider.sources.dbapi import SqlSource
    from airflow_reindex_provider.sources.mysql import MySqlSource
    from airflow_reindex_provider.sources.postgres import PostgresSource
    from airflow_reindex_provider.sources.sql.children import Child, Parent, Through
    from airflow_reindex_provider.stream import Stream
    from airflow_reindex_provider.streamfile.dags import ReindexDags
    from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
    from airflow_reindex_provider.targets.lance import LanceTarget
    from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
    from airflow_reindex_provider.targets.postgres import FullText, PostgresTarget
    from airflow_reindex_provider.targets.weaviate import WeaviateTarget

_HOMES = {
    "AssetCheckpoint": "checkpoints.asset",
    "BedrockEmbedder": "embedders.bedrock",
    "ChangesSensor": "sensors.changes",
    "CheckpointOperator": "operators.checkpoint",
    "Child": "sources.sql.children",
    "CohereEmbedder": "embedders.cohere",
    "ElasticsearchTarget": "targets.elasticsearch",
    "Embed": "core.embedding.embed",
    "ExtractChangesOperator": "operators.extract",
    "FullText": "targets.postgres",
    "FunctionEmbedder": "embedders.function",
    "IndexBatchOperator": "operators.index",
    "LangChainEmbedder": "embedders.langchain",
    "OpenAIEmbedder": "embedders.openai",
    "LanceTarget": "targets.lance",
    "MaintenanceDag": "dags.maintenance",
    "MySqlSource": "sources.mysql",
    "OpenSearchTarget": "targets.opensearch",
    "Parent": "sources.sql.children",
    "PostgresSource": "sources.postgres",
    "PostgresTarget": "targets.postgres",
    "PostgresVectorCache": "caches.postgres",
    "RebuildDag": "dags.rebuild",
    "ReindexDag": "dags.reindex",
    "ReindexDags": "streamfile.dags",
    "ReindexProgressHook": "hooks.progress",
    "ReindexTaskGroup": "dags.reindex",
    "SplitByContent": "core.embedding.splitting",
    "SqlSource": "sources.dbapi",
    "Stream": "stream",
    "SweepDag": "dags.sweep",
    "TableCheckpoint": "checkpoints.table",
    "Through": "sources.sql.children",
    "VariableCheckpoint": "checkpoints.variable",
    "WordLlamaEmbedder": "embedders.wordllama",
    "changes_of": "dags.changed",
    "Watch": "operators.watch",
    "WatchDag": "dags.watch",
    "accept_changes": "control.streams",
    "move_checkpoint": "control.streams",
    "remove_stream": "control.streams",
    "rename_stream": "control.streams",
    "purge_tombstones": "control.tombstones",
    "WeaviateTarget": "targets.weaviate",
}

__all__ = [  # noqa: RUF022, sorted by what a Dag author reaches for first
    "ReindexDag",
    "ReindexTaskGroup",
    "changes_of",
    "RebuildDag",
    "SweepDag",
    "ReindexDags",
    "MaintenanceDag",
    "WatchDag",
    "Watch",
    "Stream",
    "Embed",
    "SplitByContent",
    "OpenAIEmbedder",
    "BedrockEmbedder",
    "CohereEmbedder",
    "LangChainEmbedder",
    "FunctionEmbedder",
    "WordLlamaEmbedder",
    "PostgresVectorCache",
    "PostgresSource",
    "MySqlSource",
    "SqlSource",
    "Child",
    "Parent",
    "Through",
    "PostgresTarget",
    "FullText",
    "OpenSearchTarget",
    "ElasticsearchTarget",
    "LanceTarget",
    "WeaviateTarget",
    "VariableCheckpoint",
    "TableCheckpoint",
    "AssetCheckpoint",
    "ExtractChangesOperator",
    "IndexBatchOperator",
    "CheckpointOperator",
    "ChangesSensor",
    "ReindexProgressHook",
    "purge_tombstones",
    "accept_changes",
    "rename_stream",
    "move_checkpoint",
    "remove_stream",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
