import { Badge } from "@chakra-ui/react";

const PALETTES: Record<string, string> = {
  failing: "red",
  failed: "red",
  "waiting for approval": "purple",
  behind: "orange",
  retrying: "orange",
  rebuilding: "blue",
  sweeping: "blue",
  reindexing: "blue",
  running: "blue",
  completed: "green",
  live: "green",
  idle: "green",
};

/** A state: its word always, its colour besides. */
export function State({ state }: { state: string }) {
  return (
    <Badge colorPalette={PALETTES[state] ?? "gray"} size="md" variant="surface" whiteSpace="nowrap" data-state={state}>
      {state}
    </Badge>
  );
}
