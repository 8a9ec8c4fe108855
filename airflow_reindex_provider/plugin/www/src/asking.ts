/** What will happen, in the words in which a person is asked before it does. */

import type { Act, Generation, Stream } from "./types";
import { count, moment, plural } from "./words";

export type Asked = {
  act: Act;
  title: string;
  says: string;
  button: string;
  grave: boolean;
  fixed: Record<string, unknown>;
};

const TITLES: Record<string, [string, string]> = {
  run: ["Run now", "Run now"],
  range: ["Index a range again", "Index the range"],
  "dry-run": ["Dry run", "Plan only"],
  rebuild: ["Rebuild", "Rebuild"],
  rollback: ["Roll back", "Roll back"],
  sweep: ["Sweep", "Sweep"],
  "sweep-dry-run": ["Sweep, dry", "Compare only"],
  look: ["Look now", "Look now"],
  check: ["Check", "Check"],
  refresh: ["Refresh", "Refresh"],
  "parked-retry": ["Try parked documents again", "Try again"],
  "parked-drop": ["Give parked documents up", "Give up"],
  "checkpoint-set": ["Set the checkpoint", "Set it"],
  "checkpoint-reset": ["Reset the checkpoint", "Reset it"],
  "checkpoint-move": ["Move the checkpoint", "Move it"],
  rename: ["Rename the stream", "Rename"],
  remove: ["Remove the stream", "Remove"],
  "accept-changes": ["Accept changes of source or index", "Accept"],
  "tombstones-ddl": ["Show the statements for tombstones", "Show"],
  "tombstones-install": ["Install tombstones", "Install"],
  "tombstones-remove": ["Remove tombstones", "Remove"],
  "tombstones-purge": ["Purge tombstones", "Purge"],
};

const GRAVE = new Set(["parked-drop", "checkpoint-reset", "remove", "tombstones-remove", "tombstones-purge"]);

export const titleOf = (act: string) => TITLES[act]?.[0] ?? act;

export function asked(act: Act, stream: Stream, fixed: Record<string, unknown> = {}): Asked {
  return {
    act,
    fixed,
    title: titleOf(act.name),
    button: TITLES[act.name]?.[1] ?? act.name,
    says: sentence(act, stream, fixed),
    grave: GRAVE.has(act.name),
  };
}

function sentence(act: Act, stream: Stream, fixed: Record<string, unknown>): string {
  const live = stream.generations.find((generation) => generation.live);
  const size = live?.documents != null ? ` (${plural(live.documents, "document")} now)` : "";
  switch (act.name) {
    case "run":
      return stream.checkpoint
        ? `Reads from ${stream.source} what has changed since ${since(stream)}, and indexes it in ${stream.target}.`
        : `Indexes ${stream.source} in ${stream.target}.`;
    case "rebuild":
      return (
        `Makes ${stream.target} anew beside the live one${size}, and swaps it in once it is verified. Searches go on` +
        " meanwhile, and the generation before is kept to roll back to."
      );
    case "rollback":
      return rollbackSentence(stream, fixed);
    case "parked-retry":
      return `The next run tries ${named(stream, fixed)} again${fixed.keys ? "; the others wait for their turn" : ""}.`;
    case "parked-drop":
      return `Gives ${named(stream, fixed)} up: what was parked stays out of the index until its row changes or a sweep finds it.`;
    case "checkpoint-set":
      return `The next run reads on from the value given; the checkpoint stands at ${since(stream)} now.`;
    case "checkpoint-reset":
      return `Forgets the checkpoint, which stands at ${since(stream)}: the next run reads all rows of ${stream.source}.`;
    default:
      return act.says;
  }
}

const since = (stream: Stream) => stream.checkpoint?.cursor ?? "the first row";

function named(stream: Stream, fixed: Record<string, unknown>): string {
  const keys = fixed.keys;
  if (Array.isArray(keys)) return plural(keys.length, "parked document");
  return `all ${count(stream.parked?.count ?? 0)} parked documents`;
}

/** What a roll-back of this generation alone is started with: a group goes back to the one before, and to no other. */
export const rollbackTo = (one: Generation): Record<string, unknown> =>
  one.group === undefined ? { rollback_to: one.name } : { rollback_to: "previous", groups: [one.group] };

/** Of a stream or of its group, the one that was served before the live one. */
export function previous(stream: Stream, group: string | undefined): Generation | undefined {
  const own = stream.generations.filter((one) => one.group === group);
  const live = own.find((one) => one.live);
  return own.filter((one) => one.served && !one.live && (!live || one.name < live.name)).at(-1);
}

function rollbackSentence(stream: Stream, fixed: Record<string, unknown>): string {
  const groups = Array.isArray(fixed.groups) ? (fixed.groups as string[]) : [];
  const to =
    groups.length === 1
      ? previous(stream, groups[0])
      : stream.generations.find((generation) => generation.name === fixed.rollback_to);
  if (!to) return "Brings a generation that was served before up to date, and swaps the index back to it.";
  const made = to.made_at ? `of ${moment(to.made_at)}` : to.name;
  const since = to.fresh_until ? moment(to.fresh_until) : "it was served";
  const what = to.group === undefined ? stream.target : `group ${to.group} of ${stream.target}`;
  return `Swaps ${what} back to the generation ${made} (${to.name}). ${readAgain(stream, to, since)}`;
}

/** Only the source knows how many there are: what the runs since then have indexed counts some rows twice, and not those that wait. */
function readAgain(stream: Stream, to: Generation, since: string): string {
  const looked = stream.freshness.looked;
  const changes = looked?.generations?.[to.name];
  if (changes === undefined || !looked?.at) {
    const how = stream.has_groups ? "" : ' "Look now" says how many changes that are.';
    return `What has changed since ${since} is read again first, so that nothing is lost.${how}`;
  }
  const more = looked.counted_to && changes >= looked.counted_to ? "At least " : "";
  const are = changes === 1 ? "is" : "are";
  return `${more}${plural(changes, "change")} since then (${since}) ${are} read again first; counted at ${moment(looked.at)}.`;
}
