// When to ask the server for a completion, and how its answer reaches the ghost.
//
// One request at a time. It leaves 75 ms after the last key; the next key that is not what was
// suggested aborts it, and the server stops decoding when the connection closes.

import { Transaction } from "@codemirror/state";
import { dropGhost, ghostField, growGhost, openGhost } from "./ghost.js";

const DEBOUNCE_MS = 75;
// The server reads the bytes nearest the caret; the cut moves in steps, so that the start of
// what it sees stays put from key to key and its cache goes on holding.
const PREFIX_STEP = 1 << 14;
const PREFIX_MOST = 1 << 16;
const SUFFIX_MOST = 1 << 14;
const REMEMBERED = 100;

export class Requests {
  constructor({ session, path, repo, alone, enabled, multiline, report, offer }) {
    Object.assign(this, { session, path, repo, alone, enabled, multiline, report, offer });
    this.found = []; // alternatives
    this.place = 0; // in the document, that they are for
    this.chosen = 0;
    this.timer = 0;
    this.abort = null;
    this.count = 0;
    this.answers = new Map();
  }

  // An update listener of the editor.
  follow(update) {
    if (!update.docChanged && !update.selectionSet) return;
    const before = update.startState.field(ghostField);
    const after = update.state.field(ghostField);
    const kept = before && after && (after.text || !after.done);
    // Alternatives are for one place: further on they would repeat what is there.
    if (update.docChanged || !kept) this.offered([], 0);
    if (kept) return;
    this.stop();
    if (after) update.view.dispatch({ effects: dropGhost.of(null) });
    if (!update.docChanged) return;
    const accepted = update.transactions.some((it) => it.isUserEvent("input.accept"));
    const typed = update.transactions.some((it) => it.isUserEvent("input") || it.isUserEvent("delete"));
    if (typed) this.schedule(update.view, accepted ? 0 : DEBOUNCE_MS);
  }

