"""Somebody is called when the index of a stream falls behind, once, and once when it is well again."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.definitions.context import Context

from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream, Watch, WatchDag


class LogNotifier(BaseNotifier):
    """Writes into the task's log. A deployment takes SmtpNotifier, SlackNotifier or another one of a provider."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Context) -> None:
        self.log.warning("%s", self.text)


shelves = Stream(
    name="shelves",
    source=PostgresSource("shop_db", table="public.shelves", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("search_db", index="public.shelves_index"),
)

ReindexDag(shelves, schedule="*/5 * * * *")
WatchDag(
    [Watch(shelves, fresh_within=timedelta(minutes=15), most_parked=10)],
    notifiers=[LogNotifier("{{ reindex.text }}")],
)
