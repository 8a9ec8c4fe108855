/** The fields of the question that is asked before an act: from the JSON Schema of its arguments. */

import type { Act, Schema } from "./types";

export type Kind = "yes" | "choice" | "number" | "text" | "texts";
export type Field = {
  name: string;
  label: string;
  help: string;
  kind: Kind;
  choices: string[];
  needed: boolean;
  /** Of a box that is ticked. */
  yes: unknown;
};

const LABELS: Record<string, string> = {
  window_start: "From",
  window_end: "To",
  promote: "Ask before the swap",
  max_lag_s: "Lag in seconds",
  throttle_docs_per_s: "Documents a second",
  wait: "Wait for others",
  max_delete_fraction: "Part that may be deleted",
  compare: "What is compared",
  rollback_to: "Generation",
  cursor: "Cursor value",
  to: "Store",
  conn_id: "Connection",
  older_than_days: "Older than days",
};
const APPROVAL = "The rebuild waits for a person's approval once the new index is verified.";

/** The arguments that a person may give; those that are given already, and lists of keys, are not asked for. */
export function fieldsOf(act: Act, fixed: Record<string, unknown>, hasGroups: boolean): Field[] {
  return Object.entries(act.schema.properties)
    .filter(([name, schema]) => !(name in fixed) && schema.items?.type !== "array" && (name !== "group" || hasGroups))
    .sort(([a], [b]) => Number(b === "promote") - Number(a === "promote"))
    .map(([name, schema]) => {
      // Each group has a checkpoint of its own, and parked documents.
      const needed = act.needed.includes(name) || name === "group";
      const label = LABELS[name] ?? capitalised(name);
      // Of the ways to promote, one asks a person something else: whether to be asked.
      if (name === "promote") return { name, label, help: APPROVAL, kind: "yes", yes: "wait", choices: [], needed };
      const choices = schema.enum?.filter((choice) => choice !== null) ?? [];
      return { name, label, help: schema.description ?? "", kind: kindOf(schema), yes: true, choices, needed };
    });
}

function kindOf(schema: Schema): Kind {
  const types = [schema.type ?? []].flat();
  if (schema.enum) return "choice";
  if (types.includes("boolean")) return "yes";
  // A cursor value is a number or a text: it is typed as text.
  if (!types.includes("string") && (types.includes("number") || types.includes("integer"))) return "number";
  return types.includes("array") ? "texts" : "text";
}

function capitalised(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What is sent of what was typed; a field that was left alone is not. */
export function argumentsOf(fields: Field[], typed: Record<string, string>): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const field of fields) {
    const text = (typed[field.name] ?? "").trim();
    if (text === "") continue;
    if (field.kind === "yes") given[field.name] = field.yes;
    else if (field.kind === "number") given[field.name] = Number(text);
    else if (field.kind === "texts")
      given[field.name] = text
        .split(",")
        .map((part) => part.trim())
        .filter(Boolean);
    else given[field.name] = text;
  }
  return given;
}
