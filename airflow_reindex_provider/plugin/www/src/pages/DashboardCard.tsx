import { Box, Flex, Heading, Link, Stack, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { api } from "../api";
import { Connection } from "../parts/Notices";
import { State } from "../parts/State";
import { usePolled } from "../polling";
import type { Stream } from "../types";
import { freshness, paceOf, percent, plural } from "../words";

const SHOWN = 5;
const CALM = ["idle", "paused"];

/** Those streams that somebody should look at, on Airflow's home page; nothing where there are no streams. */
export function DashboardCard() {
  const polled = usePolled(
    "dashboard",
    (signal) => api.streams({}, signal),
    (list) => paceOf(list.streams),
  );
  const list = polled.data;
  if (!list || list.total === 0) return null;
  const loud = list.streams.filter((stream) => !CALM.includes(stream.state));
  // Airflow orders the parts of its home page by number: this is after the counts of Dags.
  return (
    <Box aria-label="Reindex" as="section" borderRadius="md" borderWidth={1} data-testid="reindex-card" order={4} p={4}>
      <Flex align="baseline" justify="space-between" mb={2}>
        <Heading as="h2" size="sm">
          Reindex
        </Heading>
        <Link asChild colorPalette="blue" fontSize="sm">
          <RouterLink to="/plugin/reindex">All {plural(list.total, "stream")}</RouterLink>
        </Link>
      </Flex>
      <Connection at={polled.at} problem={polled.problem} scheduler={null} />
      {loud.length === 0 ? (
        <Text fontSize="sm">Every stream is up to date.</Text>
      ) : (
        <Stack as="ul" gap={2} listStyleType="none">
          {loud.slice(0, SHOWN).map((stream) => (
            <Line key={stream.name} stream={stream} />
          ))}
        </Stack>
      )}
      {loud.length > SHOWN ? (
        <Text color="fg.muted" fontSize="sm" mt={2}>
          and {plural(loud.length - SHOWN, "other")}
        </Text>
      ) : null}
    </Box>
  );
}

function Line({ stream }: { stream: Stream }) {
  const figure = stream.run?.progress != null ? percent(stream.run.progress) : `freshness ${freshness(stream)}`;
  return (
    <Flex align="center" as="li" fontSize="sm" gap={3}>
      <Link asChild colorPalette="blue">
        <RouterLink to={`/plugin/reindex/streams/${encodeURIComponent(stream.name)}`}>{stream.name}</RouterLink>
      </Link>
      <State state={stream.state} />
      <Text color="fg.muted" whiteSpace="nowrap">
        {figure}
      </Text>
      <Text color="fg.muted" lineClamp={1} title={stream.message}>
        {stream.message}
      </Text>
    </Flex>
  );
}
