import { Box, Button, Flex, Grid, Heading, Menu, Portal, Stack, Text } from "@chakra-ui/react";
import { type ReactNode, useEffect, useState } from "react";

import { ActButton, ActingProvider, useActing } from "../acting";
import { api } from "../api";
import { titleOf } from "../asking";
import { FollowedNotice } from "../parts/Followed";
import { FreshnessPanel } from "../parts/FreshnessPanel";
import { DagLink } from "../parts/links";
import { Connection, Notice } from "../parts/Notices";
import { RunPanel } from "../parts/RunPanel";
import { Runs } from "../parts/Runs";
import { Muted, Section } from "../parts/Section";
import { CheckpointPanel, Generations, Groups, Parked, SweepPanel } from "../parts/Standing";
import { State } from "../parts/State";
import { usePolled } from "../polling";
import type { Run, Stream } from "../types";
import { moment, paceOf } from "../words";

/** One stream: all that is known of it, and all that may be done to it. */
export function StreamView({ name, runId, above }: { name: string; runId?: string; above?: ReactNode }) {
  const polled = usePolled(
    name,
    (signal) => api.stream(name, signal),
    (detail) => paceOf([detail.stream]),
  );
  const detail = polled.data;
  return (
    <Stack data-testid="reindex-stream" gap={4} p={4} height="full" overflow="auto">
      {above}
      <Heading as="h1" size="xl" overflowWrap="anywhere">
        {name}
      </Heading>
      <Connection at={polled.at} problem={polled.problem} scheduler={detail?.scheduler ?? null} />
      {detail ? (
        <ActingProvider detail={detail} hurry={polled.hurry}>
          <Body {...(runId ? { runId } : {})} stream={detail.stream} />
        </ActingProvider>
      ) : polled.problem ? null : (
        <Muted>Asks Airflow …</Muted>
      )}
    </Stack>
  );
}

function Body({ stream, runId }: { stream: Stream; runId?: string }) {
  const [chosenId, setChosenId] = useState<string | null>(runId ? ` ${runId}` : null);
  const { followed } = useActing();
  // What was started last is what somebody wants to see.
  const started = followed?.started.run_id;
  useEffect(() => {
    if (started !== undefined) setChosenId(null);
  }, [started]);
  const chosen = choose(stream, chosenId);
  return (
    <>
      <Flex align="start" gap={4} justify="space-between" wrap="wrap">
        <Box minWidth={0}>
          <Flex align="center" gap={3}>
            <State state={stream.state} />
            <Text lineClamp={2} overflowWrap="anywhere" title={stream.message}>
              {stream.message}
            </Text>
          </Flex>
          <Text color="fg.muted" fontSize="sm" mt={1}>
            {stream.source} → {stream.target}, {stream.guarantee.replaceAll("_", " ")}
          </Text>
        </Box>
        <Actions />
      </Flex>
      <FollowedNotice stream={stream} />
      {stream.warnings.length > 0 ? (
        <Notice status="warning" title="The last plan warns">
          {stream.warnings.join("\n")}
        </Notice>
      ) : null}
      {chosen ? (
        <RunPanel run={chosen} stream={stream} />
      ) : (
        <Notice status="info" title="No run has begun yet.">
          {"Its figures come with its first run."}
        </Notice>
      )}
      <FreshnessPanel stream={stream} />
      <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", xl: "repeat(2, minmax(0, 1fr))" }}>
        <Parked stream={stream} />
        <Generations stream={stream} />
        <Groups stream={stream} />
        <SweepPanel stream={stream} />
        <CheckpointPanel stream={stream} />
        <Dags stream={stream} />
      </Grid>
      <Runs chosen={chosen} onChoose={(run) => setChosenId(idOf(run))} runs={stream.recent} />
    </>
  );
}

const idOf = (run: Run) => `${run.dag_id} ${run.run_id}`;

/** What is under way comes before what was chosen among the runs that are over, unless that was chosen by hand. */
function choose(stream: Stream, chosenId: string | null): Run | null {
  const runs = stream.run ? [stream.run, ...stream.recent] : stream.recent;
  const chosen = chosenId === null ? undefined : runs.find((run) => idOf(run).endsWith(chosenId));
  return chosen ?? stream.run ?? stream.recent[0] ?? null;
}

const FIRST = ["run", "dry-run", "rebuild", "sweep"];
/** Those that have their place beside what they are about. */
const ELSEWHERE = [
  "rollback",
  "sweep-dry-run",
  "look",
  "parked-retry",
  "parked-drop",
  "checkpoint-set",
  "checkpoint-reset",
];

function Actions() {
  const { can, ask } = useActing();
  const more = can.filter((act) => !FIRST.includes(act.name) && !ELSEWHERE.includes(act.name));
  return (
    <Flex aria-label="What can be done" gap={2} role="group" wrap="wrap">
      <ActButton act="run" colorPalette="blue" label="Run now" variant="solid" />
      <ActButton act="dry-run" label="Dry run …" />
      <ActButton act="rebuild" label="Rebuild …" />
      <ActButton act="sweep" label="Sweep …" />
      {more.length > 0 ? (
        <Menu.Root>
          <Menu.Trigger asChild>
            <Button size="sm" variant="outline">
              More …
            </Button>
          </Menu.Trigger>
          <Portal>
            <Menu.Positioner>
              <Menu.Content>
                {more.map((act) => (
                  <Menu.Item key={act.name} onClick={() => ask(act)} value={act.name}>
                    {titleOf(act.name)} …
                  </Menu.Item>
                ))}
              </Menu.Content>
            </Menu.Positioner>
          </Portal>
        </Menu.Root>
      ) : null}
    </Flex>
  );
}

function Dags({ stream }: { stream: Stream }) {
  return (
    <Section title="Dags">
      <Stack as="ul" gap={2} listStyleType="none">
        {stream.dags.map((dag) => (
          <Box as="li" fontSize="sm" key={dag.dag_id}>
            <DagLink dagId={dag.dag_id} />: {dag.roles.join(", ")}
            {dag.schedule ? `, ${dag.schedule}` : ", no schedule"}
            {dag.paused ? ", paused" : dag.next_run_at ? `, next run ${moment(dag.next_run_at)}` : ""}
            {dag.has_import_errors ? ". Its file cannot be imported: see Airflow's import errors." : ""}
          </Box>
        ))}
      </Stack>
    </Section>
  );
}
