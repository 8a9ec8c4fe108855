"""Texts into pgvector: ours against psql with vectors ready made, against the model's own time and what people use instead, and
its memory."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import vectors_data
from tests.benchmarks.contest import Answer, median, process, say
from tests.benchmarks.figures import Figure
from tests.benchmarks.psql import binary
from tests.benchmarks.task import STAMP

ROWS = 20_000
"""Articles; ten times as many passages."""
SLOW_S, SLOW_REQUESTS, SLOW_TEXTS, AT_ONCE = 0.2, 480, 32, 8
"""Long enough, twelve seconds, that the beginning of the task and its end, where the pipe fills and empties, count little."""
REPETITIONS = 3
MODEL_ROWS = 4_000
_PASSAGES = f"public.articles_index_{STAMP}_passages"


def figures(database: Database) -> list[Figure]:
    vectors_data.make(database, "articles", ROWS)
    rates: dict[str, list[dict[str, float]]] = {"ours": [], "psql": []}
    for _ in range(REPETITIONS):
        rates["ours"].append(process("vectors_ours", "articles", ROWS, 384, 0, 512, 4))
        rates["psql"].append(_psql(database))
        _drop(database, "articles")
    passages = ROWS * vectors_data.PASSAGES
    ours, psql = (passages / median(rates[name], "seconds") for name in ("ours", "psql"))

    say(f"without a model's cost: {ours:,.0f} texts/s, psql {psql:,.0f}")
    slow = SLOW_REQUESTS * SLOW_TEXTS // vectors_data.PASSAGES
    vectors_data.make(database, "slow", slow)
    waited = process("vectors_ours", "slow", slow, 384, SLOW_S, SLOW_TEXTS, AT_ONCE)
    sent = slow * vectors_data.PASSAGES / SLOW_TEXTS / waited["seconds"]

    say(f"{SLOW_S:g} s a request, {AT_ONCE} at a time: {sent:.1f} requests/s")
    vectors_data.make(database, "wide", 2_000)
    wide = process("vectors_ours", "wide", 2_000, 3072, 0, 512, 4, "fresh")
    vectors_data.make(database, "huge", 1, passages=5_000)
    huge = process("vectors_ours", "huge", 1, 3072, 0, 512, 4, "fresh")

    say(f"peaks: {wide['peak_mb']:.1f} MB, one document {huge['peak_mb']:.1f} MB")
    models: dict[str, Answer] = {}
    for name in ("ours", "by_hand", "langchain"):
        vectors_data.make(database, f"texts_{name}", MODEL_ROWS)
        models[name] = process("vectors_model", name, f"texts_{name}", database.dsn)
    for run in ("first", "column", "word", "nothing"):
        told = (f"{name} {a[f'{run}_texts']:,.0f} texts in {a[f'{run}_s']:.1f} s" for name, a in models.items())
        say(f"{run}: {', '.join(told)}")
    model, hand = models["ours"], models["by_hand"]

    return [
        Figure.compared("vectors_pg_vs_copy", ours, psql, "texts/s", at_least=0.8),
        Figure.compared("vectors_pipe_kept_full", sent, AT_ONCE / SLOW_S, "requests/s", at_least=0.9),
        Figure.alone("vectors_peak_mb", wide["peak_mb"], "MB", at_most=100.0),
        Figure.alone("vectors_huge_peak_mb", huge["peak_mb"], "MB", at_most=100.0),
        Figure.compared("vectors_model_share", model["first_model_s"], model["first_s"], "s", at_least=0.8),
        Figure.compared("vectors_model_vs_by_hand", hand["first_s"], model["first_s"], "s", at_least=1.0),
        Figure.alone("vectors_column_texts", model["column_texts"], "texts", at_most=0.0),
        Figure.compared("vectors_word_vs_by_hand", model["word_texts"], hand["word_texts"], "texts", at_most=0.11),
        Figure.alone("vectors_nothing_texts", model["nothing_texts"], "texts", at_most=0.0),
    ]


def _psql(database: Database) -> dict[str, float]:
    """A binary COPY of the passages that ours has just made, into a table with the same indexes."""
    psql = [str(binary()), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.dsn, "-c"]
    with tempfile.TemporaryDirectory() as folder, database.connect() as connection:
        path = Path(folder, "vectors")
        with path.open("wb") as file:
            subprocess.run([*psql, f"COPY {_PASSAGES} TO STDOUT (FORMAT binary)"], stdout=file, check=True)
        connection.execute(f"CREATE TABLE public.copied (LIKE {_PASSAGES} INCLUDING INDEXES)")
        connection.execute("CHECKPOINT")
        began = time.perf_counter()
        with path.open("rb") as file:
            subprocess.run([*psql, "COPY public.copied FROM STDIN (FORMAT binary)"], stdin=file, check=True)
        seconds = time.perf_counter() - began
        connection.execute("DROP TABLE public.copied")
    return {"seconds": seconds}


def _drop(database: Database, table: str) -> None:
    with database.connect() as connection:
        connection.execute(f"DROP TABLE public.{table}_index_{STAMP}, public.{table}_index_{STAMP}_passages CASCADE")
        connection.execute("CHECKPOINT")
