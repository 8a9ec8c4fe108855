import { Box, Button, Code, Flex, Stack, Table, Text } from "@chakra-ui/react";
import { useState } from "react";

import { AnswerButtons, CancelButton } from "../acting";
import { api } from "../api";
import { usePolled } from "../polling";
import type { Batch, Run, Stream } from "../types";
import { count, duration, isOver, moment, outcomes, plural, took } from "../words";
import { Answer } from "./Answer";
import { Bar, Figures } from "./Bar";
import { Listing } from "./Listing";
import { RunLink } from "./links";
import { Notice } from "./Notices";
import { Muted, Section } from "./Section";
import { State } from "./State";

/** The run under way, or the one that was chosen: one bar, and its batches. */
export function RunPanel({ stream, run }: { stream: Stream; run: Run }) {
  const live = stream.run?.run_id === run.run_id && stream.run.dag_id === run.dag_id ? stream.run : null;
  return live ? <Panel run={live} stream={stream} /> : <Fetched key={run.run_id} run={run} stream={stream} />;
}

/** A run that is not the one under way is asked for on its own: among others it comes without its batches. */
function Fetched({ stream, run }: { stream: Stream; run: Run }) {
  const polled = usePolled(
    JSON.stringify([stream.name, run.dag_id, run.run_id, run.state]),
    (signal) => api.run(stream.name, run.dag_id, run.run_id, signal),
    (one) => (isOver(one) ? "done" : "quick"),
  );
  return <Panel run={polled.data ?? run} stream={stream} />;
}

function Panel({ stream, run }: { stream: Stream; run: Run }) {
  return (
    <Section
      actions={
        isOver(run) ? null : (
          <>
            <AnswerButtons run={run} stream={stream.name} target={stream.target} />
            <CancelButton run={run} stream={stream.name} />
          </>
        )
      }
      aside={<RunLink run={run} />}
      title={isOver(run) ? `Run: ${run.mode}` : `Under way: ${run.mode}`}
    >
      <Stack gap={3}>
        <Flex align="center" gap={3} wrap="wrap">
          <State state={run.state} />
          {isOver(run) && run.total_count === null ? null : <Figures run={run} />}
          <Text color="fg.muted" fontSize="sm">
            {isOver(run) ? `took ${took(run)}` : run.started_at ? `since ${moment(run.started_at)}` : ""}
            {run.by ? `, by ${run.by}` : ""}
            {run.dry_run ? ", dry run: nothing is written" : ""}
          </Text>
        </Flex>
        {isOver(run) && run.total_count === null ? null : <Bar label={`Progress of run ${run.run_id}`} run={run} />}
        {run.message ? <Text fontSize="sm">{run.message}</Text> : null}
        {run.reason && run.state === "failed" ? (
          <Notice status="error" title="Why it failed">
            {run.reason}
          </Notice>
        ) : null}
        <Answer run={run} />
        {run.batches.length > 0 ? <Batches batches={run.batches} /> : null}
      </Stack>
    </Section>
  );
}

const ORDER = ["failed", "retrying", "running", "waiting", "cancelled", "pending", "completed", "skipped"];

function Batches({ batches }: { batches: Batch[] }) {
  const shown = batches.toSorted((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  const states = ORDER.map((state) => [batches.filter((batch) => batch.status === state).length, state] as const);
  const said = states.filter(([n]) => n > 0).map(([n, state]) => `${count(n)} ${state}`);
  return (
    <>
      <Muted>
        {plural(batches.length, "batch", "batches")}: {said.join(", ")}
      </Muted>
      <Listing
        columns={["Batch", "State", "Done", "Speed", "To go"]}
        label="Batches"
        numbers={["Done", "Speed", "To go"]}
      >
        {shown.map((batch) => (
          <BatchRow batch={batch} key={`${batch.task_id} ${batch.map_index}`} />
        ))}
      </Listing>
    </>
  );
}

function BatchRow({ batch }: { batch: Batch }) {
  const [open, setOpen] = useState(false);
  const counted = outcomes(batch.counts);
  const more = batch.message !== "" || counted !== "";
  return (
    <>
      <Table.Row data-batch={batch.label}>
        <Table.Cell>
          {more ? (
            <Button
              aria-expanded={open}
              fontWeight="normal"
              height="auto"
              onClick={() => setOpen(!open)}
              px={0}
              size="xs"
              variant="plain"
            >
              <span aria-hidden>{open ? "▾" : "▸"}</span> {batch.label}
            </Button>
          ) : (
            batch.label
          )}
        </Table.Cell>
        <Table.Cell>
          <State state={batch.status} />
          {batch.try_number > 1 ? (
            <Text as="span" color="fg.muted" fontSize="xs" ml={2}>
              try {batch.try_number}
            </Text>
          ) : null}
        </Table.Cell>
        <Table.Cell fontVariantNumeric="tabular-nums" textAlign="end">
          {batch.total === null ? "–" : `${count(batch.processed)} of ${count(batch.total)}`}
        </Table.Cell>
        <Table.Cell fontVariantNumeric="tabular-nums" textAlign="end">
          {batch.docs_per_s ? `${count(Math.round(batch.docs_per_s))}/s` : "–"}
        </Table.Cell>
        <Table.Cell fontVariantNumeric="tabular-nums" textAlign="end">
          {batch.eta_ms === null ? "–" : duration(batch.eta_ms / 1000)}
        </Table.Cell>
      </Table.Row>
      {open ? (
        <Table.Row>
          <Table.Cell colSpan={5}>
            <Box data-testid="batch-reason">
              {batch.message ? (
                <Code display="block" overflowWrap="anywhere" p={2} whiteSpace="pre-wrap">
                  {batch.message}
                </Code>
              ) : null}
              {counted ? (
                <Text color="fg.muted" fontSize="sm" mt={1}>
                  {counted}
                </Text>
              ) : null}
            </Box>
          </Table.Cell>
        </Table.Row>
      ) : null}
    </>
  );
}
