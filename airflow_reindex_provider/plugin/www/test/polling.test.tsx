import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Problem } from "../src/api";
import { type Pace, QUICK_MS, SLOW_MS, usePolled } from "../src/polling";

let hidden = false;

beforeEach(() => {
  vi.useFakeTimers();
  hidden = false;
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
});
afterEach(() => vi.useRealTimers());

const show = (is: boolean) =>
  act(async () => {
    hidden = !is;
    document.dispatchEvent(new Event("visibilitychange"));
  });
const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

function polled(ask: () => Promise<string>, pace: () => Pace) {
  return renderHook(({ key }) => usePolled(key, ask, pace), { initialProps: { key: "one" } });
}

describe("polling", () => {
  it("asks quickly while something runs, slowly while not, and no more once it is over", async () => {
    let pace: Pace = "quick";
    const ask = vi.fn(async () => "figures");
    const hook = polled(ask, () => pace);
    await pass(0);
    expect(hook.result.current.data).toBe("figures");
    await pass(QUICK_MS);
    expect(ask).toHaveBeenCalledTimes(2);
    pace = "slow";
    await pass(QUICK_MS);
    expect(ask).toHaveBeenCalledTimes(3);
    await pass(SLOW_MS - 1);
    expect(ask).toHaveBeenCalledTimes(3);
    pace = "done";
    await pass(1);
    expect(ask).toHaveBeenCalledTimes(4);
    await pass(10 * SLOW_MS);
    expect(ask).toHaveBeenCalledTimes(4);
  });

  it("asks nothing while the tab is hidden, and at once when it is seen again", async () => {
    const ask = vi.fn(async () => "figures");
    polled(ask, () => "quick");
    await pass(0);
    await show(false);
    await pass(10 * SLOW_MS);
    expect(ask).toHaveBeenCalledTimes(1);
    await show(true);
    expect(ask).toHaveBeenCalledTimes(2);
  });

  it("keeps the figures of before when the connection is lost, and says so", async () => {
    let broken = false;
    const hook = polled(
      async () => {
        if (broken) throw new Problem(0, "Airflow does not answer.");
        return "figures";
      },
      () => "quick",
    );
    await pass(0);
    broken = true;
    await pass(QUICK_MS);
    expect(hook.result.current.problem?.status).toBe(0);
    expect(hook.result.current.data).toBe("figures");
    broken = false;
    await pass(QUICK_MS);
    expect(hook.result.current.problem).toBeNull();
  });

  it("does not show the answer of another question", async () => {
    const answers: ((text: string) => void)[] = [];
    const hook = polled(
      () => new Promise((resolve) => answers.push(resolve)),
      () => "quick",
    );
    await pass(0);
    hook.rerender({ key: "two" });
    await pass(0);
    await act(async () => answers[0]?.("late"));
    expect(hook.result.current.data).toBeNull();
    await act(async () => answers[1]?.("right"));
    expect(hook.result.current.data).toBe("right");
  });

  it("asks never more than one thing at a time", async () => {
    let open = 0;
    let most = 0;
    const hook = polled(
      async () => {
        open += 1;
        most = Math.max(most, open);
        await new Promise((resolve) => setTimeout(resolve, 500));
        open -= 1;
        return "figures";
      },
      () => "quick",
    );
    for (let i = 0; i < 5; i += 1) {
      act(() => hook.result.current.hurry());
      await pass(300);
    }
    await pass(QUICK_MS * 3);
    expect(most).toBe(1);
  });
});
