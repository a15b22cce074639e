// The Write tab: an editor with ghost text, its toolbar and its status line.
//
// Built to one classic script that leaves `CodebyteEditor.mount(element, options)` on the page;
// it loads nothing else and talks to no one but the server that served it.

import {
  closeBrackets,
  closeBracketsKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentLess } from "@codemirror/commands";
import {
  bracketMatching,
  foldGutter,
  foldKeymap,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import {
  EditorView,
  drawSelection,
  dropCursor,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  rectangularSelection,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { dropGhost, ghostText } from "./ghost.js";
import { LANGUAGES, languageOf, withEnding } from "./languages.js";
import { Panel, panelTemplate } from "./panel.js";
import { Picker } from "./picker.js";
import { Requests, answered } from "./requests.js";
import { describe } from "./status.js";

const LARGEST_FILE = 4 << 20; // bytes opened in the editor

const template = `
  <div class="cb-bar">
    <input class="cb-path" spellcheck="false" autocomplete="off" aria-label="File name" title="The file's name: the model reads it, and its ending sets the file type">
    <select class="cb-language" aria-label="File type"></select>
    <button class="cb-button cb-open" type="button" title="Open a file from this computer; it is not uploaded">Open</button>
    <button class="cb-button cb-browse" type="button" title="Open a file of a repository that is indexed here (Ctrl+O)">From a repository</button>
    <button class="cb-button cb-save" type="button" title="Save a copy to this computer">Save</button>
    <span class="cb-space"></span>
    <label class="cb-switch" title="Suggest whole blocks, or never more than the line"><select class="cb-multiline" aria-label="Length of suggestions">
      <option value="auto">Lines: automatic</option><option value="line">One line</option><option value="block">Many lines</option>
    </select></label>
    <label class="cb-switch" title="Suggest while typing"><input class="cb-enabled" type="checkbox" checked><span class="cb-knob"></span>Suggestions</label>
  </div>
  <p class="cb-readonly" role="status" hidden></p>
  <div class="cb-middle">
    <div class="cb-editor"></div>
    <aside class="cb-panel" aria-label="About the suggestion">${panelTemplate}</aside>
  </div>
  <div class="cb-status" data-state="idle">
    <span class="cb-dot"></span><span class="cb-figures" role="status" aria-live="off"></span>
    <span class="cb-space"></span>
    <span class="cb-certainty" title="Each letter is as faint as the model is unsure of it">sure <i class="cb-shade-0"></i><i class="cb-shade-1"></i><i class="cb-shade-2"></i><i class="cb-shade-3"></i><i class="cb-shade-4"></i> guess</span>
    <span class="cb-keys"><kbd>Tab</kbd> accept <kbd class="cb-word-key">Ctrl</kbd><kbd>&rarr;</kbd> word <kbd>Esc</kbd> dismiss <kbd>Alt</kbd><kbd>]</kbd> another</span>
  </div>
  <dialog class="cb-picker" aria-label="Open from a repository"></dialog>
  <input class="cb-file" type="file" hidden>`;

export function mount(element, { text = "", path = "untitled.py" } = {}) {
  if (element.codebyte) return element.codebyte;
  element.innerHTML = template;
  const part = (name) => element.querySelector(`.cb-${name}`);
  const language = new Compartment();
  const lineEnds = new Compartment();
  const writable = new Compartment();
  let bytes = null; // of a file that is not UTF-8, which is shown and saved as it is
  let repo = null; // the name of the repository that the file was opened from
  if (/Mac|iPhone|iPad/.test(navigator.platform)) part("word-key").textContent = "Cmd";

  const requests = new Requests({
    session: newSession(),
    path: () => part("path").value.trim() || null,
    repo: () => repo,
    alone: () => !part("helped").checked,
    enabled: () => part("enabled").checked,
    multiline: () => ({ auto: null, line: false, block: true })[part("multiline").value],
    report: (report) => {
      part("status").dataset.state = report.state;
      part("figures").textContent = describe(report);
      panel.report(report);
    },
    offer: (found, chosen, message) => panel.choices(found, chosen, message),
  });
  const panel = new Panel(part("panel"), {
    choose: (index) => {
      requests.choose(view, index);
      view.focus();
    },
  });

  const picker = new Picker(part("picker"), { open: openFrom });

  const view = new EditorView({
    parent: part("editor"),
    doc: text,
    extensions: [
      ghostText,
      lineNumbers(),
      highlightActiveLineGutter(),
      highlightSpecialChars(),
      history(),
      foldGutter(),
      drawSelection(),
      dropCursor(),
      EditorState.allowMultipleSelections.of(true),
      indentOnInput(),
      syntaxHighlighting(classHighlighter),
      bracketMatching(),
      closeBrackets(),
      rectangularSelection(),
      highlightActiveLine(),
      highlightSelectionMatches(),
      search({ top: true }),
      keymap.of([
        { key: "Shift-Tab", run: indentLess },
        { key: "Mod-o", run: browse, preventDefault: true },
        { key: "Alt-\\", run: askNow },
        { key: "Alt-]", run: () => another(1) },
        { key: "Alt-[", run: () => another(-1) },
        ...closeBracketsKeymap,
        ...defaultKeymap,
        ...searchKeymap,
        ...historyKeymap,
        ...foldKeymap,
      ]),
      EditorView.contentAttributes.of({ "aria-label": "Code", spellcheck: "false" }),
      EditorView.updateListener.of((update) => requests.follow(update)),
      // What is pasted or dropped takes the file's line ends: CodeMirror splits it at no others.
      EditorView.clipboardInputFilter.of((text, state) =>
        text.replace(/\r\n?|\n/g, state.lineBreak),
      ),
      // So does the \n of a replacement in the search panel, which would stand in a line otherwise.
      EditorState.transactionFilter.of((edit) => {
        const { lineBreak } = edit.startState;
        if (lineBreak === "\n" || !edit.docChanged) return edit;
        const changes = [];
        edit.changes.iterChanges((_fromBefore, _toBefore, from, _to, inserted) => {
          for (const line of inserted.iterLines()) {
            for (let at = line.indexOf("\n"); at >= 0; at = line.indexOf("\n", at + 1)) {
              changes.push({ from: from + at, to: from + at + 1, insert: lineBreak });
            }
            from += line.length + 1;
          }
        });
        return changes.length ? [edit, { changes, sequential: true }] : edit;
      }),
      EditorView.domEventHandlers({ drop: (event) => openDropped(event) }),
      language.of([]),
      lineEnds.of([]),
      writable.of([]),
    ],
  });

  function askNow() {
    requests.ask(view);
    return true;
  }

  function another(step) {
    requests.another(view, step);
    return true;
  }

  function setPath(next) {
    part("path").value = next;
    const found = languageOf(next);
    part("language").value = found.name;
    view.dispatch({
      effects: language.reconfigure([
        found.support(),
        indentUnit.of(found.indent),
        EditorState.tabSize.of(4),
      ]),
    });
  }

  function say(message) {
    requests.report({ state: "failed", message });
  }

  // `from` is the name of the repository that the file is in, if the server knows it.
  async function open(file, from = null) {
    if (file.size > LARGEST_FILE) {
      say(`${file.name} has ${file.size} bytes; the editor opens at most ${LARGEST_FILE}`);
      return;
    }
    const read = await file.arrayBuffer();
    let content;
    try {
      content = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(read);
      bytes = null;
    } catch {
      // Each byte is shown as one character of Latin-1; what cannot be written back is not edited.
      content = new TextDecoder("latin1").decode(read);
      bytes = read;
    }
    repo = from;
    part("readonly").hidden = bytes === null;
    part("readonly").textContent = `${file.name} is not UTF-8: it is shown as Latin-1 and cannot be changed here. Save gives its own bytes.`;
    requests.stop();
    requests.forget();
    // Every line of a Windows file ends in CRLF and goes on doing so; a mixed file keeps its CRs
    // as characters. What is sent and saved is then the file's own bytes.
    const crlf = content.includes("\r\n") && !/(^|[^\r])\n/.test(content) && !/\r(?!\n)/.test(content);
    const separator = crlf ? "\r\n" : "\n";
    const locked = bytes === null ? [] : [EditorState.readOnly.of(true), EditorView.editable.of(false)];
    view.dispatch({
      effects: [
        dropGhost.of(null),
        lineEnds.reconfigure(EditorState.lineSeparator.of(separator)),
        writable.reconfigure([]),
      ],
    });
    view.dispatch({
      changes: { from: 0, to: view.state.doc.length, insert: view.state.toText(content) },
      selection: { anchor: 0 },
      scrollIntoView: true,
    });
    view.dispatch({ effects: writable.reconfigure(locked) });
    setPath(file.path ?? file.name);
    requests.report({ state: "idle" });
    view.focus();
  }

  // Opens a file of a repository the server has indexed; throws what keeps it from doing so.
  async function openFrom(name, path) {
    const response = await answered(`cb-file?${new URLSearchParams({ repo: name, path })}`);
    const data = await response.arrayBuffer();
    await open({ name: path, path, size: data.byteLength, arrayBuffer: async () => data }, name);
  }

  function browse() {
    picker.show(repo);
    return true;
  }

  function openDropped(event) {
    const file = event.dataTransfer?.files?.[0];
    if (!file) return false;
    event.preventDefault();
    open(file);
    return true;
  }

  function save() {
    const blob = new Blob([bytes ?? view.state.sliceDoc()], { type: "application/octet-stream" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = part("path").value.split("/").pop() || "untitled.txt";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  part("language").append(...LANGUAGES.map(({ name }) => new Option(name, name)));
  part("language").addEventListener("change", ({ target }) => {
    const chosen = LANGUAGES.find(({ name }) => name === target.value);
    setPath(withEnding(part("path").value, chosen));
    view.focus();
  });
  part("path").addEventListener("change", ({ target }) => setPath(target.value));
  part("open").addEventListener("click", () => part("file").click());
  part("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) open(target.files[0]);
    target.value = "";
  });
  part("browse").addEventListener("click", browse);
  part("picker").addEventListener("close", () => view.focus());
  part("save").addEventListener("click", save);
  part("multiline").addEventListener("change", () => view.focus());
  part("more").addEventListener("click", () => {
    view.focus();
    another(1);
  });
  part("helped").addEventListener("change", () => {
    requests.forget();
    view.focus();
    requests.ask(view);
  });
  part("enabled").addEventListener("change", ({ target }) => {
    requests.stop();
    view.dispatch({ effects: dropGhost.of(null) });
    requests.report({ state: target.checked ? "idle" : "off" });
    view.focus();
  });

  setPath(path);
  requests.report({ state: "idle" });
  view.dispatch({ selection: { anchor: view.state.doc.length } });
  view.focus();
  if (text) requests.schedule(view, 0);
  element.codebyte = { view, requests, openFrom };
  return element.codebyte;
}

// The server keeps one cache per page. crypto.randomUUID is missing on plain http from afar.
function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
