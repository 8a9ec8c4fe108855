import { Link } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

/** The page of Airflow of a run. */
export function RunLink({ run }: { run: { dag_id: string; run_id: string } }) {
  return (
    <Link asChild colorPalette="blue">
      <RouterLink to={`/dags/${encodeURIComponent(run.dag_id)}/runs/${encodeURIComponent(run.run_id)}`}>
        {run.dag_id}, {run.run_id}
      </RouterLink>
    </Link>
  );
}

export function DagLink({ dagId }: { dagId: string }) {
  return (
    <Link asChild colorPalette="blue">
      <RouterLink to={`/dags/${encodeURIComponent(dagId)}`}>{dagId}</RouterLink>
    </Link>
  );
}
