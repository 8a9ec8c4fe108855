import { Box, Text } from "@chakra-ui/react";

import type { Run } from "../types";
import { duration, isOver } from "../words";

const WIDTH = 96;
const HEIGHT = 24;
const EDGE = 3;

/** How stale the index was at the end of the last runs, oldest first. */
export function Sparkline({ runs }: { runs: Run[] }) {
  const values = runs
    .filter((run) => isOver(run) && run.freshness_s !== null)
    .map((run) => run.freshness_s as number)
    .reverse();
  if (values.length < 2) {
    return (
      <Text color="fg.muted" fontSize="xs">
        –
      </Text>
    );
  }
  const most = Math.max(...values, 1);
  const points = values.map((value, i) => [
    EDGE + (i * (WIDTH - 2 * EDGE)) / (values.length - 1),
    HEIGHT - EDGE - (value / most) * (HEIGHT - 2 * EDGE),
  ]);
  const said = `Freshness at the end of the last ${values.length} runs, oldest first: ${values.map(duration).join(", ")}`;
  const [x, y] = points.at(-1) as [number, number];
  return (
    <Box asChild color="blue.fg" display="inline-block" verticalAlign="middle">
      <svg aria-label={said} height={HEIGHT} role="img" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH}>
        <title>{said}</title>
        <polyline
          fill="none"
          points={points.join(" ")}
          stroke="currentColor"
          strokeLinejoin="round"
          strokeWidth="1.5"
        />
        <circle cx={x} cy={y} fill="currentColor" r="2.5" />
      </svg>
    </Box>
  );
}
