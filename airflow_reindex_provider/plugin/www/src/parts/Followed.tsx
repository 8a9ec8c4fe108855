import { Box, Flex, IconButton } from "@chakra-ui/react";

import { useActing } from "../acting";
import type { Stream } from "../types";
import { isOver } from "../words";
import { RunLink } from "./links";
import { Notice } from "./Notices";

/** What came of the act that was started last from this page. */
export function FollowedNotice({ stream }: { stream: Stream }) {
  const { followed, forget } = useActing();
  if (!followed) return null;
  const { started, title } = followed;
  const run =
    [stream.run, ...stream.recent].find((one) => one?.run_id === started.run_id && one.dag_id === started.dag_id) ??
    null;
  const over = run !== null && isOver(run);
  const status = !over ? "info" : run.state === "completed" ? "success" : "error";
  const said = over
    ? `${title}: ${run.state}.`
    : started.created
      ? `${title}: started.`
      : `${title}: this run is under way.`;
  return (
    <Flex align="start" data-testid="followed" gap={2}>
      <Box flex="1" minWidth={0}>
        <Notice status={status} title={said}>
          <RunLink run={started} />
        </Notice>
      </Box>
      <IconButton aria-label="Close the notice" onClick={forget} size="xs" variant="ghost">
        ×
      </IconButton>
    </Flex>
  );
}
