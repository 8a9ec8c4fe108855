"""Which classes a file may name, by what its ``type`` says."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, slots=True)
class Kind:
    """:ivar part: of a stream. :ivar word: its ``type``. :ivar home: module and class."""

    part: str
    word: str
    home: str

    @property
    def made(self) -> type:
        module, _, name = self.home.partition(":")
        return getattr(import_module(f"airflow_reindex_provider.{module}"), name)  # type: ignore[no-any-return]


SOURCE, TARGET, CHECKPOINT, MODEL, CACHE, CHILD = "source", "target", "checkpoint", "model", "cache", "child"
PARTS = {SOURCE: "postgres", TARGET: None, CHECKPOINT: "variable", MODEL: None, CACHE: "postgres", CHILD: "child"}
"""Parts of a stream, each with the ``type`` that it has where none is said."""
CLOSED = frozenset({CHILD})
"""Parts that are of our classes alone."""
NAMES = {
    "Source": SOURCE,
    "Target": TARGET,
    "CheckpointStore": CHECKPOINT,
    "Embedder": MODEL,
    "VectorCache": CACHE,
    "Child": CHILD,
    "Parent": CHILD,
}
"""Parts by the names that annotations have for them."""
GIVEN = frozenset({"group", "passages"})
"""Fields that a stream gives its source and its target, and no author."""

KINDS = (
    Kind(SOURCE, "postgres", "sources.postgres:PostgresSource"),
    Kind(SOURCE, "mysql", "sources.mysql:MySqlSource"),
    Kind(SOURCE, "sql", "sources.dbapi:SqlSource"),
    Kind(TARGET, "postgres", "targets.postgres:PostgresTarget"),
    Kind(TARGET, "opensearch", "targets.opensearch:OpenSearchTarget"),
    Kind(TARGET, "elasticsearch", "targets.elasticsearch:ElasticsearchTarget"),
    Kind(TARGET, "lance", "targets.lance:LanceTarget"),
    Kind(TARGET, "weaviate", "targets.weaviate:WeaviateTarget"),
    Kind(CHECKPOINT, "variable", "checkpoints.variable:VariableCheckpoint"),
    Kind(CHECKPOINT, "table", "checkpoints.table:TableCheckpoint"),
    Kind(CHECKPOINT, "asset", "checkpoints.asset:AssetCheckpoint"),
    Kind(MODEL, "openai", "embedders.openai:OpenAIEmbedder"),
    Kind(MODEL, "bedrock", "embedders.bedrock:BedrockEmbedder"),
    Kind(MODEL, "cohere", "embedders.cohere:CohereEmbedder"),
    Kind(MODEL, "langchain", "embedders.langchain:LangChainEmbedder"),
    Kind(MODEL, "wordllama", "embedders.wordllama:WordLlamaEmbedder"),
    Kind(MODEL, "function", "embedders.function:FunctionEmbedder"),
    Kind(CACHE, "postgres", "caches.postgres:PostgresVectorCache"),
    Kind(CHILD, "child", "sources.sql.children:Child"),
    Kind(CHILD, "parent", "sources.sql.children:Parent"),
)


def kinds_of(part: str) -> tuple[Kind, ...]:
    return tuple(kind for kind in KINDS if kind.part == part)
