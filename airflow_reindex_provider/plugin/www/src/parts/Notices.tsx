import { Alert, Link } from "@chakra-ui/react";
import type { ReactNode } from "react";

import type { Problem } from "../api";
import type { Scheduler } from "../types";
import { ago, clock } from "../words";

type Status = "error" | "warning" | "info" | "success";

export function Notice({ status, title, children }: { status: Status; title: string; children?: ReactNode }) {
  return (
    <Alert.Root role={status === "error" ? "alert" : "status"} size="sm" status={status}>
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{title}</Alert.Title>
        {children ? (
          <Alert.Description overflowWrap="anywhere" whiteSpace="pre-line">
            {children}
          </Alert.Description>
        ) : null}
      </Alert.Content>
    </Alert.Root>
  );
}

/** That the figures do not move, and why: the connection is lost, the session is over, or the scheduler stands still. */
export function Connection({
  problem,
  at,
  scheduler,
}: {
  problem: Problem | null;
  at: Date | null;
  scheduler: Scheduler | null;
}) {
  if (problem?.status === 401) {
    return (
      <Notice status="error" title="You are signed out.">
        <Link href={new URL("auth/login", document.baseURI).href} variant="underline">
          Sign in again
        </Link>{" "}
        to see and steer the streams.
      </Notice>
    );
  }
  if (problem && (problem.status === 0 || problem.status >= 500)) {
    return (
      <Notice status="warning" title="The connection to Airflow is lost.">
        {at ? `The figures are those of ${clock(at, true)}. ` : ""}The page goes on trying.{" "}
        {problem.status === 0 ? "" : problem.message}
      </Notice>
    );
  }
  if (problem) {
    return (
      <Notice status="error" title="Airflow does not show this.">
        {problem.message}
      </Notice>
    );
  }
  if (scheduler && !scheduler.alive) {
    const since = scheduler.last_heartbeat_at;
    return (
      <Notice status="warning" title="Airflow's scheduler does not run.">
        {since ? `Its last sign of life was ${ago(since)}. ` : ""}No run starts or ends until it runs again.
      </Notice>
    );
  }
  return null;
}
