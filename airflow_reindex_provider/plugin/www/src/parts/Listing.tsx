import { Table, VisuallyHidden } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A column by its name; `end`: of numbers. `unseen`: told to those alone who hear the page. */
export type Column = { name: string; end?: boolean; unseen?: boolean };

/** A table that scrolls by itself, below the names of its columns. */
export function Listing({
  label,
  columns,
  maxHeight = "22rem",
  children,
}: {
  label: string;
  columns: Column[];
  maxHeight?: string;
  children: ReactNode;
}) {
  return (
    <Table.ScrollArea maxHeight={maxHeight}>
      <Table.Root aria-label={label} size="sm" stickyHeader>
        <Table.Header>
          <Table.Row>
            {columns.map(({ name, end, unseen }) => (
              <Table.ColumnHeader key={name} textAlign={end ? "end" : undefined}>
                {unseen ? <VisuallyHidden>{name}</VisuallyHidden> : name}
              </Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>{children}</Table.Body>
      </Table.Root>
    </Table.ScrollArea>
  );
}
