"""What a file of thirty streams takes longer to be parsed than the same Dags said in Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.contest import say
from tests.benchmarks.figures import Figure

STREAMS = 30
_RUNS = 3
_HEAD = """version: 1
defaults:
  source: {conn_id: shop_db, primary_key: id, cursor_field: updated_at}
  target: {type: opensearch, conn_id: search}
streams:
"""
_STREAM = """  stream_{n}:
    source: {{table: public.table_{n}, soft_delete_column: deleted_at}}
    target: {{index: index_{n}}}
    reindex: {{schedule: "*/5 * * * *", tags: [shop], default_args: {{owner: search}}}}
    rebuild: {{}}
    sweep: {{schedule: "0 3 * * 0", max_delete_fraction: 0.02}}
"""
_FILE = 'from airflow_reindex_provider import ReindexDags\nReindexDags("streams.yaml")\n'
_PYTHON = f"""
from airflow_reindex_provider import OpenSearchTarget, PostgresSource, RebuildDag, ReindexDag, Stream, SweepDag

for n in range({STREAMS}):
    stream = Stream(
        name=f"stream_{{n}}",
        source=PostgresSource("shop_db", table=f"public.table_{{n}}", primary_key="id", cursor_field="updated_at",
                              soft_delete_column="deleted_at"),
        target=OpenSearchTarget("search", index=f"index_{{n}}"),
    )
    ReindexDag(stream, schedule="*/5 * * * *", tags=["shop"], default_args={{"owner": "search"}})
    RebuildDag(stream)
    SweepDag(stream, schedule="0 3 * * 0", max_delete_fraction=0.02)
"""
# What a Dag processor has imported before it comes to a file; processor time, since others use the machine too.
_CODE = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
began = time.process_time()
bag = DagBag(sys.argv[1])
took = time.process_time() - began
assert len(bag.dags) == int(sys.argv[2]) and not bag.import_errors, bag.import_errors
print(took)
"""


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "streams.yaml").write_text(_HEAD + "".join(_STREAM.format(n=n) for n in range(STREAMS)))
        said = _median(Path(folder) / "of_file.py", _FILE)
        made = _median(Path(folder) / "of_python.py", _PYTHON)
    say(f"{STREAMS} streams, {3 * STREAMS} Dags: {said:.2f} s from a file, {made:.2f} s in Python")
    return [Figure.alone("streams_file_s", said - made, "s", at_most=1)]


def _median(file: Path, text: str) -> float:
    file.write_text(text)
    command = [sys.executable, "-c", _CODE, str(file), str(3 * STREAMS)]
    return statistics.median(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        for _ in range(_RUNS)
    )
