import { Table, VisuallyHidden } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A table that scrolls by itself, below the names of its columns: those of `numbers` stand at the end of their cells, and the one
 * that is `unseen` is told to those alone who hear the page. */
export function Listing({
  label,
  columns,
  numbers = [],
  unseen,
  maxHeight = "22rem",
  children,
}: {
  label: string;
  columns: string[];
  numbers?: string[];
  unseen?: string;
  maxHeight?: string;
  children: ReactNode;
}) {
  return (
    <Table.ScrollArea maxHeight={maxHeight}>
      <Table.Root aria-label={label} size="sm" stickyHeader>
        <Table.Header>
          <Table.Row>
            {columns.map((name) => (
              <Table.ColumnHeader key={name} textAlign={numbers.includes(name) ? "end" : undefined}>
                {name === unseen ? <VisuallyHidden>{name}</VisuallyHidden> : name}
              </Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>{children}</Table.Body>
      </Table.Root>
    </Table.ScrollArea>
  );
}
