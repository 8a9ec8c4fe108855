"""Files of streams that cannot be meant: the text, the line of what is wrong, and what is said of it. See test_streams_file."""

from __future__ import annotations

GOOD = """\
version: 1
streams:
  products:
    source: {conn_id: shop_db, table: public.products, primary_key: id, cursor_field: updated_at}
    target: {type: postgres, conn_id: search_db, index: public.products_index}
    reindex: {}
"""


def stream(text: str, *, name: str = "products") -> str:
    """A file of one stream, whose mapping begins on line 4."""
    return f"version: 1\nstreams:\n  {name}:\n" + "".join(f"    {line}\n" for line in text.splitlines())


SOURCE = "source: {conn_id: shop_db, table: public.products, primary_key: id, cursor_field: updated_at}"
TARGET = "target: {type: postgres, conn_id: search_db, index: public.products_index}"


def with_source(text: str) -> str:
    """What is said of the source begins on line 5; key, cursor and connection are there."""
    own = [f"  {line}" for line in text.splitlines()]
    rest = ["  conn_id: shop_db", "  primary_key: id", "  cursor_field: updated_at"]
    return stream("\n".join(["source:", *own, *rest, TARGET]))


def with_target(text: str) -> str:
    """Its target begins on line 6."""
    return stream("\n".join([SOURCE, "target:", *(f"  {line}" for line in text.splitlines())]))


def with_more(text: str) -> str:
    """What more the stream says begins on line 6."""
    return stream("\n".join([SOURCE, TARGET, *text.splitlines()]))


WHOLE = {
    "is a list": ("- products\n", 1, "the file has to be a mapping with version and streams"),
    "is empty": ("", 1, "the file has to be a mapping with version and streams"),
    "is no YAML": ("version: 1\nstreams: {products: [}\n", 2, "this is no YAML"),
    "tabs": ("version: 1\nstreams:\n\tproducts: {}\n", 3, "this is no YAML"),
    "no version": (GOOD.replace("version: 1\n", ""), 1, "version is missing: write version: 1"),
    "version of another": (GOOD.replace("version: 1", "version: 2"), 1, "version 2 is not known: write version: 1"),
    "no streams": ("version: 1\n", 1, "streams is missing: names of streams"),
    "streams in a list": ("version: 1\nstreams:\n- products\n", 2, "streams takes a mapping of names of streams"),
    "unknown at the top": (GOOD.replace("streams:", "stream:"), 2, "stream is not known. Did you mean streams?"),
    "defaults in a list": (
        "version: 1\ndefaults: [1]\nstreams: {}\n",
        2,
        "defaults takes a mapping of parts of a stream",
    ),
    "variable in the defaults": (
        GOOD.replace("streams:", "defaults:\n  batch_size: ${NOWHERE}\nstreams:"),
        3,
        "the variable NOWHERE is not set: set it, or write ${NOWHERE:-what else it is}",
    ),
}
"""What is wrong with the file, and so with all of its streams."""

