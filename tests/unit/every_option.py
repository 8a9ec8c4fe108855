"""A Dag file with every option of every public class, and every kind of value that an author may give. See test_dag_versions."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, ExceptionRetryPolicy, Param, RetryAction, RetryRule, task

from airflow_reindex_provider import (
    AssetCheckpoint,
    BedrockEmbedder,
    ChangesSensor,
    CheckpointOperator,
    Child,
    CohereEmbedder,
    ElasticsearchTarget,
    Embed,
    ExtractChangesOperator,
    FullText,
    FunctionEmbedder,
    IndexBatchOperator,
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
    ReindexTaskGroup,
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
)
from airflow_reindex_provider.core.embedding.embedder import Identity, Limits
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.dags import WINDOW_PARAMS

CONN = "shop_db"


def source(**options):
    return PostgresSource(conn_id=CONN, primary_key=("id", "sku"), cursor_field="updated_at", **options)


TABLE = source(
    table="public.products",
    columns=("title", "price"),
    soft_delete_column="deleted_at",
    row_filter="price > 0",
    tombstones="public.gone",
    children=(
        Parent(
            name="brand",
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
            name="reviews",
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
            children=(),
        ),
        Child(
            "categories",
            table="public.categories",
            cursor_field="updated_at",
            through=Through(
                table="public.product_categories",
                foreign_key=("product_id", "sku"),
                target_key="category_id",
                cursor_field="updated_at",
                tombstones=False,
            ),
        ),
    ),
    lag=timedelta(minutes=5),
    margin=timedelta(seconds=1),
)
QUERY = source(query="SELECT * FROM products", cursor_timezone="Europe/Berlin", lag=timedelta(hours=1))
ANY = SqlSource(
    conn_id="orders_db",
    table="orders",
    primary_key=("id", "line"),
    cursor_field="updated_at",
    columns=("title",),
    soft_delete_column="deleted",
    row_filter="price > 0",
    group_by="tenant",
    lag=timedelta(minutes=5),
    cursor_timezone="UTC",
)
MARIA = MySqlSource(
    conn_id="orders_db",
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
)
POSTGRES = PostgresTarget(
    conn_id="search_db",
    index="public.products",
    columns={"price": "numeric"},
    full_text=FullText(columns=("title",), config="simple", name="words"),
    indexes=("USING gin (search)",),
    chunk_rows=10,
    passage_indexes=("USING hnsw (embedding vector_l2_ops)",),
    passages=Recipe(("title",), "a model", 3, "a splitter"),
)
SEARCH = {
    "index": "products",
    "mappings": {"properties": {"title": {"type": "text"}}},
    "settings": {"index": {"number_of_shards": 1}},
    "nested": ("reviews",),
    "chunk_rows": 10,
    "compress": True,
    "timeout_s": 5,
    "passages": Recipe(("title",), "a model", 3, "a splitter"),
}


def keep(row, *, words=()):
    return row


def nested():
    def inner(row):
        return row

    return inner


class Maker:
    def __call__(self, row):
        return row

    def method(self, row):
        return row

    @classmethod
    def of_class(cls, row):
        return row


@dataclass(frozen=True)
class Configured:
    words: frozenset = frozenset({"some", "words", "in", "a", "set"})
    helper: object = field(default_factory=Maker)

    def __call__(self, row):
        return row


class OwnStore:
    """A store of the author's, which says nothing of itself."""

    def __init__(self):
        self.names = {"an", "order", "by", "hash"}


@attrs.frozen
class OwnTarget:
    """A target of the author's, made another way than ours."""

    words: frozenset = frozenset({"some", "words", "in", "a", "set"})
    made_by: object = attrs.field(factory=nested)
    options: dict = attrs.field(factory=lambda: {"how": {"some", "more"}, "helper": Maker()})
    label: str = "an index"
    guarantee: str = "versioned"


class OwnModel:
    """A model of the author's, which says nothing of itself."""

    identity = Identity("own", "model", 3, (("prefix", "query: "),))
    limits = Limits(texts=8)
    label = "the model"

    def __init__(self):
        self.words = {"an", "order", "by", "hash"}


