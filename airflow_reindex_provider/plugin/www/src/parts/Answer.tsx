import { Box, Code, Text } from "@chakra-ui/react";

import type { Run } from "../types";

/** What a run has answered that did something else than indexing: lines for people, statements. */
export function Answer({ run }: { run: Run }) {
  const lines = run.result?.lines;
  const ddl = run.result?.ddl;
  return (
    <>
      {Array.isArray(lines) && lines.length > 0 ? (
        <Box as="ul" data-testid="answer" fontSize="sm" listStyleType="none">
          {lines.map((line: string) => (
            <Text as="li" key={line} overflowWrap="anywhere">
              {line}
            </Text>
          ))}
        </Box>
      ) : null}
      {typeof ddl === "string" ? (
        <Code display="block" p={2} whiteSpace="pre-wrap">
          {ddl}
        </Code>
      ) : null}
    </>
  );
}
