/** The records of the REST API: see control/status/records.py, which says what each field is. */

export const STREAM_STATES = [
  "failing",
  "waiting for approval",
  "behind",
  "rebuilding",
  "sweeping",
  "reindexing",
  "paused",
  "idle",
] as const;
export type StreamState = (typeof STREAM_STATES)[number];

export type RunState = "queued" | "running" | "waiting for approval" | "completed" | "failed" | "cancelled";

export type Batch = {
  task_id: string;
  map_index: number;
  label: string;
  status: string;
  try_number: number;
  total: number | null;
  processed: number;
  docs_per_s: number | null;
  eta_ms: number | null;
  message: string;
  counts: Record<string, number>;
};

export type Run = {
  dag_id: string;
  run_id: string;
  mode: string;
  state: RunState;
  queued_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  by: string | null;
  dry_run: boolean;
  progress: number | null;
  indexed_count: number;
  total_count: number | null;
  docs_per_s: number | null;
  eta_ms: number | null;
  message: string;
  reason: string | null;
  approval: string | null;
  freshness_s: number | null;
  result: Record<string, unknown> | null;
  batches: Batch[];
};

export type Look = {
  at?: string;
  waiting?: number | null;
  oldest_s?: number | null;
  ahead?: number | null;
  counted_to?: number;
  held_by?: string | null;
  /** Of each generation that was served before: how many changes a roll-back to it would read again. */
  generations?: Record<string, number>;
};

export type ParkedDocument = {
  /** Of a stream with groups: the value of the one that it belongs to. */
  group?: string;
  key: string[];
  reason: string;
  attempts: number;
  parked_at: string;
  next_try_at: string;
};

export type Generation = {
  /** Of a stream with groups: the value of the one that it belongs to. */
  group?: string;
  name: string;
  live: boolean;
  served: boolean;
  made_at: string | null;
  /** Every change before it is in this one. Missing in what older versions have published. */
  fresh_until?: string | null;
  documents: number | null;
  documents_estimated: boolean;
  bytes: number | null;
};

export type Checkpoint = {
  generation: string;
  cursor: string | null;
  key: string[];
  saved_at: string | null;
  saved_by: string | null;
  where: string;
};

export type DagOfStream = {
  dag_id: string;
  roles: string[];
  paused: boolean;
  schedule: string | null;
  next_run_at: string | null;
  has_import_errors: boolean;
};

export type Stream = {
  name: string;
  source: string;
  target: string;
  guarantee: string;
  store: string;
  has_groups: boolean;
  state: StreamState;
  reindexing: boolean;
  message: string;
  progress: number | null;
  eta_ms: number | null;
  indexed_count: number;
  total_count: number | null;
  docs_per_s: number | null;
  freshness: { at_most_s: number | null; fresh_until: string | null; looked: Look | null };
  horizon: string | null;
  held_by: string | null;
  warnings: string[];
  documents: number | null;
  parked: { count: number; documents: ParkedDocument[] } | null;
  checkpoint: Checkpoint | null;
  generations: Generation[];
  groups: Record<string, Record<string, unknown>> | null;
  lease: { holder: string; purpose: string; since: string; until: string } | null;
  standing_at: string | null;
  run: Run | null;
  last_success: Run | null;
  last_failure: Run | null;
  last_sweep: Run | null;
  recent: Run[];
  dags: DagOfStream[];
};

export type Schema = {
  type?: string | string[];
  enum?: (string | null)[];
  description?: string;
  items?: Schema;
};

/** Something that this person may start. */
export type Act = {
  name: string;
  says: string;
  schema: { properties: Record<string, Schema> };
  needed: string[];
};

export type Scheduler = { alive: boolean; last_heartbeat_at: string | null };

export type StreamList = { streams: Stream[]; total: number; at: string; scheduler: Scheduler };

export type StreamDetail = {
  stream: Stream;
  can: Act[];
  may: { cancel: boolean; answer: boolean };
  at: string;
  scheduler: Scheduler;
};

export type Started = { dag_id: string; run_id: string; created: boolean };