TRANSFORMS = {
    "function": keep,
    "lambda": lambda row: row,
    "nested": nested(),
    "partial": partial(keep, words={"one", "two", "three"}),
    "bound": Maker().method,
    "of_class": Maker.of_class,
    "object": Maker(),
    "configured": Configured(),
    "builtin": dict,
}
STORES = {
    "variable": VariableCheckpoint(prefix="kept"),
    "table": TableCheckpoint(conn_id="search_db", table="public.kept"),
    "asset": AssetCheckpoint(asset=Asset("kept")),
    "asset_by_name": AssetCheckpoint("kept"),
    "own": OwnStore(),
}
TARGETS = {
    "postgres": POSTGRES,
    "opensearch": OpenSearchTarget(conn_id="opensearch", **SEARCH),
    "elasticsearch": ElasticsearchTarget(conn_id="elasticsearch", **SEARCH),
    "lance": LanceTarget(
        conn_id="lake",
        index="products",
        columns={"price": "numeric(10,2)"},
        indexes={"title": "FTS"},
        chunk_rows=10,
        passages=Recipe(("title",), "a model", 3, "a splitter"),
    ),
    "weaviate": WeaviateTarget(
        conn_id="weaviate",
        index="Products",
        columns={"price": "text"},
        chunk_rows=10,
        passages=Recipe(("title",), "a model", 3, "a splitter"),
    ),
    "own": OwnTarget(),
}
GROUPED = PostgresTarget("search_db", index="public.products_{group}")
MODELS = {
    "openai": OpenAIEmbedder(
        conn_id="models",
        model="e5",
        dimensions=3,
        document_prefix="passage: ",
        query_prefix="query: ",
        options={"extra_body": {"input_type": "passage"}},
        query_options={"user": "a search"},
        texts_per_request=8,
        tokens_per_request=1_000,
        timeout_s=5,
    ),
    "bedrock": BedrockEmbedder(
        conn_id="aws",
        model="eu.cohere.embed-v4:0",
        family="cohere",
        dimensions=256,
        truncate="END",
        region_name="eu-central-1",
        texts_per_request=8,
        timeout_s=5,
    ),
    "cohere": CohereEmbedder(
        conn_id="cohere", model="embed-v4.0", dimensions=256, truncate="END", texts_per_request=8, timeout_s=5
    ),
    "langchain": LangChainEmbedder(make=Maker().method, model="mine", dimensions=3, texts_per_request=8),
    "function": FunctionEmbedder(
        function=Maker().method, model="mine", dimensions=3, query_function=lambda texts: [], texts_per_request=8
    ),
    "wordllama": WordLlamaEmbedder(dimensions=64),
}
STREAMS = {
    **{f"by_{name}": Stream(name=name, source=TABLE, target=POSTGRES, transform=t) for name, t in TRANSFORMS.items()},
    **{f"in_{name}": Stream(name=name, source=QUERY, target=POSTGRES, checkpoint=c) for name, c in STORES.items()},
    **{f"to_{name}": Stream(name=name, source=TABLE, target=t) for name, t in TARGETS.items()},
    "grouped": Stream(
        name="grouped",
        source=source(table="public.products", group_by="tenant"),
        target=GROUPED,
        transform=Configured(),
    ),
    **{
        f"embedded_{name}": Stream(name=name, source=TABLE, target=POSTGRES, embed=Embed(("title",), model=model))
        for name, model in MODELS.items()
    },
    "split_by_hand": Stream(
        name="split_by_hand",
        source=TABLE,
        target=POSTGRES,
        embed=Embed(fields=("title",), model=OwnModel(), splitter=Maker().method, concurrency=2),
    ),
    "of_any_database": Stream(name="of_any_database", source=ANY, target=GROUPED),
    "of_maria": Stream(name="of_maria", source=MARIA, target=GROUPED),
    "cached": Stream(
        name="cached",
        source=TABLE,
        target=POSTGRES,
        embed=Embed(
            ("title",),
            model=MODELS["wordllama"],
            cache=PostgresVectorCache(conn_id="search_db", table="public.vectors"),
        ),
    ),
    "full": Stream(
        name="full",
        source=TABLE,
        target=POSTGRES,
        checkpoint=OwnStore(),
        transform=Configured(),
        embed=Embed(("title",), model=OwnModel(), splitter=SplitByContent(max_tokens=100, max_characters=100)),
        initial_value=datetime(2026, 1, 1, tzinfo=UTC),
        batch_size=10,
        max_batches=5,
        max_failures=0,
    ),
}
PATIENT = ExceptionRetryPolicy(rules=[RetryRule(exception=ValueError, action=RetryAction.RETRY, reason="again")])
EVERY = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": True,
    "pool": "narrow",
    "tell_failures": True,
    "task_args": {
        "retries": 5,
        "retry_policy": PATIENT,
        "retry_delay": timedelta(minutes=1),
        "queue": "indexing",
        "on_failure_callback": lambda context: None,
        "pre_execute": nested(),
        "executor_config": {"labels": {"some", "of", "them"}},
        "outlets": [Asset("more")],
    },
    "params": {"more": Param("value", type="string")},
    "tags": {"some", "tags", "in", "a", "set"},
    "default_args": {"owner": "somebody", "retry_policy": PATIENT},
    "on_failure_callback": [keep, lambda context: None],
    "user_defined_macros": {"keep": keep},
}

