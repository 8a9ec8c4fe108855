/** Figures that move by themselves: one request after another, and none while nobody looks. */

import { useCallback, useEffect, useRef, useState } from "react";

import { Problem } from "./api";

export type Polled<T> = {
  /** What came last; it stays while later requests fail. */
  data: T | null;
  /** Of the request that came last; null where it went well. */
  problem: Problem | null;
  /** When `data` came. */
  at: Date | null;
  /** Ask now, and again quickly for a while: something was started. */
  hurry: () => void;
};

/** How soon to ask again: while figures move, while they rest, never since they are final. */
export type Pace = "quick" | "slow" | "done";

export const QUICK_MS = 2_000;
export const SLOW_MS = 15_000;
const HURRY_MS = 20_000;

/**
 * Asks at once, and then after each answer as soon as `pace` says of it. While the tab is hidden it asks nothing; when the tab
 * is seen again it asks at once.
 *
 * @param key what is asked for: another one is another question, whose answer replaces the one before.
 */
export function usePolled<T>(
  key: string,
  ask: (signal: AbortSignal) => Promise<T>,
  pace: (data: T) => Pace,
): Polled<T> {
  const [state, setState] = useState<{ key: string; data: T | null; problem: Problem | null; at: Date | null }>({
    key,
    data: null,
    problem: null,
    at: null,
  });
  const latest = useRef({ ask, pace });
  latest.current = { ask, pace };
  const hurriesUntil = useRef(0);
  const askNow = useRef<() => void>(() => undefined);

  useEffect(() => {
    const leaving = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asking = false;
    let again = false;

    const later = (data: T | null) => {
      clearTimeout(timer);
      if (leaving.signal.aborted || document.hidden) return;
      const pace = data === null ? "slow" : latest.current.pace(data);
      const hurries = Date.now() < hurriesUntil.current;
      if (pace === "done" && !hurries) return;
      timer = setTimeout(() => void now(), pace === "quick" || hurries ? QUICK_MS : SLOW_MS);
    };
    const now = async () => {
      clearTimeout(timer);
      if (asking) {
        again = true;
        return;
      }
      asking = true;
      again = false;
      let data: T | null = null;
      try {
        data = await latest.current.ask(leaving.signal);
        const came = data;
        if (!leaving.signal.aborted) setState({ key, data: came, problem: null, at: new Date() });
      } catch (error) {
        if (!leaving.signal.aborted) {
          const problem = error instanceof Problem ? error : new Problem(0, String(error));
          // The figures before are kept only for the same question.
          setState((was) => ({ ...(was.key === key ? was : { data: null, at: null }), key, problem }));
          // A server that comes back should not be waited for longer than it takes to notice.
          if (problem.status === 0 || problem.status >= 500) hurriesUntil.current = Date.now() + HURRY_MS;
        }
      }
      asking = false;
      if (leaving.signal.aborted) return;
      if (again) void now();
      else later(data);
    };
    const seen = () => {
      if (document.hidden) clearTimeout(timer);
      else void now();
    };
    askNow.current = () => void now();
    document.addEventListener("visibilitychange", seen);
    if (!document.hidden) void now();
    return () => {
      leaving.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [key]);

  const hurry = useCallback(() => {
    hurriesUntil.current = Date.now() + HURRY_MS;
    askNow.current();
  }, []);
  const mine = state.key === key;
  return {
    data: mine ? state.data : null,
    problem: mine ? state.problem : null,
    at: mine ? state.at : null,
    hurry,
  };
}
