import { SimpleGrid, Text } from "@chakra-ui/react";

import { ActButton } from "../acting";
import type { Stream } from "../types";
import { ago, count, duration, freshness, moment } from "../words";
import { Plots } from "./Plots";
import { Fact, Section } from "./Section";

/** How far the index is behind its source, and why. */
export function FreshnessPanel({ stream }: { stream: Stream }) {
  const looked = stream.freshness.looked;
  return (
    <Section
      actions={<ActButton act="look" label="Look now …" />}
      aside="How old the oldest change may be that a search cannot find yet: an upper bound, from what the last run has reached."
      title="Freshness"
    >
      <SimpleGrid as="dl" columns={{ base: 2, md: 4 }} gap={3} mb={4}>
        <Fact label="Oldest change not found yet">
          <Text as="span" fontSize="lg" fontWeight="semibold">
            {freshness(stream)}
          </Text>
        </Fact>
        <Fact label="Every change is in before">{moment(stream.freshness.fresh_until)}</Fact>
        <Fact label="Documents in the index">{count(stream.documents)}</Fact>
        <Fact label="Last success">
          {stream.last_success?.ended_at ? ago(stream.last_success.ended_at) : "none yet"}
        </Fact>
        {looked?.at ? (
          <>
            <Fact label={`Looked ${ago(looked.at)}: rows that wait`}>{count(looked.waiting)}</Fact>
            <Fact label="The oldest of them">
              {looked.oldest_s == null || !looked.waiting ? "–" : duration(looked.oldest_s)}
            </Fact>
            <Fact label="Rows stamped ahead of the clock">{count(looked.ahead)}</Fact>
          </>
        ) : null}
        {looked?.held_by || stream.held_by ? (
          <Fact label="What holds the horizon back">{looked?.held_by ?? stream.held_by}</Fact>
        ) : null}
      </SimpleGrid>
      <Plots runs={stream.recent} />
    </Section>
  );
}
