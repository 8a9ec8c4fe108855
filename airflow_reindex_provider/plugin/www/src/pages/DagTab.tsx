import { Box, Stack } from "@chakra-ui/react";

import { api } from "../api";
import { Connection } from "../parts/Notices";
import { Muted } from "../parts/Section";
import { usePolled } from "../polling";
import { StreamView } from "./StreamView";

/** The streams of a Dag; in the tab of a run, with that run on top. Airflow shows the tab on every Dag. */
export function DagTab({ dagId, runId }: { dagId: string; runId?: string }) {
  // Which streams a Dag carries changes when its file does.
  const polled = usePolled(
    dagId,
    (signal) => api.streams({ dagId }, signal),
    () => "done",
  );
  const mine = polled.data?.streams ?? null;
  if (mine === null || mine.length === 0) {
    return (
      <Stack p={4}>
        <Connection at={polled.at} problem={polled.problem} scheduler={null} />
        {mine ? (
          <Muted>
            Dag {dagId} carries no stream: neither a ReindexDag, nor a RebuildDag, SweepDag or ReindexTaskGroup.
          </Muted>
        ) : null}
      </Stack>
    );
  }
  return (
    <Box height="full" overflow="auto">
      {mine.map((stream) => (
        <StreamView key={stream.name} name={stream.name} {...(runId ? { runId } : {})} />
      ))}
    </Box>
  );
}
