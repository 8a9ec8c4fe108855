/** What a stream has at its target and in its checkpoint store, as the last closing task found it. */

import { Badge, Box, Button, Checkbox, Code, Flex, SimpleGrid, Table, Text } from "@chakra-ui/react";
import { useState } from "react";

import { ActButton, useActing } from "../acting";
import { previous, rollbackTo } from "../asking";
import type { Generation, ParkedDocument, Stream } from "../types";
import { ago, bytes, count, keyOf, moment, served } from "../words";
import { Listing } from "./Listing";
import { Fact, Muted, Section } from "./Section";

export function Parked({ stream }: { stream: Stream }) {
  const { can } = useActing();
  const [chosen, setChosen] = useState<string[]>([]);
  const parked = stream.parked;
  const documents = parked?.documents ?? [];
  const picked = documents.filter((one) => chosen.includes(idOf(one)));
  const steers = can.some((act) => act.name === "parked-retry" || act.name === "parked-drop");
  // An act is about one group: who chooses a document of another one begins anew.
  const choose = (one: ParkedDocument, on: boolean) => {
    const others = picked.filter((other) => other.group === one.group && idOf(other) !== idOf(one)).map(idOf);
    setChosen(on ? [...others, idOf(one)] : others);
  };
  const group = picked[0]?.group;
  const fixed: Record<string, unknown> =
    picked.length > 0 ? { keys: picked.map((one) => one.key), ...(group === undefined ? {} : { group }) } : {};
  const which = picked.length > 0 ? `the ${count(picked.length)} chosen` : "all";
  return (
    <Section
      actions={
        parked && parked.count > 0 ? (
          <>
            <ActButton act="parked-retry" fixed={fixed} label={`Try ${which} again`} />
            <ActButton act="parked-drop" colorPalette="red" fixed={fixed} label={`Give ${which} up`} />
          </>
        ) : null
      }
      aside={
        parked?.count
          ? "The target or the transform refuses them; each is tried again later, and holds nothing up."
          : undefined
      }
      title={`Parked documents: ${parked ? count(parked.count) : "not known"}`}
    >
      {documents.length > 0 ? (
        <Listing columns={["Key", "Reason", "Attempts", "Next try"]} label="Parked documents" numbers={["Attempts"]}>
          {documents.map((one) => (
            <Table.Row data-parked={keyOf(one.key)} key={idOf(one)}>
              <Table.Cell>
                {steers ? (
                  <Checkbox.Root
                    checked={chosen.includes(idOf(one))}
                    colorPalette="blue"
                    onCheckedChange={(details) => choose(one, details.checked === true)}
                    size="sm"
                  >
                    <Checkbox.HiddenInput />
                    <Checkbox.Control />
                    <Checkbox.Label>{nameOf(one)}</Checkbox.Label>
                  </Checkbox.Root>
                ) : (
                  nameOf(one)
                )}
              </Table.Cell>
              <Table.Cell overflowWrap="anywhere" whiteSpace="normal">
                {one.reason}
              </Table.Cell>
              <Table.Cell textAlign="end">{count(one.attempts)}</Table.Cell>
              <Table.Cell whiteSpace="nowrap">{nextTry(one.next_try_at)}</Table.Cell>
            </Table.Row>
          ))}
        </Listing>
      ) : null}
      {parked?.count === 0 ? <Muted>No document is refused.</Muted> : null}
      {parked && parked.count > documents.length ? (
        <Muted>
          {documents.length > 0
            ? `The ${count(documents.length)} that are tried next are shown.`
            : "A run that is to come names them."}
        </Muted>
      ) : null}
    </Section>
  );
}

const nameOf = (one: ParkedDocument) => keyOf(one.key) + (one.group === undefined ? "" : `, of ${one.group}`);
const idOf = (one: ParkedDocument) => JSON.stringify([one.group, one.key]);

