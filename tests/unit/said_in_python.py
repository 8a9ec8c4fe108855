"""What every_option.yaml names by module and name, and the same Dags as it makes, said in Python."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import Asset, CronTriggerTimetable, Param

from airflow_reindex_provider import (
    AssetCheckpoint,
    BedrockEmbedder,
    Child,
    CohereEmbedder,
    ElasticsearchTarget,
    Embed,
    FullText,
    FunctionEmbedder,
    LanceTarget,
    LangChainEmbedder,
    MaintenanceDag,
    MySqlSource,
    OpenAIEmbedder,
    OpenSearchTarget,
    Parent,
    PostgresSource,
    PostgresTarget,
    PostgresVectorCache,
    RebuildDag,
    ReindexDag,
    SplitByContent,
    SqlSource,
    Stream,
    SweepDag,
    TableCheckpoint,
    Through,
    VariableCheckpoint,
    Watch,
    WatchDag,
    WeaviateTarget,
    WordLlamaEmbedder,
    changes_of,
)
from airflow_reindex_provider.core.embedding.embedder import Identity, Limits

ON_CALL = SmtpNotifier(to="somebody@example.org", subject="{{ reindex.subject }}")


def keep(row, *, words=()):
    return row


def called(context):
    """As Airflow calls back."""


@dataclass(frozen=True)
class OwnModel:
    """A model of the author's."""

    words: int
    identity = Identity("own", "model", 3, ())
    limits = Limits(texts=8)
    label = "the model"


CHILDREN = (
    Parent(
        "brand",
        table="public.brands",
        via="brand_id",
        cursor_field="updated_at",
        primary_key="id",
        columns=("name",),
        row_filter="name <> ''",
        soft_delete_column="deleted_at",
        tombstones=False,
        children=(Parent("country", table="countries", via="country_id", cursor_field="updated_at"),),
    ),
    Child(
        "reviews",
        table="public.reviews",
        foreign_key=("product_id", "sku"),
        cursor_field="updated_at",
        primary_key="id",
        columns=("stars",),
        order_by="stars",
        row_filter="stars > 0",
        soft_delete_column="deleted_at",
        tombstones="public.gone_reviews",
        max_rows=100,
    ),
    Child(
        "categories",
        table="public.categories",
        cursor_field="updated_at",
        through=Through(
            "public.product_categories",
            foreign_key=("product_id", "sku"),
            target_key="category_id",
            cursor_field="updated_at",
            tombstones=False,
        ),
    ),
)


def source(**options):
    return PostgresSource("shop_db", primary_key=("id", "sku"), cursor_field="updated_at", **options)


def engine(made, conn_id):
    return made(
        conn_id,
        index="products",
        mappings={"properties": {"title": {"type": "text"}}},
        settings={"index": {"number_of_shards": 1}},
        chunk_rows=10,
        compress=True,
        timeout_s=5,
        nested=("reviews",),
    )


FULL = Stream(
    name="full",
    source=source(
        table="public.products",
        columns=("title", "price"),
        soft_delete_column="deleted_at",
        row_filter="price > 0",
        tombstones="public.gone",
        children=CHILDREN,
        lag=timedelta(minutes=5),
        margin=timedelta(seconds=1),
    ),
    target=PostgresTarget(
        "search_db",
        index="public.products",
        columns={"price": "numeric"},
        full_text=FullText(("title",), config="simple", name="words"),
        indexes=("USING gin (search)",),
        chunk_rows=10,
        passage_indexes=("USING hnsw (embedding vector_l2_ops)",),
    ),
    embed=Embed(
        ("title",),
        model=OwnModel(words=3),
        splitter=SplitByContent(max_tokens=100, max_characters=100),
        concurrency=2,
        cache=PostgresVectorCache("search_db", table="public.vectors"),
    ),
    checkpoint=TableCheckpoint("search_db", table="public.kept"),
    transform=keep,
    initial_value=datetime(2026, 1, 1, tzinfo=UTC),
    batch_size=10,
    max_batches=5,
    max_failures=0,
)
QUERY = Stream(
    name="query",
    source=source(query="SELECT * FROM products", cursor_timezone="Europe/Berlin", lag=timedelta(hours=1)),
    target=PostgresTarget("search_db", index="public.products"),
    checkpoint=VariableCheckpoint(prefix="kept"),
)
ANY_DATABASE = Stream(
    name="any_database",
    source=SqlSource(
        "orders_db",
        table="orders",
        primary_key=("id", "line"),
        cursor_field="updated_at",
        columns=("title",),
        soft_delete_column="deleted",
        row_filter="price > 0",
        group_by="tenant",
        lag=timedelta(minutes=5),
        cursor_timezone="UTC",
    ),
    target=PostgresTarget("search_db", index="public.products_{group}"),
)
MARIA = Stream(
    name="maria",
    source=MySqlSource(
        "orders_db",
        table="orders",
        primary_key=("id", "line"),
        cursor_field="updated_at",
        columns=("title",),
        soft_delete_column="deleted",
        row_filter="price > 0",
        group_by="tenant",
        lag=timedelta(minutes=5),
        margin=timedelta(seconds=1),
        tombstones="gone_orders",
        children=(Parent("buyer", table="buyers", via="buyer_id", cursor_field="updated_at"),),
        cursor_timezone="UTC",
    ),
    target=PostgresTarget("search_db", index="public.products_{group}"),
)
GROUPED = Stream(
    name="grouped",
    source=source(table="public.products", group_by="tenant"),
    target=PostgresTarget("search_db", index="public.products_{group}"),
    checkpoint=AssetCheckpoint("kept"),
)
ENGINES = [
    Stream(name=name, source=source(table="public.products"), target=engine(made, conn_id))
    for name, made, conn_id in (
        ("engine", OpenSearchTarget, "opensearch"),
        ("other", ElasticsearchTarget, "elasticsearch"),
    )
]
LAKE = Stream(
    name="lake",
    source=source(table="public.products"),
    target=LanceTarget(
        "lake", index="products", columns={"price": "numeric(10,2)"}, indexes={"title": "FTS"}, chunk_rows=10
    ),
)
WEAVIATE = Stream(
    name="weaviate",
    source=source(table="public.products"),
    target=WeaviateTarget("weaviate", index="Products", columns={"price": "text"}, chunk_rows=10),
)
TARGETS = [*ENGINES, LAKE, WEAVIATE]

