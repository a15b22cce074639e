// Builds ../editor.js and ../editor.css, and gathers the licences of all that is bundled.

import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";

const shared = { bundle: true, minify: true, legalComments: "none", charset: "ascii", logLevel: "info" };
const result = await build({
  ...shared,
  entryPoints: ["editor.js"],
  outfile: "../editor.js",
  format: "iife",
  globalName: "CodebyteEditor",
  target: "es2021",
  metafile: true,
});
await build({ ...shared, entryPoints: ["editor.css"], outfile: "../editor.css" });

const bundled = new Set();
for (const path of Object.keys(result.metafile.inputs)) {
  const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  if (name) bundled.add(name[1]);
}
const texts = new Map();
for (const name of [...bundled].sort()) {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  const text = readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
  texts.set(text, [...(texts.get(text) ?? []), `${name} ${version}`]);
}
const parts = [...texts].map(([text, names]) => `${names.join("\n")}\n\n${text}\n`);
const rule = "-".repeat(80);
writeFileSync(
  "../editor.LICENSE",
  `editor.js contains the packages below.\n\n${parts.join(`\n${rule}\n\n`)}`,
);