const nextTry = (iso: string) => (Date.parse(iso) <= Date.now() ? "with the next run" : moment(iso));

export function Generations({ stream }: { stream: Stream }) {
  if (stream.generations.length === 0) return null;
  const canGoBackTo = (one: Generation) =>
    one.group === undefined ? one.served && !one.live : one === previous(stream, one.group);
  return (
    <Section
      aside="The indexes behind the public name; those that were served before can be served again."
      title="Generations"
    >
      <Listing
        columns={[...(stream.has_groups ? ["Group"] : []), "Generation", "Made", "Documents", "Size", "Roll back"]}
        label="Generations"
        numbers={["Documents", "Size"]}
        unseen="Roll back"
      >
        {stream.generations.toReversed().map((one) => (
          <Table.Row data-generation={one.name} key={one.name}>
            {stream.has_groups ? <Table.Cell>{one.group ?? "–"}</Table.Cell> : null}
            <Table.Cell overflowWrap="anywhere" whiteSpace="normal">
              {one.name}
              <br />
              <Badge colorPalette={one.live ? "green" : "gray"} variant="surface">
                {served(one)}
              </Badge>
            </Table.Cell>
            <Table.Cell whiteSpace="nowrap">{moment(one.made_at)}</Table.Cell>
            <Table.Cell textAlign="end">
              {one.documents_estimated ? "about " : ""}
              {count(one.documents)}
            </Table.Cell>
            <Table.Cell textAlign="end" whiteSpace="nowrap">
              {bytes(one.bytes)}
            </Table.Cell>
            <Table.Cell textAlign="end">
              {canGoBackTo(one) ? (
                <ActButton act="rollback" fixed={rollbackTo(one)} label="Roll back to this" size="xs" />
              ) : null}
            </Table.Cell>
          </Table.Row>
        ))}
      </Listing>
    </Section>
  );
}

export function CheckpointPanel({ stream }: { stream: Stream }) {
  const checkpoint = stream.checkpoint;
  return (
    <Section
      actions={
        <>
          <ActButton act="checkpoint-set" label="Set …" />
          <ActButton act="checkpoint-reset" colorPalette="red" label="Reset …" />
        </>
      }
      aside={stream.standing_at ? `As of ${ago(stream.standing_at)}.` : undefined}
      title="Checkpoint"
    >
      {checkpoint ? (
        <SimpleGrid as="dl" columns={{ base: 1, md: 2 }} gap={3}>
          <Fact label="Read up to">
            <Code>{checkpoint.cursor ?? "the first row"}</Code>
          </Fact>
          <Fact label="Key">{checkpoint.key.length > 0 ? keyOf(checkpoint.key) : "–"}</Fact>
          <Fact label="Saved">
            {moment(checkpoint.saved_at)}, by {checkpoint.saved_by ?? "–"}
          </Fact>
          <Fact label="Kept in">{checkpoint.where}</Fact>
        </SimpleGrid>
      ) : (
        <Muted>{stream.has_groups ? "Each group has one of its own." : "No run has saved one yet."}</Muted>
      )}
      {stream.lease ? (
        <Text fontSize="sm" mt={3}>
          The stream is held by {stream.lease.holder} ({stream.lease.purpose}) since {moment(stream.lease.since)}.
        </Text>
      ) : null}
    </Section>
  );
}

const FINDINGS: [string, string][] = [
  ["missing", "missing from the index"],
  ["stale", "older in the index"],
  ["changed", "of other content"],
  ["orphaned", "in the index alone"],
  ["newer", "newer in the index, left alone"],
];

