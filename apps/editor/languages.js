// File types: what a name ends in, how it is coloured, and how it is indented.

import { cpp } from "@codemirror/lang-cpp";
import { css } from "@codemirror/lang-css";
import { go } from "@codemirror/lang-go";
import { html } from "@codemirror/lang-html";
import { java } from "@codemirror/lang-java";
import { javascript } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";
import { markdown } from "@codemirror/lang-markdown";
import { php } from "@codemirror/lang-php";
import { python } from "@codemirror/lang-python";
import { rust } from "@codemirror/lang-rust";
import { sql } from "@codemirror/lang-sql";
import { yaml } from "@codemirror/lang-yaml";
import { StreamLanguage } from "@codemirror/language";
import { csharp, kotlin, scala } from "@codemirror/legacy-modes/mode/clike";
import { dockerFile } from "@codemirror/legacy-modes/mode/dockerfile";
import { lua } from "@codemirror/legacy-modes/mode/lua";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { swift } from "@codemirror/legacy-modes/mode/swift";
import { toml } from "@codemirror/legacy-modes/mode/toml";

const old = (mode) => () => StreamLanguage.define(mode);
const tab = "\t";
const two = "  ";
const four = "    ";

// The first ending is the one a new file gets.
export const LANGUAGES = [
  { name: "Python", endings: ["py", "pyi"], indent: four, support: python },
  { name: "JavaScript", endings: ["js", "mjs", "cjs", "jsx"], indent: two, support: () => javascript({ jsx: true }) },
  { name: "TypeScript", endings: ["ts", "mts", "cts"], indent: two, support: () => javascript({ typescript: true }) },
  { name: "TSX", endings: ["tsx"], indent: two, support: () => javascript({ jsx: true, typescript: true }) },
  { name: "Go", endings: ["go"], indent: tab, support: go },
  { name: "Rust", endings: ["rs"], indent: four, support: rust },
  { name: "Java", endings: ["java"], indent: four, support: java },
  { name: "C", endings: ["c", "h"], indent: four, support: cpp },
  { name: "C++", endings: ["cpp", "cc", "cxx", "hpp", "hh", "hxx"], indent: four, support: cpp },
  { name: "C#", endings: ["cs"], indent: four, support: old(csharp) },
  { name: "Kotlin", endings: ["kt", "kts"], indent: four, support: old(kotlin) },
  { name: "Scala", endings: ["scala"], indent: two, support: old(scala) },
  { name: "Swift", endings: ["swift"], indent: four, support: old(swift) },
  { name: "Ruby", endings: ["rb"], indent: two, support: old(ruby) },
  { name: "PHP", endings: ["php"], indent: four, support: php },
  { name: "Lua", endings: ["lua"], indent: two, support: old(lua) },
  { name: "Shell", endings: ["sh", "bash", "zsh"], indent: two, support: old(shell) },
  { name: "SQL", endings: ["sql"], indent: two, support: sql },
  { name: "HTML", endings: ["html", "htm", "vue"], indent: two, support: html },
  { name: "CSS", endings: ["css"], indent: two, support: css },
  { name: "JSON", endings: ["json"], indent: two, support: json },
  { name: "YAML", endings: ["yaml", "yml"], indent: two, support: yaml },
  { name: "TOML", endings: ["toml"], indent: two, support: old(toml) },
  { name: "Markdown", endings: ["md", "markdown"], indent: two, support: markdown },
  { name: "Dockerfile", endings: ["dockerfile"], indent: two, support: old(dockerFile) },
  { name: "Plain text", endings: ["txt"], indent: four, support: () => [] },
];

export function languageOf(path) {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const ending = name.slice(name.lastIndexOf(".") + 1);
  return LANGUAGES.find(({ endings }) => endings.includes(ending)) ?? LANGUAGES.at(-1);
}

export function withEnding(path, language) {
  if (languageOf(path) === language) return path;
  const stem = path.replace(/\.[^./]*$/, "");
  return `${stem || "untitled"}.${language.endings[0]}`;
}
