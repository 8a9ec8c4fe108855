import { Route, Routes, useLocation } from "react-router-dom";

import { DagTab } from "./pages/DagTab";
import { DashboardCard } from "./pages/DashboardCard";
import { DetailPage } from "./pages/DetailPage";
import { ListPage } from "./pages/ListPage";

export type PluginProps = { dagId?: string; runId?: string; taskId?: string; mapIndex?: string };

/** One component for every place that Airflow shows it in: the tab of a Dag or a run, a page of its own, a card on the dashboard. */
export function App({ dagId, runId }: PluginProps) {
  const { pathname } = useLocation();
  if (dagId) return <DagTab dagId={dagId} {...(runId ? { runId } : {})} />;
  if (!pathname.includes("/plugin/")) return <DashboardCard />;
  return (
    <Routes>
      <Route index element={<ListPage />} />
      <Route path="streams/:name" element={<DetailPage />} />
      <Route path="*" element={<ListPage />} />
    </Routes>
  );
}