export function SweepPanel({ stream }: { stream: Stream }) {
  const sweep = stream.last_sweep;
  const result = sweep?.result ?? null;
  return (
    <Section
      actions={
        <>
          <ActButton act="sweep-dry-run" label="Compare only …" />
          <ActButton act="sweep" label="Sweep …" />
        </>
      }
      aside={
        sweep?.ended_at ? `${ago(sweep.ended_at)}${sweep.dry_run ? ", dry run: nothing was repaired" : ""}` : undefined
      }
      title="Last sweep"
    >
      {result ? (
        <Box>
          <Text fontSize="sm">
            {count(number(result.rows))} rows were compared with {count(number(result.indexed))} documents.
          </Text>
          <Flex as="ul" gap={4} listStyleType="none" mt={2} wrap="wrap">
            {FINDINGS.map(([name, says]) => (
              <Text as="li" color={number(result[name]) ? "fg" : "fg.muted"} fontSize="sm" key={name}>
                <strong>{count(number(result[name]) ?? 0)}</strong> {says}
              </Text>
            ))}
          </Flex>
          <Examples found={result.examples} />
        </Box>
      ) : (
        <Muted>No sweep has compared source and index yet.</Muted>
      )}
    </Section>
  );
}

const number = (value: unknown) => (typeof value === "number" ? value : null);

function Examples({ found }: { found: unknown }) {
  const [open, setOpen] = useState(false);
  const examples = Object.entries((found ?? {}) as Record<string, string[][]>).filter(([, keys]) => keys.length > 0);
  if (examples.length === 0) return null;
  return (
    <Box mt={2}>
      <Button aria-expanded={open} onClick={() => setOpen(!open)} px={0} size="xs" variant="plain">
        <span aria-hidden>{open ? "▾" : "▸"}</span> Examples
      </Button>
      {open
        ? examples.map(([name, keys]) => (
            <Text fontSize="sm" key={name} overflowWrap="anywhere">
              {name}: {keys.map(keyOf).join(", ")}
            </Text>
          ))
        : null}
    </Box>
  );
}

export function Groups({ stream }: { stream: Stream }) {
  const groups = Object.entries(stream.groups ?? {}).map(([name, told]) => ({
    name,
    status: String(told.status ?? "–"),
    processed: number(told.processed),
    parked: number(told.parked),
    cursor: cursorOf(told.checkpoint_after),
  }));
  if (groups.length === 0) return null;
  // The one furthest behind first: cursors of one type sort as texts, in ISO 8601.
  const shown = groups.toSorted((a, b) => (a.cursor ?? "").localeCompare(b.cursor ?? "", "en", { numeric: true }));
  return (
    <Section
      actions={<ActButton act="rollback" fixed={{ rollback_to: "previous" }} label="Roll back …" />}
      aside={`Furthest behind: ${shown[0]?.name}.`}
      title={`Groups: ${count(groups.length)}`}
    >
      <Table.ScrollArea maxHeight="22rem">
        <Table.Root aria-label="Groups" size="sm" stickyHeader>
          <Table.Header>
            <Table.Row>
              <Table.ColumnHeader>Group</Table.ColumnHeader>
              <Table.ColumnHeader>Last run</Table.ColumnHeader>
              <Table.ColumnHeader textAlign="end">Documents</Table.ColumnHeader>
              <Table.ColumnHeader textAlign="end">Parked</Table.ColumnHeader>
              <Table.ColumnHeader>Read up to</Table.ColumnHeader>
            </Table.Row>
          </Table.Header>
          <Table.Body>
            {shown.map((one) => (
              <Table.Row key={one.name}>
                <Table.Cell>{one.name}</Table.Cell>
                <Table.Cell>{one.status}</Table.Cell>
                <Table.Cell textAlign="end">{count(one.processed)}</Table.Cell>
                <Table.Cell textAlign="end">{count(one.parked)}</Table.Cell>
                <Table.Cell whiteSpace="nowrap">{one.cursor ?? "–"}</Table.Cell>
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
      </Table.ScrollArea>
    </Section>
  );
}

function cursorOf(after: unknown): string | null {
  const cursor = typeof after === "object" && after !== null ? (after as Record<string, unknown>).cursor : null;
  return typeof cursor === "string" ? cursor : null;
}
