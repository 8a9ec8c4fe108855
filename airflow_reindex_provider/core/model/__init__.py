"""The nouns: what a run plans, reads, writes and remembers. All are immutable and turn into small JSON."""

from airflow_reindex_provider.core.model.checkpoints import Checkpoint, Parked
from airflow_reindex_provider.core.model.findings import Finding, Level
from airflow_reindex_provider.core.model.plans import Batch, BatchResult, Generation, Marked, Plan, Size
from airflow_reindex_provider.core.model.rows import (
    Chunk,
    Counts,
    Document,
    Field,
    PassageCounts,
    Recalled,
    Rejection,
    Schema,
    WriteResult,
)
from airflow_reindex_provider.core.model.surveys import Counter, Groups, Horizon, Look, Outliers, Slices, Survey
from airflow_reindex_provider.core.model.words import Format, Guarantee, Key, Mode, Position, Transform, Window

__all__ = [
    "Batch",
    "BatchResult",
    "Checkpoint",
    "Chunk",
    "Counter",
    "Counts",
    "Document",
    "Field",
    "Finding",
    "Format",
    "Generation",
    "Groups",
    "Guarantee",
    "Horizon",
    "Key",
    "Level",
    "Look",
    "Marked",
    "Mode",
    "Outliers",
    "Parked",
    "PassageCounts",
    "Plan",
    "Position",
    "Recalled",
    "Rejection",
    "Schema",
    "Size",
    "Slices",
    "Survey",
    "Transform",
    "Window",
    "WriteResult",
]
