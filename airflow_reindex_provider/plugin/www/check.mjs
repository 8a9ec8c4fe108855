// Whether the committed bundle is what the sources give, and how large it is: node check.mjs

import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const MOST_KB = 150;

const [{ output }] = await build({ logLevel: "warn", build: { write: false } });
const [built] = output;
const committed = await readFile(new URL("dist/main.js", import.meta.url), "utf8").catch(() => "");
const zipped = gzipSync(committed, { level: 9 }).length / 1000;

console.log(
  `dist/main.js: ${(committed.length / 1000).toFixed(1)} kB, ${zipped.toFixed(1)} kB gzipped (at most ${MOST_KB}).`,
);
if (output.length > 1) throw new Error(`The bundle is ${output.length} files; Airflow imports one.`);
if (built.code !== committed)
  throw new Error("dist/main.js is not what the sources give. Run `make page`, and commit it.");
if (zipped > MOST_KB) throw new Error("dist/main.js is too large.");
