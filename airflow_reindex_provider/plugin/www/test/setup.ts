import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";

// A machine that does other things beside takes longer than a second to draw what a test waits for.
configure({ asyncUtilTimeout: 10_000 });
afterEach(cleanup);