OF_A_STREAM = {
    "is null": ("version: 1\nstreams:\n  products:\n", 3, "the stream takes a mapping, with source and target"),
    "no source": (stream(TARGET), 3, "source is missing: the table or query"),
    "no target": (stream(SOURCE), 3, "target is missing: the index"),
    "name with a space": (stream(f"{SOURCE}\n{TARGET}", name="my products"), 3, "use up to 100 letters, digits"),
    "unknown part": (with_more("sources: {}"), 6, "sources is not known. Did you mean source?"),
    "source is text": (
        stream(f"source: public.products\n{TARGET}"),
        4,
        "source takes a mapping, and not 'public.products'",
    ),
    "misspelt field": (with_source("tabel: public.products"), 5, "source.tabel is not known. Did you mean table?"),
    "no conn_id": (
        stream(f"source: {{table: t, primary_key: id, cursor_field: c}}\n{TARGET}"),
        4,
        "source.conn_id is missing: Airflow connection of type Postgres",
    ),
    "number for text": (with_source("table: 5"), 5, "source.table takes text, and not 5"),
    "text for a duration": (
        with_source("table: t\nlag: soon"),
        6,
        "source.lag takes a duration like 90s, 15min, 6h or 1d or a whole number, and not 'soon'",
    ),
    "number for a duration": (with_source("table: t\nmargin: 2"), 6, "source.margin takes a duration like 90s"),
    "mapping for a list": (with_source("table: t\ncolumns: {a: b}"), 6, "source.columns takes a list"),
    "list of numbers": (with_source("table: t\ncolumns:\n- title\n- 5"), 8, "source.columns[1] takes text, and not 5"),
    "a class's own refusal": (with_source("query: SELECT 1\ntombstones: true"), 4, "tombstones need a table"),
    "table and query": (with_source("table: t\nquery: SELECT 1"), 4, "give either table or query"),
    "unknown kind": (
        with_target("type: opensearc"),
        5,
        "target.type 'opensearc' is not known. Did you mean opensearch?",
    ),
    "no kind": (with_target("index: products"), 5, "target.type is missing: one of "),
    "field of another kind": (
        with_target("type: opensearch\nconn_id: search\nindex: products\nfull_text: {columns: [title]}"),
        9,
        "target.full_text is not known",
    ),
    "class that is not there": (
        with_target("type: nowhere.Target"),
        6,
        "target.type: nowhere.Target cannot be imported",
    ),
    "index in capitals": (
        with_target("type: opensearch\nconn_id: search\nindex: Products"),
        5,
        "OpenSearch takes names in lower case",
    ),
    "mapping's file that is not there": (
        with_target("type: opensearch\nconn_id: search\nindex: products\nmappings: mapping.json"),
        9,
        "there is no file ",
    ),
    "inner field": (
        with_target("type: postgres\nconn_id: s\nindex: i\nfull_text:\n  columns: [title]\n  language: english"),
        11,
        "target.full_text.language is not known. There are: columns, config, name",
    ),
    "transform that is not there": (
        with_more("transform: nowhere.make"),
        6,
        "nowhere.make cannot be imported (ModuleNot",
    ),
    "transform that is no name": (
        with_more("transform: make"),
        6,
        "transform takes a Python object by its module and its",
    ),
    "transform that is no function": (with_more("transform: math.pi"), 6, "math.pi is a float and cannot be called"),
    "size below 1": (with_more("batch_size: 0"), 3, "batch_size starts at 1"),
    "size in words": (with_more("batch_size: many"), 6, "batch_size takes a whole number, and not 'many'"),
    "enabled in words": (with_more("enabled: yes"), 6, "enabled takes true or false, and not 'yes'"),
    "a key twice": (with_more("batch_size: 5\nbatch_size: 6"), 7, "batch_size stands on line 6 already"),
    "variable that is not set": (with_more("batch_size: ${NOWHERE}"), 6, "the variable NOWHERE is not set"),
    "variable that is a secret": (with_more("transform: ${DB_PASSWORD}"), 6, "${DB_PASSWORD} looks like a secret"),
    "empty job": (with_more("reindex:"), 6, "reindex takes a mapping: {} for a Dag with what it has by itself"),
    "cron of six fields": (with_more('reindex: {schedule: "0 * * * * *"}'), 6, "a cron expression of five fields"),
    "cron out of range": (with_more('reindex:\n  schedule: "61 * * * *"'), 7, "a cron expression of five fields"),
    "zone that is none": (
        with_more("sweep: {schedule: '@daily', timezone: Mars/Phobos}"),
        6,
        "sweep.timezone takes a time zone like Europe/Berlin, and not 'Mars/Phobos'",
    ),
    "argument of another Dag": (with_more("reindex:\n  retain: 2"), 7, "reindex.retain is not known"),
    "task argument": (
        with_more("sweep: {task_args: {retires: 5}}"),
        6,
        "task_args.retires is not known. Did you mean retries?",
    ),
    "one Dag twice": (with_more("sweep: [{}, {}]"), 6, "the Dag 'sweep_products' is that of stream 'products' already"),
}
"""What is wrong with one stream, and costs the others nothing."""