MODELS = {
    "openai": OpenAIEmbedder(
        "openai",
        model="small",
        dimensions=3,
        document_prefix="passage: ",
        query_prefix="query: ",
        options={"user": "somebody"},
        query_options={"user": "somebody"},
        texts_per_request=8,
        tokens_per_request=100,
        timeout_s=5,
    ),
    "bedrock": BedrockEmbedder(
        "aws",
        model="eu.cohere.embed-v4:0",
        family="cohere",
        dimensions=256,
        truncate="END",
        region_name="eu-central-1",
        texts_per_request=8,
        timeout_s=5,
    ),
    "cohere": CohereEmbedder(
        "cohere", model="embed-v4.0", dimensions=256, truncate="END", texts_per_request=8, timeout_s=5
    ),
    "langchain": LangChainEmbedder(make=called, model="mine", dimensions=3, texts_per_request=8),
    "function": FunctionEmbedder(
        function=called, query_function=called, model="mine", dimensions=3, texts_per_request=8
    ),
    "wordllama": WordLlamaEmbedder(dimensions=64),
}
EMBEDDED = [
    Stream(
        name=name,
        source=source(table="public.products"),
        target=PostgresTarget("search_db", index="public.products"),
        embed=Embed(("title",), model=model),
    )
    for name, model in MODELS.items()
]


def every():
    return {
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": True,
        "pool": "narrow",
        "task_args": {
            "retries": 5,
            "retry_delay": timedelta(minutes=1),
            "queue": "indexing",
            "outlets": [Asset("more")],
        },
        "params": {"more": Param("value", type="string")},
        "tags": ["some", "tags", "in", "a", "set"],
        "default_args": {"owner": "somebody", "on_failure_callback": called},
        "on_failure_callback": [called],
        "user_defined_macros": {"keep": keep},
        "dagrun_timeout": timedelta(hours=2),
    }


def dags():
    day = datetime(2026, 1, 1, tzinfo=UTC)
    watched = Watch(
        FULL,
        fresh_within=timedelta(minutes=1),
        longest_run=timedelta(hours=1),
        stuck_after=timedelta(minutes=20),
        most_parked=3,
        longest_wait=timedelta(hours=3),
        swept_within=timedelta(days=8),
        dag_id="reindex_full",
    )
    several = {"schedule": "@hourly", "start_date": day, "catchup": True, "task_args": {"retries": 5}}
    yield WatchDag([watched], notifiers=[ON_CALL], dag_id="watch", **several)
    yield WatchDag([watched], notifiers=[SmtpNotifier(to="somebody@example.org")], dag_id="watch_too")
    # In the order of the file.
    streams = [FULL, QUERY, GROUPED, *TARGETS, *EMBEDDED, ANY_DATABASE, MARIA]
    yield MaintenanceDag(
        streams,
        schedule=CronTriggerTimetable("@weekly", timezone="Europe/Berlin"),
        retain=2,
        older_than=timedelta(days=3),
        tombstones_older_than=timedelta(days=9),
        owners={"shop_db": "shop_owner"},
        gone=["old", "older"],
        start_date=day,
        catchup=True,
        task_args={"retries": 5},
        tags=["some"],
    )
    yield ReindexDag(FULL, schedule="@hourly", max_active_batches=2, **every())
    yield RebuildDag(
        FULL,
        schedule=timedelta(days=7),
        max_lag=timedelta(seconds=5),
        min_size_ratio=0.1,
        retain=3,
        lease=timedelta(minutes=1),
        max_wait=timedelta(hours=1),
        approval_timeout=timedelta(hours=1),
        max_active_batches=2,
        **every(),
    )
    yield SweepDag(
        FULL,
        schedule=[FULL.asset],
        max_delete_fraction=0.5,
        compare="content",
        max_active_ranges=2,
        max_wait=timedelta(0),
        **every(),
    )
    on_changes = changes_of(
        EMBEDDED[0],
        poll_interval=timedelta(seconds=5),
        at_most_every=timedelta(minutes=1),
        at_least_every="@daily",
    )
    yield ReindexDag(EMBEDDED[0], schedule=on_changes, **every())
    for stream in (QUERY, ANY_DATABASE, MARIA, GROUPED, *TARGETS, *EMBEDDED[1:]):
        yield ReindexDag(stream, **every())
    for stream in (GROUPED, *TARGETS, *EMBEDDED):
        yield RebuildDag(stream, **every())
    weekly = CronTriggerTimetable("0 3 * * 0", timezone="Europe/Berlin")
    yield SweepDag(GROUPED, schedule=weekly, **every())
    yield SweepDag(GROUPED, dag_id="sweep_content", compare="content", **every())
    for stream in (*TARGETS, *EMBEDDED):
        yield SweepDag(stream, **every())
