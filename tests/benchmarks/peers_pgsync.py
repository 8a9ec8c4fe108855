"""PGSync, into an OpenSearch index: ``peers_pgsync uri engine redis folder index rows [bootstrap]``. One run of it, which
reads what has changed since its checkpoint by ``xmin`` and then from its replication slot. With ``bootstrap`` it makes that
first, and reads all. Run by the Python of `make peers`; its checkpoint is a file in the folder."""

from __future__ import annotations

import contextlib
import os
import sys

from tests.benchmarks.meter import Meter, answer
from tests.benchmarks.peers_address import address


def main(uri: str, engine: str, redis: str, folder: str, index: str, rows: str, bootstrap: str = "") -> None:
    # It reads its settings as it is imported.
    os.environ.update(
        PG_URL=address(uri),
        OPENSEARCH="true",
        ELASTICSEARCH="false",
        ELASTICSEARCH_URL=engine,
        REDIS_URL=redis,
        # By itself ten seconds, after which it gives up: the first body meets an engine that is not warm.
        ELASTICSEARCH_TIMEOUT="120",
        CHECKPOINT_PATH=folder,
        CONSOLE_LOGGING_HANDLER_MIN_LEVEL="ERROR",
    )
    from pgsync.sync import Sync

    document = {"database": "bench", "index": index, "nodes": {"table": "products", "schema": "public"}}
    # It draws bars.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        sync = Sync(document, bootstrap=bool(bootstrap))
        meter = Meter()
        sync.pull()
        used = meter.read()
    answer(rows=int(rows), **used)


if __name__ == "__main__":
    main(*sys.argv[1:])
