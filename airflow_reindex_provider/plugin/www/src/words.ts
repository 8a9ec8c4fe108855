/** Figures as people read them. */

import type { Pace } from "./polling";
import type { Generation, Run, Stream } from "./types";

export const count = (n: number | null | undefined) =>
  n === null || n === undefined ? "–" : n.toLocaleString("en-US");

export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const UNITS: [number, string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** Two units at most: "3 min 20 s". */
export function duration(seconds: number): string {
  if (seconds < 1) return "under 1 s";
  let left = Math.round(seconds);
  const parts: string[] = [];
  for (const [size, unit] of UNITS) {
    const n = Math.floor(left / size);
    if (n > 0) parts.push(`${n} ${unit}`);
    else if (parts.length > 0) break;
    left -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

export function bytes(n: number | null): string {
  if (n === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  let value = n;
  while (value >= 1000 && power < units.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** In the time zone of whoever looks: "21 Nov, 17:25"; with the year where it is another one. */
export function moment(iso: string | null, now: Date = new Date()): string {
  if (iso === null) return "–";
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const day = `${at.getDate()} ${at.toLocaleString("en-GB", { month: "short" })}`;
  const year = at.getFullYear() === now.getFullYear() ? "" : ` ${at.getFullYear()}`;
  return `${day}${year}, ${clock(at)}`;
}

export const clock = (at: Date, withSeconds = false) =>
  at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" } : {}) });

export const ago = (iso: string, now: Date = new Date()) => `${duration((now.getTime() - Date.parse(iso)) / 1000)} ago`;

export const percent = (part: number) => `${Math.floor(part * 100)} %`;

/** How old the oldest change may be that a search cannot find yet. */
export function freshness(stream: Stream): string {
  const atMost = stream.freshness.at_most_s;
  return atMost === null ? "not known" : `at most ${duration(atMost)}`;
}

export const took = (run: Run): string =>
  run.started_at && run.ended_at ? duration((Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000) : "–";

/** "1,200 of 5,000 documents"; of a sweep, rows. */
export function amount(run: Run): string {
  const what = run.mode === "sweep" ? "rows" : "documents";
  return run.total_count === null ? "" : `${count(run.indexed_count)} of ${count(run.total_count)} ${what}`;
}

export const isOver = (run: Run) => ["completed", "failed", "cancelled"].includes(run.state);

export const paceOf = (streams: Stream[]): Pace =>
  streams.some((stream) => stream.run !== null || stream.recent.some((run) => !isOver(run))) ? "quick" : "slow";

export const keyOf = (key: string[]) => key.join("/");

export const served = (generation: Generation) =>
  generation.live ? "live" : generation.served ? "served before" : "not served";

const COUNT_WORDS: Record<string, string> = { noops: "unchanged", version_conflicts: "newer in the index" };

/** "4,990 created, 10 failures"; only what there is. */
export const outcomes = (counts: Record<string, number>) =>
  Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([name, n]) => `${count(n)} ${COUNT_WORDS[name] ?? name.replaceAll("_", " ")}`)
    .join(", ");
