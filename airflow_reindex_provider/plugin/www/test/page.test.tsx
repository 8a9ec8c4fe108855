import { ChakraProvider, defaultSystem } from "@chakra-ui/react";
import { fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { MemoryRouter, Route, Routes } from "react-router-dom";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { App } from "../src/App";
import type { StreamDetail, StreamList } from "../src/types";
import { aDetail, anAct, aRun, aStream } from "./records";

type Answer = { status: number; body: unknown };

/** The server's side of the wire: what it answers by path, and what it was sent. */
const server = { answers: new Map<string, Answer>(), sent: [] as { path: string; body: unknown }[] };

beforeEach(() => {
  server.answers.clear();
  server.sent = [];
  vi.stubGlobal("fetch", async (url: URL, options: RequestInit) => {
    const path = url.pathname.replace(/.*\/reindex\/api\/v1/, "");
    if (options.method === "POST") server.sent.push({ path, body: JSON.parse(String(options.body)) });
    const { status, body } = server.answers.get(path) ?? { status: 404, body: { detail: `No ${path}.` } };
    return new Response(JSON.stringify(body), { status });
  });
});

function show(path: string) {
  render(
    <ChakraProvider value={defaultSystem}>
      <MemoryRouter initialEntries={[path]}>
        <Routes>
          <Route element={<App />} path="plugin/:page/*" />
        </Routes>
      </MemoryRouter>
    </ChakraProvider>,
  );
}

const list = (streams: StreamList["streams"]): Answer => ({
  status: 200,
  body: {
    streams,
    total: streams.length,
    at: "",
    scheduler: { alive: true, last_heartbeat_at: null },
  } satisfies StreamList,
});
const detail = (told: StreamDetail): Answer => ({ status: 200, body: told });
const click = (name: string | RegExp) => fireEvent.click(screen.getByRole("button", { name }));

describe("the page", () => {
  it("lists streams in the server's order, with links to each", async () => {
    server.answers.set("/streams", list([aStream({ name: "b c", state: "failing" }), aStream({ name: "a" })]));
    show("/plugin/reindex");
    const links = await screen.findAllByRole("link");
    expect(links.map((link) => [link.textContent, link.getAttribute("href")])).toEqual([
      ["b c", "/plugin/reindex/streams/b%20c"],
      ["a", "/plugin/reindex/streams/a"],
    ]);
    expect(screen.getByText("failing", { selector: "[data-state]" })).toBeTruthy();
  });

  it("offers nothing to a person who may do nothing", async () => {
    const run = aRun({ state: "waiting for approval", ended_at: null, approval: "approve" });
    const stream = aStream({ parked: { count: 1, documents: [] }, run, recent: [run] });
    server.answers.set("/streams/products", detail(aDetail(stream)));
    show("/plugin/reindex/streams/products");
    await screen.findByRole("heading", { name: "Freshness" });
    const names = screen
      .getAllByRole("button")
      .map((button) => button.getAttribute("aria-label") ?? button.textContent);
    expect(names).toEqual([expect.stringContaining(`show run ${run.run_id}`)]);
  });

  it("asks before it acts, and shows the server's reason where it was not done", async () => {
    server.answers.set("/streams/products", detail(aDetail(aStream(), { can: [anAct("run")] })));
    server.answers.set("/streams/products/acts/run", {
      status: 409,
      body: { detail: "Dag 'x' is paused. Unpause it first." },
    });
    show("/plugin/reindex/streams/products");
    await screen.findByRole("heading", { name: "Freshness" });
    click("Run now");
    expect(server.sent).toEqual([]);
    const asking = await screen.findByRole("alertdialog");
    expect(within(asking).getByText(/Indexes shop_db:public.products/)).toBeTruthy();
    fireEvent.click(within(asking).getByRole("button", { name: "Run now" }));
    await within(asking).findByText("Dag 'x' is paused. Unpause it first.");
    expect(server.sent).toEqual([{ path: "/streams/products/acts/run", body: {} }]);
    server.answers.set("/streams/products/acts/run", {
      status: 201,
      body: { dag_id: "d", run_id: "r", created: true },
    });
    fireEvent.click(within(asking).getByRole("button", { name: "Run now" }));
    await screen.findByText("Run now: started.");
    await waitFor(() => expect(screen.queryByRole("alertdialog")).toBeNull());
  });

  it("sends the keys of the parked documents that were chosen, with their group", async () => {
    const one = { reason: "refused", attempts: 1, parked_at: "", next_try_at: "2026-11-21T17:25:00+00:00" };
    const documents = [
      { ...one, group: "de", key: ["7"] },
      { ...one, group: "de", key: ["8", "x"] },
      { ...one, group: "fr", key: ["7"] },
    ];
    const stream = aStream({ has_groups: true, parked: { count: 3, documents } });
    const act = anAct("parked-retry", {
      schema: { properties: { keys: { type: "array", items: { type: "array" } }, group: { type: "string" } } },
    });
    server.answers.set("/streams/products", detail(aDetail(stream, { can: [act] })));
    server.answers.set("/streams/products/acts/parked-retry", { status: 201, body: { dag_id: "d", run_id: "r" } });
    show("/plugin/reindex/streams/products");
    for (const name of ["7, of fr", "7, of de", "8/x, of de"]) fireEvent.click(await screen.findByLabelText(name));
    fireEvent.click(await screen.findByRole("button", { name: "Try the 2 chosen again" }));
    const asking = await screen.findByRole("alertdialog");
    fireEvent.click(within(asking).getByRole("button", { name: "Try again" }));
    await waitFor(() =>
      expect(server.sent.map((sent) => sent.body)).toEqual([{ keys: [["7"], ["8", "x"]], group: "de" }]),
    );
  });

  it("opens a failed batch with its reason", async () => {
    const batch = {
      task_id: "index",
      map_index: 0,
      label: "1/1",
      status: "failed",
      try_number: 1,
      total: 10,
      processed: 4,
      docs_per_s: null,
      eta_ms: null,
      message: "mapping refuses price",
      counts: {},
    };
    const run = aRun({ state: "failed", reason: "1 batch failed" });
    server.answers.set("/streams/products", detail(aDetail(aStream({ state: "failing", recent: [run] }))));
    server.answers.set(`/streams/products/runs/${run.dag_id}/${run.run_id}`, {
      status: 200,
      body: { ...run, batches: [batch] },
    });
    show("/plugin/reindex/streams/products");
    const row = await screen.findByRole("button", { name: /1\/1/ });
    expect(screen.queryByText("mapping refuses price")).toBeNull();
    fireEvent.click(row);
    expect(screen.getByText("mapping refuses price")).toBeTruthy();
  });

  it("says that the connection is lost, and what to do when the session is over", async () => {
    vi.stubGlobal("fetch", async () => Promise.reject(new TypeError("failed")));
    show("/plugin/reindex");
    await screen.findByText("The connection to Airflow is lost.");
    vi.stubGlobal("fetch", async () => new Response("{}", { status: 401 }));
    show("/plugin/reindex/streams/products");
    await screen.findByText("You are signed out.");
  });
});