  schedule(view, delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(view), delay);
  }

  stop() {
    clearTimeout(this.timer);
    if (this.abort) {
      this.abort.abort();
      this.abort = null;
      this.report({ state: "idle" });
    }
  }

  // What to send of the text around the caret; null where nothing can be suggested.
  around(view) {
    const { state } = view;
    const { main, ranges } = state.selection;
    if (state.readOnly || ranges.length > 1 || !main.empty) return null;
    if (view.composing || !state.doc.length) return null;
    const pos = main.head;
    const start = Math.max(0, Math.ceil((pos - PREFIX_MOST) / PREFIX_STEP) * PREFIX_STEP);
    // A cut can leave half of a surrogate pair, which is no character.
    const prefix = state.sliceDoc(start, pos).toWellFormed();
    const suffix = state.sliceDoc(pos, pos + SUFFIX_MOST).toWellFormed();
    if (!prefix.trim() && !suffix.trim()) return null;
    const { session } = this;
    const body = { prefix, suffix, path: this.path(), repo: this.repo(), alone: this.alone(), session };
    return { pos, start, body: { ...body, multiline: this.multiline() } };
  }

  async ask(view) {
    this.stop();
    const around = this.enabled() ? this.around(view) : null;
    if (!around) return;
    const { pos, start, body } = around;
    const { prefix, suffix } = body;
    const { state } = view;

    const id = (this.count += 1);
    const key = JSON.stringify([body.path, body.repo, body.alone, body.multiline, start, prefix, suffix]);
    const known = this.answers.get(key);
    if (known) {
      view.dispatch({ effects: openGhost.of({ ...known, id, pos }) });
      this.report({ ...known.report, state: "again" });
      return;
    }
    const abort = (this.abort = new AbortController());
    const empty = { id, pos, text: "", bits: [], replace: 0, done: false };
    view.dispatch({ effects: openGhost.of(empty), annotations: Transaction.addToHistory.of(false) });
    this.report({ state: "thinking" });
    const answer = { text: "", bits: [], replace: 0, done: true };
    const asked = performance.now();
    let first = null;
    try {
      for await (const event of events("v1/complete", body, abort.signal)) {
        if (event.error) throw new Error(event.error.message);
        const piece = { text: event.text.replaceAll("\r\n", "\n") };
        piece.bits = bitsOfUnits(event.text, event.bits, piece.text);
        if (event.done) {
          piece.replace = placesOfBytes(suffix, event.replace_suffix_bytes, state.lineBreak);
          piece.done = true;
        }
        if (piece.text && first === null) first = performance.now() - asked;
        answer.text += piece.text;
        answer.bits = answer.bits.concat(piece.bits);
        if (abort.signal.aborted) return;
        view.dispatch({ effects: growGhost.of({ ...piece, id }) });
        const report = { ...event, first_ms: first };
        if (event.done) {
          answer.replace = piece.replace;
          answer.report = report;
        }
        this.report({ ...report, state: event.done ? "done" : "streaming" });
      }
      this.remember(key, answer);
    } catch (error) {
      if (abort.signal.aborted) return;
      view.dispatch({ effects: dropGhost.of(null) });
      this.report({ state: "failed", message: error.message });
    } finally {
      if (this.abort === abort) this.abort = null;
    }
  }

  // Shows the next of several rests of the line, or the one before; asks for them at first.
  async another(view, step) {
    const ghost = view.state.field(ghostField);
    if (this.found.length && this.place === view.state.selection.main.head) {
      this.choose(view, (this.chosen + step + this.found.length) % this.found.length);
      return;
    }
    this.stop();
    const around = this.around(view);
    if (!around) return;
    const { pos, body } = around;
    const abort = (this.abort = new AbortController());
    const { doc } = view.state;
    this.report({ state: "thinking" });
    try {
      const reply = await post("v1/alternatives", body, abort.signal);
      const { alternatives } = await reply.json();
      if (abort.signal.aborted || view.state.doc !== doc) return;
      const shown = ghost && ghost.pos === pos ? ghost.text : "";
      this.place = pos;
      this.found = alternatives.map(({ text, bits, replace_suffix_bytes, recalled }) => {
        const piece = text.replaceAll("\r\n", "\n");
        const replace = placesOfBytes(body.suffix, replace_suffix_bytes, view.state.lineBreak);
        return { text: piece, bits: bitsOfUnits(text, bits, piece), replace, recalled };
      });
      this.report({ state: this.found.length ? "choosing" : "nothing" });
      if (!this.found.length) {
        this.offered([], 0, "There is no other.");
        return;
      }
      const first = this.found.findIndex(({ text }) => text !== shown);
      this.choose(view, Math.max(0, first));
    } catch (error) {
      if (abort.signal.aborted) return;
      this.report({ state: "failed", message: error.message });
    } finally {
      if (this.abort === abort) this.abort = null;
    }
  }

  choose(view, index) {
    const id = (this.count += 1);
    const { text, bits, replace } = this.found[index];
    const pos = view.state.selection.main.head;
    view.dispatch({ effects: openGhost.of({ id, pos, text, bits, replace, done: true }) });
    this.offered(this.found, index);
  }

  offered(found, chosen, message = "") {
    this.found = found;
    this.chosen = chosen;
    this.offer(found, chosen, message);
  }

  remember(key, answer) {
    this.answers.set(key, answer);
    if (this.answers.size > REMEMBERED) this.answers.delete(this.answers.keys().next().value);
  }

  forget() {
    this.answers.clear();
  }
}

// The server-sent events of one POST, parsed.
async function* events(url, body, signal) {
  const response = await post(url, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
    }
  }
}

function post(url, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return answered(url, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// The server's response, where it is a good one; else what it says is thrown.
export async function answered(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("codebyte does not answer: is it still running?");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new Error(answer?.error?.message ?? `the server answered ${response.status}`);
  }
  return response;
}

function bytesOf(character) {
  const code = character.codePointAt(0);
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

// Bits per UTF-16 unit of `shown` (which is `text` with its line ends made "\n") from bits per byte.
function bitsOfUnits(text, bits, shown) {
  const units = [];
  let at = 0;
  const characters = [...text];
  characters.forEach((character, index) => {
    let sum = 0;
    for (let count = bytesOf(character); count > 0; count -= 1) sum += bits[at++] ?? 0;
    if (character === "\r" && characters[index + 1] === "\n") return;
    for (let unit = 0; unit < character.length; unit += 1) units.push(sum);
  });
  return units.length === shown.length ? units : Array(shown.length).fill(1);
}

// How many places of the document the first `count` bytes of `text` are; 0 if they end inside
// a character. A line end is one place, however it is written.
function placesOfBytes(text, count, lineBreak) {
  let places = 0;
  for (const character of text) {
    if (count <= 0) break;
    count -= bytesOf(character);
    if (character !== "\r" || lineBreak !== "\r\n") places += character.length;
  }
  return count === 0 ? places : 0;
}
