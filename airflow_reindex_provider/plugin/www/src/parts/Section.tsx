import { Box, Flex, Heading, Text } from "@chakra-ui/react";
import { type ReactNode, useId } from "react";

/** A part of a page, with a heading that screen readers list. */
export function Section({
  title,
  aside,
  actions,
  children,
}: {
  title: string;
  aside?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}) {
  const id = useId();
  return (
    <Box aria-labelledby={id} as="section" borderWidth={1} borderRadius="md" p={4}>
      <Flex align="center" gap={3} justify="space-between" mb={3} wrap="wrap">
        <Box>
          <Heading as="h2" id={id} size="md">
            {title}
          </Heading>
          {aside ? (
            <Text color="fg.muted" fontSize="sm">
              {aside}
            </Text>
          ) : null}
        </Box>
        {actions ? <Flex gap={2}>{actions}</Flex> : null}
      </Flex>
      {children}
    </Box>
  );
}

export function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Box minWidth={0}>
      <Text as="dt" color="fg.muted" fontSize="xs">
        {label}
      </Text>
      <Text as="dd" fontSize="sm" overflowWrap="anywhere">
        {children}
      </Text>
    </Box>
  );
}

export function Muted({ children }: { children: ReactNode }) {
  return (
    <Text color="fg.muted" fontSize="sm">
      {children}
    </Text>
  );
}
