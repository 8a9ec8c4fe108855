"""The demo's last act: a question in words that no document has, answered by vector, and what an edit costs."""

from __future__ import annotations

from typing import Any

import psycopg
from rich.console import Console
from rich.text import Text

from airflow_reindex_provider.embedders.wordllama import WordLlamaEmbedder
from airflow_reindex_provider.testing.airflow import Airflow

DAG_ID = "reindex_api_passages"
QUESTION = "keep retrying a flaky download, pausing longer between tries"
_BY_WORDS = "SELECT count(*) FROM api_guide WHERE search @@ websearch_to_tsquery('english', %s)"
_BY_VECTOR = """
SELECT package || ' ' || version, qualified_name, regexp_replace(text, '\\s+', ' ', 'g'), id
FROM api_guide_passages JOIN api_guide USING (id) ORDER BY embedding <=> %s::vector LIMIT 3
"""
_LONGEST = """
SELECT id FROM api_docs WHERE deleted_at IS NULL AND package <> 'demo' AND docstring LIKE '%. %'
ORDER BY length(docstring) DESC, id LIMIT 1
"""
_EDIT = """
UPDATE api_docs SET docstring = overlay(docstring PLACING '. Edited: ' FROM position('. ' IN docstring) FOR 2), updated_at = now()
WHERE id = %s
"""


class Asking:
    """:param airflow: with the Dag ``reindex_api_passages``, which nobody has run yet."""

    def __init__(self, airflow: Airflow, console: Console) -> None:
        self._airflow = airflow
        self._console = console

    def prepare(self, index: psycopg.Connection[Any]) -> str:
        """Start the first load, which goes on beside what else is shown; returns its run."""
        index.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._airflow.wait_for_dag(DAG_ID)
        self._airflow.pause(DAG_ID, False)
        return self._airflow.trigger(DAG_ID)

    def tell(self, first_run: str, source: psycopg.Connection[Any], index: psycopg.Connection[Any]) -> list[str]:
        """What was not as it should be."""
        surprises: list[str] = []
        loaded = self._sums(first_run)
        self._say(
            f"Meanwhile {loaded['created']:,} long docstrings were cut into {loaded['passages']:,} passages, and each text was"
            f" embedded once: {loaded['embedded']:,} of them, {loaded['reused']:,} were known by then."
        )
        with WordLlamaEmbedder().open() as model:
            asked = list(model.embed_query(QUESTION))
        words = index.execute(_BY_WORDS, [QUESTION]).fetchone()
        hits = index.execute(_BY_VECTOR, [str(asked)]).fetchall()
        self._console.print(Text(f"  {QUESTION}", style="cyan"))
        self._console.print(Text(f"  by words: {words[0] if words else 0:,} hits; by vector:", style="cyan"))
        for package, name, text, _ in hits:
            self._console.print(Text(f"    {package}  {name}  {text}"), no_wrap=True, overflow="ellipsis")
        if words != (0,) or len(hits) != 3:
            surprises.append("the question was to be answered by vector, and by nothing else")

        self._say("One sentence of the longest docstring is edited.")
        row = source.execute(_LONGEST).fetchone()
        if row is None:
            return [*surprises, "no docstring to edit"]
        source.execute(_EDIT, row)
        source.execute("SELECT pg_sleep(2.1)")
        edited = self._sums(self._airflow.trigger(DAG_ID))
        self._console.print(
            f"  Of its document's passages {edited['embedded']} went to the model; {edited['reused']:,} were known."
        )
        if edited["updated"] < 1 or not 1 <= edited["embedded"] <= 2:
            surprises.append(f"an edit of one sentence embedded {edited['embedded']} passages")
        return surprises

    def _sums(self, run: str) -> dict[str, Any]:
        self._airflow.wait_for_run(DAG_ID, run, timeout_s=300)
        sums = dict(self._airflow.xcom(DAG_ID, run, "checkpoint", "reindex_run") or {})
        # Of a run without passages none of these is there.
        return {"passages": 0, "embedded": 0, **sums}

    def _say(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}")
