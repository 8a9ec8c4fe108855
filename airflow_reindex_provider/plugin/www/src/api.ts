/** The REST API of the provider, as the page uses it. Same origin, so Airflow's session cookie goes along by itself. */

import type { Run, Started, StreamDetail, StreamList } from "./types";

/** What the server says about a request that failed. `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly run: { dag_id: string; run_id: string } | null = null,
  ) {
    super(message);
  }
}

const PREFIX = "reindex/api/v1";

async function ask<T>(path: string, options: RequestInit = {}): Promise<T> {
  const url = new URL(`${PREFIX}${path}`, document.baseURI);
  let answer: Response;
  try {
    answer = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "Airflow does not answer.");
  }
  const body: unknown = await answer.json().catch(() => null);
  if (answer.ok) return body as T;
  throw problemOf(answer, body);
}

function problemOf(answer: Response, body: unknown): Problem {
  const said = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const text = [said.detail, said.title].find((part) => typeof part === "string");
  const run =
    typeof said.dag_id === "string" && typeof said.run_id === "string"
      ? { dag_id: said.dag_id, run_id: said.run_id }
      : null;
  return new Problem(answer.status, (text as string | undefined) ?? `The server answered ${answer.status}.`, run);
}

function send<T>(path: string, body: unknown): Promise<T> {
  return ask<T>(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

const of = (name: string) => `/streams/${encodeURIComponent(name)}`;
const ofRun = (name: string, dagId: string, runId: string) =>
  `${of(name)}/runs/${encodeURIComponent(dagId)}/${encodeURIComponent(runId)}`;

/** The most streams that one request brings. */
export const PAGE_SIZE = 50;

export type Wanted = { offset?: number; q?: string; state?: string; dagId?: string; orderBy?: string };

export const api = {
  streams: (wanted: Wanted, signal?: AbortSignal) => {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), offset: String(wanted.offset ?? 0) });
    if (wanted.q) query.set("q", wanted.q);
    if (wanted.state) query.set("state", wanted.state);
    if (wanted.orderBy) query.set("order_by", wanted.orderBy);
    if (wanted.dagId) query.set("dag_id", wanted.dagId);
    return ask<StreamList>(`/streams?${query}`, signal ? { signal } : {});
  },
  stream: (name: string, signal?: AbortSignal) => ask<StreamDetail>(of(name), signal ? { signal } : {}),
  run: (name: string, dagId: string, runId: string, signal?: AbortSignal) =>
    ask<Run>(ofRun(name, dagId, runId), signal ? { signal } : {}),
  start: (name: string, act: string, args: Record<string, unknown>) =>
    send<Started>(`${of(name)}/acts/${encodeURIComponent(act)}`, args),
  cancel: (name: string, dagId: string, runId: string) =>
    send<{ cancelled: boolean }>(`${ofRun(name, dagId, runId)}/cancel`, {}),
  answer: (name: string, dagId: string, runId: string, approve: boolean) =>
    send<{ task_id: string }>(`${ofRun(name, dagId, runId)}/answer`, { approve }),
};
