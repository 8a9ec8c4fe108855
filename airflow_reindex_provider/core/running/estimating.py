"""What a run would ask of its model, by a look at some of its rows: nothing is embedded, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.passages import passages
from airflow_reindex_provider.core.embedding.requests import tokens_of
from airflow_reindex_provider.core.embedding.target import PassageTarget
from airflow_reindex_provider.core.model import Batch, Chunk, Document, Format, Plan, Recalled, Transform
from airflow_reindex_provider.core.protocols import SourceSession
from airflow_reindex_provider.core.running.transforming import transformed

MOST_ROWS = 1_000
MOST_ROWS_OF_GROUP = 100
_MOST_BATCHES = 10


def estimate(
    plan: Plan,
    *,
    source: SourceSession,
    target: PassageTarget,
    embed: Embed,
    transform: Transform | None = None,
    most_rows: int = MOST_ROWS,
) -> Mapping[str, int]:
    """How many ``passages`` the plan's rows have, how many of them are ``reused``, how many texts would be ``embedded``, in how
    many ``requests`` and of how many ``tokens``; exact where ``rows_read`` are all of its rows, else scaled up from these.

    Tokens are as the model counts them where that can be done here, else by the bytes of the texts, rather too many.

    :param most_rows: are read, of ten batches at the most, which lie evenly among all; a document that a transform or a splitter
        cannot make is left out.
    """
    batches = (
        [plan.batches[len(plan.batches) * n // _MOST_BATCHES] for n in range(_MOST_BATCHES)] if plan.batches else []
    )
    chosen = list(dict.fromkeys(batches))
    schema = source.schema()
    is_there = any(generation.name == plan.generation for generation in target.generations())
    fields = target.fields(plan.generation, schema) if is_there else [field.name for field in schema.fields]
    split, hashed = embed.split, embed.model.identity.hasher()
    rows = met = 0
    fresh: dict[bytes, str] = {}
    for batch in chosen:
        for chunk in _first(source, batch, fields, most_rows // len(chosen)):
            made = chunk if transform is None else transformed(chunk, transform)
            rows += len(cast("Sequence[Document]", chunk.payload))
            documents = []
            for document in cast("Sequence[Document]", made.payload):
                try:
                    found = passages(document.fields or {}, embed.fields, split=split, hashed=hashed)
                except Exception:
                    continue
                documents.append(replace(document, passages=found))
            recalled = target.recall(plan.generation, documents, schema) if is_there else Recalled()
            for document in documents:
                met += len(document.passages)
                if document.key not in recalled.overtaken:
                    fresh |= {
                        p.hash: p.text
                        for p in document.passages
                        if p.hash not in recalled.known and p.hash not in recalled.vectors
                    }
    if embed.cache is not None and fresh:
        with embed.cache.open() as cache:
            for hash in cache.having(fresh):
                del fresh[hash]
    tokens = sum(tokens_of(embed.model, list(fresh.values())))
    scale = plan.rows / rows if rows < plan.rows and rows else 1.0
    embedded = round(len(fresh) * scale)
    limits = embed.model.limits
    requests = max(-(-embedded // limits.texts), -(-round(tokens * scale) // limits.tokens) if limits.tokens else 0)
    return {
        "rows_read": rows,
        "passages": round(met * scale),
        "reused": round(met * scale) - embedded,
        "embedded": embedded,
        "requests": requests,
        "tokens": round(tokens * scale),
    }


def _first(source: SourceSession, batch: Batch, fields: Sequence[str], rows: int) -> Iterator[Chunk]:
    left = max(1, rows)
    reading = source.read(batch, format=Format.ROWS, fields=fields, chunk_rows=left)
    try:
        for chunk in reading:
            yield chunk
            left -= len(cast("Sequence[Document]", chunk.payload))
            if left <= 0:
                return
    finally:
        close = getattr(reading, "close", None)
        if close is not None:
            close()
