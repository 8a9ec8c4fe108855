import { Box, Button, Flex, Heading, Input, Link, NativeSelect, Stack, Table, Text } from "@chakra-ui/react";
import { useState } from "react";
import { Link as RouterLink } from "react-router-dom";

import { api, PAGE_SIZE } from "../api";
import { Bar } from "../parts/Bar";
import { Connection } from "../parts/Notices";
import { Sparkline } from "../parts/Sparkline";
import { State } from "../parts/State";
import { usePolled } from "../polling";
import { STREAM_STATES, type Stream } from "../types";
import { ago, count, freshness, paceOf, plural } from "../words";

/** `by`: the server sorts by it, over all pages. */
type Column = { label: string; by?: string; numeric?: boolean };

const COLUMNS: Column[] = [
  { label: "Stream", by: "name" },
  { label: "State", by: "state" },
  { label: "Freshness", by: "freshness" },
  { label: "Last runs" },
  { label: "Documents", by: "documents", numeric: true },
  { label: "Parked", by: "parked", numeric: true },
  { label: "Last success" },
];

/** What fails or waits for a person first. */
const ATTENTION = "attention";

export function ListPage() {
  const [q, setQ] = useState("");
  const [state, setState] = useState("");
  const [page, setPage] = useState(0);
  const [orderBy, setOrderBy] = useState(ATTENTION);
  const offset = page * PAGE_SIZE;
  const polled = usePolled(
    JSON.stringify([q, state, offset, orderBy]),
    (signal) => api.streams({ q, state, offset, orderBy }, signal),
    (list) => paceOf(list.streams),
  );
  const list = polled.data;
  const pages = Math.max(1, Math.ceil((list?.total ?? 0) / PAGE_SIZE));
  return (
    <Stack gap={4} p={4} height="full" overflow="auto" data-testid="reindex-list">
      <Flex align="end" gap={4} justify="space-between" wrap="wrap">
        <Box>
          <Heading as="h1" size="xl">
            Reindex
          </Heading>
          <Text color="fg.muted" fontSize="sm" role="status">
            {list ? plural(list.total, "stream") : "Asks Airflow …"}
          </Text>
        </Box>
        <Flex gap={3} wrap="wrap">
          <Input
            aria-label="Search streams, sources and targets"
            onChange={(event) => {
              setQ(event.target.value);
              setPage(0);
            }}
            placeholder="Search"
            size="sm"
            type="search"
            value={q}
            width="15rem"
          />
          <NativeSelect.Root size="sm" width="13rem">
            <NativeSelect.Field
              aria-label="Show streams in this state"
              onChange={(event) => {
                setState(event.target.value);
                setPage(0);
              }}
              value={state}
            >
              <option value="">Every state</option>
              {STREAM_STATES.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </NativeSelect.Field>
            <NativeSelect.Indicator />
          </NativeSelect.Root>
        </Flex>
      </Flex>
      <Connection at={polled.at} problem={polled.problem} scheduler={list?.scheduler ?? null} />
      {list && list.total === 0 ? <Nothing filtered={q !== "" || state !== ""} /> : null}
      {list && list.total > 0 ? (
        <Table.ScrollArea borderWidth={1} borderRadius="md">
          <Table.Root aria-label="Streams" size="sm">
            <Table.Header>
              <Table.Row>
                {COLUMNS.map((column) => (
                  <Head column={column} key={column.label} onOrder={setOrderBy} orderBy={orderBy} />
                ))}
              </Table.Row>
            </Table.Header>
            <Table.Body>
              {list.streams.map((stream) => (
                <Row key={stream.name} stream={stream} />
              ))}
            </Table.Body>
          </Table.Root>
        </Table.ScrollArea>
      ) : null}
      {pages > 1 ? (
        <Flex align="center" as="nav" aria-label="Pages of streams" gap={3}>
          <Button disabled={page === 0} onClick={() => setPage(page - 1)} size="sm" variant="outline">
            Previous
          </Button>
          <Text fontSize="sm">
            Page {page + 1} of {pages}
          </Text>
          <Button disabled={page + 1 >= pages} onClick={() => setPage(page + 1)} size="sm" variant="outline">
            Next
          </Button>
        </Flex>
      ) : null}
    </Stack>
  );
}

function Head({ column, orderBy, onOrder }: { column: Column; orderBy: string; onOrder: (orderBy: string) => void }) {
  const { by, label, numeric } = column;
  const order = by === undefined ? null : orderBy === by ? "ascending" : orderBy === `-${by}` ? "descending" : null;
  const next = order === null ? (by ?? ATTENTION) : order === "ascending" ? `-${by}` : ATTENTION;
  return (
    <Table.ColumnHeader
      aria-sort={order ?? "none"}
      fontSize="xs"
      fontWeight="semibold"
      textAlign={numeric ? "end" : "start"}
    >
      {by ? (
        <Button fontWeight="semibold" onClick={() => onOrder(next)} px={0} size="xs" variant="plain">
          {label}
          <span aria-hidden>{order === null ? " ↕" : order === "descending" ? " ↓" : " ↑"}</span>
        </Button>
      ) : (
        label
      )}
    </Table.ColumnHeader>
  );
}

function Row({ stream }: { stream: Stream }) {
  return (
    <Table.Row data-stream={stream.name}>
      <Table.Cell maxWidth="24rem" whiteSpace="normal">
        <Link asChild colorPalette="blue" fontWeight="semibold">
          <RouterLink to={`/plugin/reindex/streams/${encodeURIComponent(stream.name)}`}>{stream.name}</RouterLink>
        </Link>
        <Text color="fg.muted" fontSize="xs" overflowWrap="anywhere">
          {stream.source}
          <br />→ {stream.target}
        </Text>
      </Table.Cell>
      <Table.Cell maxWidth="22rem" whiteSpace="normal">
        <State state={stream.state} />
        {stream.run ? (
          <Box mt={2} width="10rem">
            <Bar label={`Progress of ${stream.name}`} run={stream.run} />
          </Box>
        ) : null}
        {stream.message ? (
          <Text color="fg.muted" fontSize="xs" lineClamp={2} mt={1} overflowWrap="anywhere">
            {stream.message}
          </Text>
        ) : null}
      </Table.Cell>
      <Table.Cell fontVariantNumeric="tabular-nums" whiteSpace="nowrap">
        {freshness(stream)}
      </Table.Cell>
      <Table.Cell>
        <Sparkline runs={stream.recent} />
      </Table.Cell>
      <Table.Cell fontVariantNumeric="tabular-nums" textAlign="end">
        {count(stream.documents)}
      </Table.Cell>
      <Table.Cell fontVariantNumeric="tabular-nums" textAlign="end">
        {count(stream.parked?.count)}
      </Table.Cell>
      <Table.Cell whiteSpace="nowrap">
        {stream.last_success?.ended_at ? ago(stream.last_success.ended_at) : "–"}
      </Table.Cell>
    </Table.Row>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  return (
    <Box borderWidth={1} borderRadius="md" p={8} textAlign="center">
      <Text fontWeight="semibold">{filtered ? "No stream fits the search." : "There is no stream yet."}</Text>
      <Text color="fg.muted" fontSize="sm">
        {filtered
          ? "Change the search or the state above."
          : "A stream shows up here when a Dag that carries it (ReindexDag, RebuildDag, SweepDag) has been parsed and you may read that Dag."}
      </Text>
    </Box>
  );
}
