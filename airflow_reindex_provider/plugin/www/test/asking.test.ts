import { describe, expect, it } from "vitest";

import { asked, previous, rollbackTo } from "../src/asking";
import { argumentsOf, fieldsOf } from "../src/fields";
import { anAct, aStream } from "./records";

describe("what is asked before an act", () => {
  it("names the generation that a roll-back goes to, and when it was made", () => {
    const made_at = new Date(2026, 10, 21, 17, 25).toISOString();
    const one = {
      name: "products__20261121t172500",
      live: false,
      served: true,
      made_at,
      fresh_until: new Date(2026, 10, 23, 9, 5).toISOString(),
      documents: 1,
      documents_estimated: false,
      bytes: 1,
    };
    const says = asked(anAct("rollback"), aStream({ generations: [one] }), { rollback_to: one.name }).says;
    expect(says).toContain("search_db:search.products back to the generation of 21 Nov");
    expect(says).toContain(one.name);
    expect(says).toContain("What has changed since 23 Nov");
    expect(says).toContain('"Look now" says how many');

    const counted = (changes: number) => {
      const looked = { at: made_at, counted_to: 100_000, generations: { [one.name]: changes } };
      const stream = aStream({ generations: [one], freshness: { at_most_s: 1, fresh_until: null, looked } });
      return asked(anAct("rollback"), stream, { rollback_to: one.name }).says;
    };
    expect(counted(4)).toContain("4 changes since then (23 Nov");
    expect(counted(4)).toContain("are read again first; counted at 21 Nov");
    expect(counted(1)).toContain("1 change since then");
    expect(counted(100_000)).toContain("At least 100,000 changes since then");
  });

  it("rolls one group back to the generation that it served before", () => {
    const one = (group: string, day: string, live: boolean) => ({
      group,
      name: `tickets_${group}_202611${day}t000000`,
      live,
      served: day !== "20",
      made_at: null,
      documents: 1,
      documents_estimated: false,
      bytes: 1,
    });
    const before = one("acme", "19", false);
    const generations = [one("acme", "18", false), before, one("acme", "20", false), one("acme", "21", true)];
    const stream = aStream({ has_groups: true, generations: [...generations, one("zeta", "21", true)] });
    expect(previous(stream, "acme")).toBe(before);
    expect(previous(stream, "zeta")).toBeUndefined();
    expect(rollbackTo(before)).toEqual({ rollback_to: "previous", groups: ["acme"] });
    const says = asked(anAct("rollback"), stream, rollbackTo(before)).says;
    expect(says).toContain("Swaps group acme of search_db:search.products back to");
    expect(says).toContain(before.name);
  });

  it("says how many parked documents it is about", () => {
    const stream = aStream({ parked: { count: 7, documents: [] } });
    expect(asked(anAct("parked-retry"), stream).says).toBe("The next run tries all 7 parked documents again.");
    expect(asked(anAct("parked-retry"), stream, { keys: [["3"]] }).says).toContain(
      "1 parked document again; the others",
    );
  });

  it("takes the server's words where it has none of its own", () => {
    expect(asked(anAct("check"), aStream()).says).toBe("Does check.");
  });

  it("asks for what is not fixed, and sends what was typed", () => {
    const act = anAct("rebuild", {
      schema: {
        properties: {
          promote: { type: "string" },
          max_lag_s: { type: "number" },
          group: { type: "string" },
          groups: { type: "array", items: { type: "string" } },
          compare: { enum: ["versions", null] },
          cursor: { type: ["string", "integer"] },
          keys: { type: "array", items: { type: "array", items: { type: "string" } } },
          rollback_to: { type: "string" },
        },
      },
      needed: ["cursor"],
    });
    const fields = fieldsOf(act, { rollback_to: "previous" }, false);
    expect(fields.map((field) => [field.name, field.kind, field.needed])).toEqual([
      ["promote", "yes", false],
      ["max_lag_s", "number", false],
      ["groups", "texts", false],
      ["compare", "choice", false],
      ["cursor", "text", true],
    ]);
    expect(
      fieldsOf(act, {}, true)
        .filter((field) => field.needed)
        .map((field) => field.name),
    ).toEqual(["group", "cursor"]);
    const typed = { promote: "yes", max_lag_s: "2.5", groups: "a, b", compare: "", cursor: " 42 " };
    expect(argumentsOf(fields, typed)).toEqual({ promote: "wait", max_lag_s: 2.5, groups: ["a", "b"], cursor: "42" });
  });
});
