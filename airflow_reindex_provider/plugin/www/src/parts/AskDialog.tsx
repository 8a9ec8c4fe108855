import {
  Button,
  Checkbox,
  CloseButton,
  Dialog,
  Field,
  Input,
  NativeSelect,
  Portal,
  Stack,
  Text,
} from "@chakra-ui/react";
import { type FormEvent, useState } from "react";

import { Problem } from "../api";
import { type Field as Asking, argumentsOf } from "../fields";
import { Notice } from "./Notices";

export type Question = {
  title: string;
  says: string;
  button: string;
  grave: boolean;
  fields: Asking[];
  /** Does it. What it throws is shown, and the question stays open. */
  answer: (given: Record<string, unknown>) => Promise<void>;
};

/** Asks once, in words that say what will happen. */
export function AskDialog({ question, onClose }: { question: Question; onClose: () => void }) {
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const type = (name: string) => (text: string) => setTyped((was) => ({ ...was, [name]: text }));
  const missing = question.fields.some((field) => field.needed && !(typed[field.name] ?? "").trim());

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await question.answer(argumentsOf(question.fields, typed));
      onClose();
    } catch (error) {
      setProblem(error instanceof Problem ? error.message : String(error));
      setBusy(false);
    }
  };

  return (
    <Dialog.Root onOpenChange={(details) => details.open || onClose()} open placement="center" role="alertdialog">
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content>
            <form onSubmit={(event) => void submit(event)}>
              <Dialog.Header>
                <Dialog.Title>{question.title}</Dialog.Title>
              </Dialog.Header>
              <Dialog.Body>
                <Stack gap={4}>
                  <Dialog.Description color="fg">{question.says}</Dialog.Description>
                  {question.fields.map((field) => (
                    <Asked field={field} key={field.name} onType={type(field.name)} text={typed[field.name] ?? ""} />
                  ))}
                  {problem ? (
                    <Notice status="error" title="This was not done.">
                      {problem}
                    </Notice>
                  ) : null}
                </Stack>
              </Dialog.Body>
              <Dialog.Footer>
                <Button onClick={onClose} type="button" variant="outline">
                  Leave it
                </Button>
                <Button colorPalette={question.grave ? "red" : "blue"} disabled={missing} loading={busy} type="submit">
                  {question.button}
                </Button>
              </Dialog.Footer>
              <Dialog.CloseTrigger asChild>
                <CloseButton aria-label="Leave it" size="sm" type="button" />
              </Dialog.CloseTrigger>
            </form>
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}

function Asked({ field, text, onType }: { field: Asking; text: string; onType: (text: string) => void }) {
  if (field.kind === "yes") {
    return (
      <Checkbox.Root
        alignItems="start"
        checked={text !== ""}
        colorPalette="blue"
        onCheckedChange={(details) => onType(details.checked === true ? "yes" : "")}
      >
        <Checkbox.HiddenInput />
        <Checkbox.Control />
        <Checkbox.Label>
          {field.label}
          <Text color="fg.muted" fontWeight="normal">
            {field.help}
          </Text>
        </Checkbox.Label>
      </Checkbox.Root>
    );
  }
  return (
    <Field.Root required={field.needed}>
      <Field.Label>
        {field.label}
        <Field.RequiredIndicator />
      </Field.Label>
      {field.kind === "choice" ? (
        <NativeSelect.Root size="sm">
          <NativeSelect.Field onChange={(event) => onType(event.target.value)} value={text}>
            <option value="" />
            {field.choices.map((choice) => (
              <option key={choice}>{choice}</option>
            ))}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
      ) : (
        <Input
          onChange={(event) => onType(event.target.value)}
          size="sm"
          step="any"
          type={field.kind === "number" ? "number" : "text"}
          value={text}
        />
      )}
      {field.help ? <Field.HelperText>{field.help}</Field.HelperText> : null}
    </Field.Root>
  );
}
