import { describe, expect, it } from "vitest";

import { bytes, duration, freshness, moment, outcomes } from "../src/words";
import { aStream } from "./records";

describe("words", () => {
  it("says durations in two units at most", () => {
    expect([0.2, 1, 59.6, 61, 3_600, 3_725, 90_061].map(duration)).toEqual([
      "under 1 s",
      "1 s",
      "1 min",
      "1 min 1 s",
      "1 h",
      "1 h 2 min",
      "1 d 1 h",
    ]);
  });

  it("says sizes in decimal units", () => {
    const said = [null, 0, 999, 1_500, 2_000_000, 45_000_000_000].map(bytes);
    expect(said).toEqual(["–", "0 B", "999 B", "1.5 kB", "2.0 MB", "45 GB"]);
  });

  it("names the year of a moment where it is another one", () => {
    const now = new Date(2026, 10, 21);
    expect(moment(new Date(2026, 10, 21, 17, 25).toISOString(), now)).toBe("21 Nov, 17:25");
    expect(moment(new Date(2025, 0, 2, 3, 4).toISOString(), now)).toBe("2 Jan 2025, 03:04");
  });

  it("calls the freshness what it is: an upper bound, or not known", () => {
    expect(freshness(aStream())).toBe("at most 1 min 15 s");
    expect(freshness(aStream({ freshness: { at_most_s: null, fresh_until: null, looked: null } }))).toBe("not known");
  });

  it("counts only what there is", () => {
    expect(outcomes({ created: 4_990, noops: 0, failures: 10 })).toBe("4,990 created, 10 failures");
  });
});
