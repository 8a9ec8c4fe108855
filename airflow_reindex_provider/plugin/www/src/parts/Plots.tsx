import { Box, SimpleGrid, Text } from "@chakra-ui/react";

import type { Run } from "../types";
import { count, duration, isOver, moment } from "../words";

const WIDTH = 420;
const HEIGHT = 120;
const LEFT = 56;
const BOTTOM = 18;
const TOP = 8;

type Point = { id: string; at: number; value: number; says: string };

/** Freshness at the end of each run, and the documents that it took, over time. The table of runs has the same figures. */
export function Plots({ runs }: { runs: Run[] }) {
  const over = runs.filter((run) => isOver(run) && run.ended_at !== null).sort((a, b) => ended(a) - ended(b));
  const stale = over.flatMap((run) =>
    run.freshness_s === null
      ? []
      : [
          {
            id: run.run_id,
            at: ended(run),
            value: run.freshness_s,
            says: `${moment(run.ended_at)}: ${duration(run.freshness_s)}`,
          },
        ],
  );
  const documents = over
    .filter((run) => run.total_count !== null)
    .map((run) => ({
      id: run.run_id,
      at: ended(run),
      value: run.indexed_count,
      says: `${moment(run.ended_at)}, ${run.mode}: ${count(run.indexed_count)} documents, ${run.state}`,
    }));
  return (
    <SimpleGrid columns={{ base: 1, lg: 2 }} gap={4}>
      <Plot line name="Freshness at the end of each run" points={stale} unit={duration} />
      <Plot name="Documents a run" points={documents} unit={count} />
    </SimpleGrid>
  );
}

const ended = (run: Run) => Date.parse(run.ended_at as string);

function Plot({
  name,
  points,
  unit,
  line,
}: {
  name: string;
  points: Point[];
  unit: (n: number) => string;
  line?: boolean;
}) {
  if (points.length === 0) {
    return (
      <Box>
        <Text fontSize="sm" fontWeight="semibold">
          {name}
        </Text>
        <Text color="fg.muted" fontSize="sm">
          No run has said it yet.
        </Text>
      </Box>
    );
  }
  const first = points[0] as Point;
  const last = points.at(-1) as Point;
  const most = Math.max(...points.map((point) => point.value), 1);
  const span = Math.max(last.at - first.at, 1);
  const x = (at: number) =>
    points.length === 1 ? (LEFT + WIDTH) / 2 : LEFT + 6 + ((at - first.at) / span) * (WIDTH - LEFT - 12);
  const y = (value: number) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const floor = HEIGHT - BOTTOM;
  return (
    <Box as="figure" m={0}>
      <Text as="figcaption" fontSize="sm" fontWeight="semibold">
        {name}
      </Text>
      <Box asChild color="blue.fg" maxWidth="40rem" width="full">
        <svg
          aria-label={`${name}: the last is ${last.says}; the most is ${unit(most)}`}
          role="img"
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        >
          <g stroke="var(--chakra-colors-border)">
            <line x1={LEFT} x2={WIDTH} y1={y(most)} y2={y(most)} />
            <line x1={LEFT} x2={WIDTH} y1={floor} y2={floor} />
          </g>
          <g fill="var(--chakra-colors-fg-muted)" style={{ fontSize: 8 }}>
            <text textAnchor="end" x={LEFT - 6} y={y(most) + 4}>
              {unit(most)}
            </text>
            <text textAnchor="end" x={LEFT - 6} y={floor + 3}>
              0
            </text>
            <text x={LEFT} y={HEIGHT - 4}>
              {moment(new Date(first.at).toISOString())}
            </text>
            {points.length > 1 ? (
              <text textAnchor="end" x={WIDTH} y={HEIGHT - 4}>
                {moment(new Date(last.at).toISOString())}
              </text>
            ) : null}
          </g>
          {line ? (
            <polyline
              fill="none"
              points={points.map((point) => `${x(point.at)},${y(point.value)}`).join(" ")}
              stroke="currentColor"
              strokeLinejoin="round"
              strokeWidth="1.5"
            />
          ) : null}
          {points.map((point) =>
            line ? (
              <circle cx={x(point.at)} cy={y(point.value)} fill="currentColor" key={point.id} r="2.5">
                <title>{point.says}</title>
              </circle>
            ) : (
              <rect
                fill="currentColor"
                height={Math.max(floor - y(point.value), 1)}
                key={point.id}
                width="4"
                x={x(point.at) - 2}
                y={Math.min(y(point.value), floor - 1)}
              >
                <title>{point.says}</title>
              </rect>
            ),
          )}
        </svg>
      </Box>
    </Box>
  );
}
