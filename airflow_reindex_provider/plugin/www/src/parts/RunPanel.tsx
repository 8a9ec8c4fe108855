import { Box, Button, Code, Flex, Stack, Table, Text } from "@chakra-ui/react";
import { useState } from "react";

import { AnswerButtons, CancelButton } from "../acting";
import { api } from "../api";
import { usePolled } from "../polling";
import type { Batch, Run, Stream } from "../types";
import { count, duration, isOver, moment, outcomes, took } from "../words";
import { Bar, Figures } from "./Bar";
import { RunLink } from "./links";
import { Notice } from "./Notices";
import { Section } from "./Section";
import { State } from "./State";

/** The run under way, or the one that was chosen: one bar, and its batches. */
export function RunPanel({ stream, run }: { stream: Stream; run: Run }) {
  const live = stream.run?.run_id === run.run_id && stream.run.dag_id === run.dag_id ? stream.run : null;
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
          <Figures run={run} />
          <Text color="fg.muted" fontSize="sm">
            {isOver(run) ? `took ${took(run)}` : run.started_at ? `since ${moment(run.started_at)}` : ""}
            {run.by ? `, by ${run.by}` : ""}
            {run.dry_run ? ", dry run: nothing is written" : ""}
          </Text>
        </Flex>
        <Bar label={`Progress of run ${run.run_id}`} run={run} />
        {run.message ? <Text fontSize="sm">{run.message}</Text> : null}
        {run.reason && run.state === "failed" ? (
          <Notice status="error" title="Why it failed">
            {run.reason}
          </Notice>
        ) : null}
        {live && live.batches.length > 0 ? (
          <Batches batches={live.batches} />
        ) : (
          <Fetched run={run} stream={stream.name} />
        )}
      </Stack>
    </Section>
  );
}

/** The batches of a run that is not the one under way are asked for on their own. */
function Fetched({ stream, run }: { stream: string; run: Run }) {
  const polled = usePolled(
    JSON.stringify([stream, run.dag_id, run.run_id, run.state]),
    (signal) => api.run(stream, run.dag_id, run.run_id, signal),
    (one) => (isOver(one) ? "done" : "quick"),
  );
  return polled.data && polled.data.batches.length > 0 ? <Batches batches={polled.data.batches} /> : null;
}

const ORDER = ["failed", "retrying", "running", "waiting", "cancelled", "pending", "completed", "skipped"];

function Batches({ batches }: { batches: Batch[] }) {
  const shown = batches.toSorted((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  return (
    <Table.ScrollArea maxHeight="22rem">
      <Table.Root aria-label="Batches" size="sm" stickyHeader>
        <Table.Header>
          <Table.Row>
            <Table.ColumnHeader>Batch</Table.ColumnHeader>
            <Table.ColumnHeader>State</Table.ColumnHeader>
            <Table.ColumnHeader textAlign="end">Done</Table.ColumnHeader>
            <Table.ColumnHeader textAlign="end">Speed</Table.ColumnHeader>
            <Table.ColumnHeader textAlign="end">To go</Table.ColumnHeader>
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {shown.map((batch) => (
            <BatchRow batch={batch} key={`${batch.task_id} ${batch.map_index}`} />
          ))}
        </Table.Body>
      </Table.Root>
    </Table.ScrollArea>
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
          {count(batch.processed)} of {count(batch.total)}
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
