import { describe, expect, it } from "vitest";

import { asked } from "../src/asking";
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
