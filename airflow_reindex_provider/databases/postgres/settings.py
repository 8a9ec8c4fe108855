"""Settings of the server that would change what our SQL means or what it answers: the one place where they are settled."""

from __future__ import annotations

READER_TAG = "airflow_reindex_reader"
"""``application_name`` of our readers begins like this, see :data:`IS_OUR_READER`."""

WRITER_TAG = "airflow_reindex_writer"

_BEGAN = "(extract(epoch FROM {}) * 1000000)::bigint"

IS_OUR_READER = f"application_name = '{READER_TAG} ' || {_BEGAN.format('xact_start')}"
"""Condition on a row of ``pg_stat_activity``. Our transactions that only read carry their own start in their name, so no other
transaction is taken for one: not of a session that once was ours, nor of somebody who likes the name."""

SETTLED = {
    # Whatever the server, the database or the role sets, the same value always becomes the same text or bytes ...
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "xmlbinary": "base64",
    # ... names the same names, and our statements mean the same.
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "xmloption": "content",
    # What a statement of many parts is guessed to cost says little, and compiling it takes a second.
    "jit": "off",
    # A row-level policy would hide rows in silence; with this, Postgres raises an error instead.
    "row_security": "off",
    # Would leave out rows of what an index answers.
    "gin_fuzzy_search_limit": "0",
    # A document that is refused must not end the session.
    "exit_on_error": "off",
}

REFUSED = {"zero_damaged_pages": "on", "ignore_checksum_failure": "on"}
"""What only a superuser can set, and we not undo: a session that has it is not used."""

# What lies in pg_catalog comes first, and what lies in a temporary schema last, whoever made it in a pooled session. Schemas of
# the system's own, pg_..., are not named: they have these places by themselves, or none. The array keeps the order of the path.
# An empty path stays empty: of one that begins with pg_temp the server makes a schema as soon as it is asked for the first.
_SEARCH_PATH = """SELECT pg_catalog.set_config('search_path', coalesce(nullif(pg_catalog.array_to_string(ARRAY(
  SELECT pg_catalog.quote_ident(s) FROM pg_catalog.unnest(pg_catalog.current_schemas(false)::pg_catalog.text[]) AS s
  WHERE NOT pg_catalog.starts_with(s, 'pg_')
), ', '), '') OPERATOR(pg_catalog.||) ', pg_temp', ''), true)"""

# What is acknowledged must be safe, on disk and at the standbys that the server waits for.
_SYNCHRONOUS_COMMIT = "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END"


_REFUSABLE = ", ".join(f"current_setting('{name}', true)" for name in REFUSED)
_FACTS = (
    "current_user, current_database(), current_schema(), pg_is_in_recovery(), pg_postmaster_start_time()::text,"
    f" ARRAY[{_REFUSABLE}]"
)
"""The fields of :class:`~airflow_reindex_provider.databases.postgres.transactions.AtServer`."""


def opening(tag: str, *, read_only: bool) -> bytes:
    """The beginning of each of our transactions: BEGIN, the settings, which end with it, and the facts."""
    settings = {name: f"'{value}'" for name, value in SETTLED.items()}
    if read_only:
        settings["application_name"] = f"'{tag} ' || {_BEGAN.format('now()')}"
    else:
        settings["application_name"] = f"'{tag}'"
        settings["synchronous_commit"] = _SYNCHRONOUS_COMMIT
    calls = ", ".join(f"set_config('{name}', {value}, true)" for name, value in settings.items())
    # Statements see what is committed before each of them, as our own order of asking and reading needs it.
    mode = "ISOLATION LEVEL READ COMMITTED" + (", READ ONLY" if read_only else "")
    return f"BEGIN {mode}; {_SEARCH_PATH}; SELECT {calls}; SELECT {_FACTS}".encode()


SETTLED_BESIDES = {
    "application_name",
    "search_path",
    "synchronous_commit",
    # by BEGIN itself
    *("transaction_isolation", "transaction_read_only", "transaction_deferrable"),
    *("default_transaction_isolation", "default_transaction_deferrable"),
    # by the target, as far as it can be
    "temp_buffers",
    # by the target, for how fast it is
    *("work_mem", "enable_seqscan"),
}
"""What :func:`opening` and the writers of the target settle without a word for it in :data:`SETTLED`."""

LIMITS = {
    *("statement_timeout", "transaction_timeout", "lock_timeout", "deadlock_timeout"),
    *("idle_session_timeout", "idle_in_transaction_session_timeout", "client_connection_check_interval"),
    *("tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"),
    *("temp_file_limit", "max_stack_depth", "restrict_nonsystem_relation_kind", "default_transaction_read_only"),
    # Our own sessions hide then too, from the horizon of another run, which says so.
    "track_activities",
}
"""Left as they are: whoever set them meant them, and the error of running into one names it."""

