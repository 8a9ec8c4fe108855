"""Streams that are watched, and a notifier that writes down what it is told."""

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk.bases.notifier import BaseNotifier
from streams_for_tests import QUICK, picky, stream

from airflow_reindex_provider import PostgresTarget, ReindexDag, Stream, Watch, WatchDag


class Diary(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, text):
        super().__init__()
        self.text = text

    def notify(self, context):
        line = json.dumps({"text": self.text, "reindex": context["reindex"]})
        with (Path(os.environ["REINDEX_TEST_BRAKES"]) / "diary").open("a") as diary:
            diary.write(f"{line}\n")


NO_RETRIES = {**QUICK, "retries": 0}
held_back = stream("held_back", conn_id="stalled_db")
parks = stream("parks", transform=picky, target={"columns": {"length": "int"}})
rests = stream("rests")
of_nothing = stream("of_nothing")
down = Stream(
    name=of_nothing.name, source=of_nothing.source, target=PostgresTarget("nowhere_db", index="public.of_nothing_index")
)
for one in (held_back, parks, rests, down):
    ReindexDag(one, task_args=NO_RETRIES)

PROMISED = timedelta(minutes=2)
"""Longer than a run and a look take on a machine that does much else."""
WatchDag(
    [
        Watch(held_back, fresh_within=PROMISED),
        Watch(down, fresh_within=PROMISED),
        Watch(rests, fresh_within=PROMISED),
        Watch(parks, fresh_within=None, most_parked=1),
    ],
    notifiers=[Diary("{{ reindex.subject }}")],
    dag_id="watch_four",
    schedule=None,
)
