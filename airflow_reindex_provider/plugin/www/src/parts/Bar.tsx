import { Progress, Text } from "@chakra-ui/react";

import type { Run } from "../types";
import { amount, duration, isOver, percent } from "../words";

/** How far a run is; before there is a plan, that it is under way. */
export function Bar({ run, label }: { run: Run; label: string }) {
  const palette = { failed: "red", completed: "green", cancelled: "gray" }[run.state as string] ?? "blue";
  const done = run.progress === null ? null : Math.floor(run.progress * 100);
  return (
    <Progress.Root
      aria-label={label}
      colorPalette={palette}
      max={100}
      size="md"
      striped={!isOver(run)}
      animated={run.state === "running"}
      value={isOver(run) ? (done ?? 0) : done}
      width="full"
    >
      <Progress.Track>
        <Progress.Range />
      </Progress.Track>
    </Progress.Root>
  );
}

/** "42 %, 2,100 of 5,000 documents, 830 documents/s, 4 s to go". */
export function Figures({ run }: { run: Run }) {
  const parts = [
    run.progress === null ? "" : percent(run.progress),
    amount(run),
    run.docs_per_s ? `${Math.round(run.docs_per_s).toLocaleString("en-US")}/s` : "",
    run.eta_ms === null || isOver(run) ? "" : `${duration(run.eta_ms / 1000)} to go`,
  ].filter(Boolean);
  return (
    <Text fontSize="sm" fontVariantNumeric="tabular-nums" data-testid="figures">
      {parts.join(" · ") || (isOver(run) ? "No plan" : "No plan yet")}
    </Text>
  );
}
