/** Records as the server sends them. */

import type { Act, Run, Stream, StreamDetail } from "../src/types";

export function aRun(told: Partial<Run> = {}): Run {
  return {
    dag_id: "reindex_products",
    run_id: "manual__reindex_1",
    mode: "reindex",
    state: "completed",
    queued_at: "2026-11-21T17:24:00.000+00:00",
    started_at: "2026-11-21T17:24:01.000+00:00",
    ended_at: "2026-11-21T17:25:00.000+00:00",
    by: "ada",
    dry_run: false,
    progress: 1,
    indexed_count: 5_000,
    total_count: 5_000,
    docs_per_s: null,
    eta_ms: null,
    message: "5,000 created",
    reason: null,
    approval: null,
    freshness_s: 12,
    result: null,
    batches: [],
    ...told,
  };
}

export function aStream(told: Partial<Stream> = {}): Stream {
  return {
    name: "products",
    source: "shop_db:public.products",
    target: "search_db:search.products",
    guarantee: "versioned",
    store: "VariableCheckpoint",
    has_groups: false,
    state: "idle",
    reindexing: false,
    message: "5,000 created",
    progress: 1,
    eta_ms: null,
    indexed_count: 5_000,
    total_count: 5_000,
    docs_per_s: null,
    freshness: { at_most_s: 75, fresh_until: "2026-11-21T17:24:48.000+00:00", looked: null },
    horizon: null,
    held_by: null,
    warnings: [],
    documents: 5_000,
    parked: { count: 0, documents: [] },
    checkpoint: null,
    generations: [],
    groups: null,
    lease: null,
    standing_at: null,
    run: null,
    last_success: null,
    last_failure: null,
    last_sweep: null,
    recent: [],
    dags: [],
    ...told,
  };
}

export function anAct(name: string, told: Partial<Act> = {}): Act {
  return { name, says: `Does ${name}.`, schema: { properties: {} }, needed: [], ...told };
}

export function aDetail(stream: Stream, told: Partial<StreamDetail> = {}): StreamDetail {
  return {
    stream,
    can: [],
    may: { cancel: false, answer: false },
    at: "2026-11-21T17:26:00.000+00:00",
    scheduler: { alive: true, last_heartbeat_at: null },
    ...told,
  };
}
