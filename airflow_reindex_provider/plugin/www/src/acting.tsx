/** What a person may do to the stream that a page shows: buttons, the question before, and what came of it. */

import { Button, type ButtonProps } from "@chakra-ui/react";
import { createContext, type ReactNode, useContext, useMemo, useState } from "react";

import { api, Problem } from "./api";
import { asked, titleOf } from "./asking";
import { fieldsOf } from "./fields";
import { AskDialog, type Question } from "./parts/AskDialog";
import type { Act, Run, Started, StreamDetail } from "./types";

/** A run that was started from this page: its end is told. */
export type Followed = { title: string; started: Started };

type Acting = {
  can: Act[];
  may: StreamDetail["may"];
  /** Ask, then start. */
  ask: (act: Act, fixed?: Record<string, unknown>) => void;
  /** Ask, then do something to a run. */
  askRun: (question: Omit<Question, "fields">) => void;
  followed: Followed | null;
  forget: () => void;
};

const Context = createContext<Acting | null>(null);

export function useActing(): Acting {
  const found = useContext(Context);
  if (!found) throw new Error("useActing is used outside of Acting");
  return found;
}

export function ActingProvider({
  detail,
  hurry,
  children,
}: {
  detail: StreamDetail;
  hurry: () => void;
  children: ReactNode;
}) {
  const [question, setQuestion] = useState<Question | null>(null);
  const [followed, setFollowed] = useState<Followed | null>(null);
  const acting = useMemo<Acting>(
    () => ({
      can: detail.can,
      may: detail.may,
      followed,
      forget: () => setFollowed(null),
      ask: (act, fixed = {}) => {
        const { title, says, button, grave } = asked(act, detail.stream, fixed);
        const answer = async (given: Record<string, unknown>) => {
          try {
            const started = await api.start(detail.stream.name, act.name, { ...fixed, ...given });
            setFollowed({ title, started });
          } catch (error) {
            if (error instanceof Problem && error.run) {
              setFollowed({ title, started: { ...error.run, created: false } });
            }
            throw error;
          } finally {
            hurry();
          }
        };
        setQuestion({ title, says, button, grave, fields: fieldsOf(act, fixed, detail.stream.has_groups), answer });
      },
      askRun: (asking) => {
        const answer = async (given: Record<string, unknown>) => {
          await asking.answer(given).finally(hurry);
        };
        setQuestion({ ...asking, fields: [], answer });
      },
    }),
    [detail, followed, hurry],
  );
  return (
    <Context.Provider value={acting}>
      {children}
      {question ? <AskDialog onClose={() => setQuestion(null)} question={question} /> : null}
    </Context.Provider>
  );
}

/** A button for an act; nothing where this person may not. */
export function ActButton({
  act,
  fixed,
  label,
  ...props
}: { act: string; fixed?: Record<string, unknown>; label?: string } & ButtonProps) {
  const { can, ask } = useActing();
  const mine = can.find((one) => one.name === act);
  if (!mine) return null;
  return (
    <Button onClick={() => ask(mine, fixed)} size="sm" variant="outline" {...props}>
      {label ?? titleOf(act)}
    </Button>
  );
}

/** Ends a run that is under way, where this person may. */
export function CancelButton({ stream, run }: { stream: string; run: Run }) {
  const { may, askRun } = useActing();
  if (!may.cancel) return null;
  const ask = () =>
    askRun({
      title: "Cancel the run",
      says:
        `Ends run ${run.run_id}: its tasks stop between two chunks. What is indexed by then stays, the checkpoint does not` +
        " pass what is not, and the next run goes on from there.",
      button: "Cancel the run",
      grave: true,
      answer: async () => void (await api.cancel(stream, run.dag_id, run.run_id)),
    });
  return (
    <Button colorPalette="red" onClick={ask} size="sm" variant="outline">
      Cancel the run
    </Button>
  );
}

/** The answer that a run waits for. */
export function AnswerButtons({ stream, run, target }: { stream: string; run: Run; target: string }) {
  const { may, askRun } = useActing();
  if (!may.answer || !run.approval) return null;
  const ask = (approve: boolean) => () =>
    askRun({
      title: approve ? "Approve the swap" : "Reject the swap",
      says: approve
        ? `${target} is swapped to the new generation at once: searches find it from then on. The one before is kept, to roll back to.`
        : `${target} stays as it is, and the run ends as failed; the new generation is not served.`,
      button: approve ? "Approve" : "Reject",
      grave: !approve,
      answer: async () => void (await api.answer(stream, run.dag_id, run.run_id, approve)),
    });
  return (
    <>
      <Button colorPalette="blue" onClick={ask(true)} size="sm">
        Approve
      </Button>
      <Button onClick={ask(false)} size="sm" variant="outline">
        Reject
      </Button>
    </>
  );
}