THEIRS = {
    # what an amount, a word or an abbreviation in their values and queries means
    *("lc_monetary", "lc_numeric", "lc_time", "default_text_search_config", "timezone_abbreviations"),
    # where and how tables are kept
    *("default_table_access_method", "default_tablespace", "default_toast_compression", "temp_tablespaces"),
    # what happens in their database besides
    *("session_replication_role", "event_triggers", "createrole_self_grant"),
    *("session_preload_libraries", "local_preload_libraries", "dynamic_library_path", "extension_control_path"),
    "extension_destdir",
}
"""Left as they are: they say what their data mean or where they lie, and the rows that we read and write are the same."""

HARMLESS = {
    # plans
    *("constraint_exclusion", "cpu_index_tuple_cost", "cpu_operator_cost", "cpu_tuple_cost", "cursor_tuple_fraction"),
    *("default_statistics_target", "effective_cache_size", "enable_async_append", "enable_bitmapscan"),
    *("enable_distinct_reordering", "enable_gathermerge", "enable_group_by_reordering", "enable_hashagg"),
    *("enable_hashjoin", "enable_incremental_sort", "enable_indexonlyscan", "enable_indexscan", "enable_material"),
    *("enable_memoize", "enable_mergejoin", "enable_nestloop", "enable_parallel_append", "enable_parallel_hash"),
    *("enable_partition_pruning", "enable_partitionwise_aggregate", "enable_partitionwise_join"),
    *("enable_presorted_aggregate", "enable_self_join_elimination", "enable_sort", "enable_tidscan"),
    *("from_collapse_limit", "join_collapse_limit", "geqo", "geqo_effort", "geqo_generations", "geqo_pool_size"),
    *("geqo_seed", "geqo_selection_bias", "geqo_threshold", "jit_above_cost", "jit_inline_above_cost"),
    *("jit_optimize_above_cost", "jit_expressions", "jit_tuple_deforming", "jit_dump_bitcode"),
    *("jit_debugging_support", "jit_profiling_support", "min_parallel_index_scan_size"),
    *("min_parallel_table_scan_size", "parallel_leader_participation", "parallel_setup_cost", "parallel_tuple_cost"),
    *("plan_cache_mode", "random_page_cost", "seq_page_cost", "recursive_worktable_factor", "debug_parallel_query"),
    *("force_parallel_mode", "ignore_system_indexes", "synchronize_seqscans", "stats_fetch_consistency"),
    # memory, workers, disk
    *("backend_flush_after", "effective_io_concurrency", "file_copy_method", "hash_mem_multiplier"),
    *("io_combine_limit", "logical_decoding_work_mem", "maintenance_io_concurrency", "maintenance_work_mem"),
    *("max_parallel_maintenance_workers", "max_parallel_workers", "max_parallel_workers_per_gather"),
    *("vacuum_buffer_usage_limit", "gin_pending_list_limit", "commit_delay", "commit_siblings"),
    *("wal_compression", "wal_init_zero", "wal_recycle", "wal_skip_threshold", "wal_sender_timeout"),
    *("wal_consistency_checking", "vacuum_cost_delay", "vacuum_cost_limit", "vacuum_cost_page_dirty"),
    *("vacuum_cost_page_hit", "vacuum_cost_page_miss", "vacuum_failsafe_age", "vacuum_freeze_min_age"),
    *("vacuum_freeze_table_age", "vacuum_max_eager_freeze_failure_rate", "vacuum_multixact_failsafe_age"),
    *("vacuum_multixact_freeze_min_age", "vacuum_multixact_freeze_table_age", "vacuum_truncate"),
    # what is logged, counted and shown; the language of messages too, which nothing here reads
    *("client_min_messages", "lc_messages", "icu_validation_level", "escape_string_warning", "log_connections"),
    *("log_disconnections", "debug_pretty_print", "debug_print_parse", "debug_print_plan", "debug_print_rewritten"),
    *("log_duration", "log_error_verbosity", "log_lock_failures", "log_lock_waits", "log_min_duration_sample"),
    *("log_min_duration_statement", "log_min_error_statement", "log_min_messages", "log_parameter_max_length"),
    *("log_parameter_max_length_on_error", "log_replication_commands", "log_statement", "log_statement_sample_rate"),
    *("log_temp_files", "log_transaction_sample_rate", "log_executor_stats", "log_parser_stats"),
    *(
        "log_planner_stats",
        "log_statement_stats",
        "update_process_title",
        "compute_query_id",
        "track_cost_delay_timing",
    ),
    *("track_counts", "track_functions", "track_io_timing", "track_wal_io_timing", "trace_notify", "trace_sort"),
    *("backtrace_functions", "md5_password_warnings"),
    # statements that are none of ours
    *("backslash_quote", "check_function_bodies", "lo_compat_privileges", "password_encryption", "scram_iterations"),
    *("allow_in_place_tablespaces", "allow_system_table_mods", "debug_discard_caches", "post_auth_delay"),
    "debug_logical_replication_streaming",
}
"""Left as they are: no value of theirs changes what we read or write."""
