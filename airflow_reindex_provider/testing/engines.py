"""``make engines``: a real OpenSearch and a real Elasticsearch until Ctrl-C, to try things on."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack

from airflow_reindex_provider.testing.engine_releases import DISTRIBUTIONS
from airflow_reindex_provider.testing.search_engine import SearchEngine


def main(names: list[str]) -> None:
    with ExitStack() as running:
        for name in names or DISTRIBUTIONS:
            print(f"Starting {name} ...", flush=True)
            engine = running.enter_context(SearchEngine(name))
            print(f"{name} {engine.version} answers at {engine.url}")
            print(f"  export AIRFLOW_CONN_{name.upper()}='{engine.connection_uri()}'")
        print("Ctrl-C ends them and removes their data.", flush=True)
        signal.pause()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print()
    except RuntimeError as error:
        sys.exit(str(error))
