import { Button, Table } from "@chakra-ui/react";

import type { Run } from "../types";
import { amount, duration, moment, took } from "../words";
import { Listing } from "./Listing";
import { Section } from "./Section";
import { State } from "./State";

const COLUMNS = ["Begun", "What", "State", "Done", "Took", "Freshness at its end"];

const sameRun = (a: Run | null, b: Run) => a !== null && a.run_id === b.run_id && a.dag_id === b.dag_id;

/** The last runs, newest first; one of them is shown above with its batches. */
export function Runs({ runs, chosen, onChoose }: { runs: Run[]; chosen: Run | null; onChoose: (run: Run) => void }) {
  if (runs.length === 0) return null;
  return (
    <Section title="Runs">
      <Listing columns={COLUMNS} label="Runs" maxHeight="24rem">
        {runs.map((run) => (
          <Table.Row data-run={run.run_id} data-state={run.state} key={`${run.dag_id} ${run.run_id}`}>
            <Table.Cell whiteSpace="nowrap">
              <Button
                aria-label={`${moment(run.started_at ?? run.queued_at)}, show run ${run.run_id}`}
                aria-pressed={sameRun(chosen, run)}
                onClick={() => onChoose(run)}
                height="auto"
                px={0}
                size="xs"
                variant="plain"
              >
                {moment(run.started_at ?? run.queued_at)}
              </Button>
            </Table.Cell>
            <Table.Cell>
              {run.mode}
              {run.dry_run ? ", dry" : ""}
            </Table.Cell>
            <Table.Cell>
              <State state={run.state} />
            </Table.Cell>
            <Table.Cell>{amount(run) || "–"}</Table.Cell>
            <Table.Cell whiteSpace="nowrap">{took(run)}</Table.Cell>
            <Table.Cell whiteSpace="nowrap">{run.freshness_s === null ? "–" : duration(run.freshness_s)}</Table.Cell>
          </Table.Row>
        ))}
      </Listing>
    </Section>
  );
}