for name, stream in STREAMS.items():
    ReindexDag(stream, dag_id=f"reindex_{name}", schedule="@hourly", max_active_batches=2, **EVERY)
for name in ("grouped", "full"):
    RebuildDag(
        STREAMS[name],
        dag_id=f"rebuild_{name}",
        schedule=timedelta(days=7),
        max_lag=timedelta(seconds=5),
        min_size_ratio=0.1,
        retain=3,
        lease=timedelta(minutes=1),
        max_wait=timedelta(hours=1),
        approval_timeout=timedelta(hours=1),
        max_active_batches=2,
        **EVERY,
    )
    SweepDag(
        STREAMS[name],
        dag_id=f"sweep_{name}",
        schedule=[STREAMS[name].asset],
        max_delete_fraction=0.5,
        compare="content",
        max_active_ranges=2,
        max_wait=timedelta(0),
        **EVERY,
    )

MaintenanceDag(
    streams=list(STREAMS.values()),
    dag_id="maintain",
    schedule="@weekly",
    retain=2,
    older_than=timedelta(days=3),
    tombstones_older_than=timedelta(days=9),
    owners={CONN: "shop_owner"},
    gone=["old", "older"],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=True,
    task_args=EVERY["task_args"],
    params={"more": Param("value", type="string")},
    tags={"some", "tags", "in", "a", "set"},
)

WatchDag(
    watched=[
        Watch(
            STREAMS["full"],
            fresh_within=timedelta(minutes=1),
            longest_run=timedelta(hours=1),
            stuck_after=None,
            most_parked=3,
            longest_wait=timedelta(hours=3),
            swept_within=timedelta(days=8),
            dag_id="reindex_full",
        )
    ],
    notifiers=[SmtpNotifier(to="somebody@example.org", subject="{{ reindex.subject }}")],
    dag_id="watch",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=True,
    task_args=EVERY["task_args"],
)

with DAG("by_hand", schedule=CronDataIntervalTimetable("@daily", timezone="UTC"), params=WINDOW_PARAMS):
    stream = STREAMS["full"]
    waited = ChangesSensor(task_id="wait", stream=stream, deferrable=True, poke_interval=5)
    waited_for = ChangesSensor.partial(task_id="wait_for", deferrable=True).expand(
        stream=[STREAMS["by_lambda"], STREAMS["in_own"]]
    )
    extract = ExtractChangesOperator(
        task_id="extract", stream=stream, window_start="{{ ds }}", window_end="{{ ds }}", plan_only=True
    )
    index = IndexBatchOperator.partial(task_id="index", stream=stream, retry_policy=PATIENT).expand(
        batch=extract.output
    )
    waited >> waited_for >> extract >> index
    index >> CheckpointOperator(task_id="checkpoint", stream=stream, extract_task_id="extract", index_task_id="index")

    @task
    def say(run):
        return run

    say.override(task_id="of_values")(
        [STREAMS["by_lambda"], STREAMS["in_own"], TABLE, QUERY, *STORES.values(), POSTGRES]
    )
    group = ReindexTaskGroup(
        stream, group_id="in_group", max_active_batches=2, pool="narrow", task_args=EVERY["task_args"]
    )
    say(group.checkpoint.output)
