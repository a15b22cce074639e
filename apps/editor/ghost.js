// Ghost text: a suggestion drawn at the caret, and the keys that take or drop it.
//
// A ghost is {id, pos, text, bits, replace, done}: `text` is what is suggested at document place
// `pos`; `bits[i]` is the surprise of UTF-16 unit i in bits; `replace` counts the units after
// `pos` that accepting also removes (a bracket that was closed by itself). `id` ties the ghost to
// the request that fills it, so that a late piece of an older request is never shown.

import { indentMore, isolateHistory } from "@codemirror/commands";
import { indentUnit } from "@codemirror/language";
import { EditorSelection, Prec, StateEffect, StateField, Text, countColumn } from "@codemirror/state";
import { Decoration, EditorView, WidgetType, keymap } from "@codemirror/view";

export const openGhost = StateEffect.define();
export const growGhost = StateEffect.define();
export const dropGhost = StateEffect.define();

// Upper edges, in bits per character, of the shades; what lies above the last is the faintest.
const SHADES = [0.3, 1, 2.2, 4];

export function shade(bits) {
  const found = SHADES.findIndex((edge) => bits < edge);
  return found < 0 ? SHADES.length : found;
}

export const ghostField = StateField.define({
  create: () => null,
  update(ghost, transaction) {
    if (ghost && transaction.docChanged) ghost = typedThrough(ghost, transaction);
    else if (ghost && transaction.selection) ghost = caretAt(transaction, ghost.pos) ? ghost : null;
    for (const effect of transaction.effects) {
      if (effect.is(openGhost)) ghost = effect.value;
      else if (effect.is(dropGhost)) ghost = null;
      else if (effect.is(growGhost) && ghost && ghost.id === effect.value.id) {
        const { text = "", bits = [], ...rest } = effect.value;
        ghost = { ...ghost, ...rest, text: ghost.text + text, bits: ghost.bits.concat(bits) };
      }
    }
    return ghost;
  },
  provide: (field) => EditorView.decorations.from(field, decorate),
});

function caretAt(transaction, pos) {
  const { ranges, main } = transaction.newSelection;
  return ranges.length === 1 && main.empty && main.head === pos;
}

// Typing what is suggested keeps the rest of it; anything else ends it.
function typedThrough(ghost, transaction) {
  let rest = null;
  let changes = 0;
  transaction.changes.iterChanges((fromA, toA, fromB, toB, inserted) => {
    changes += 1;
    const typed = inserted.toString();
    if (fromA === ghost.pos && toA === ghost.pos && ghost.text.startsWith(typed)) {
      const { text, bits } = ghost;
      rest = { ...ghost, pos: toB, text: text.slice(typed.length), bits: bits.slice(typed.length) };
    }
  });
  return changes === 1 && rest && caretAt(transaction, rest.pos) ? rest : null;
}

function decorate(ghost) {
  if (!ghost || !ghost.text) return Decoration.none;
  const marks = [Decoration.widget({ widget: new GhostWidget(ghost), side: 1 }).range(ghost.pos)];
  if (ghost.replace > 0) {
    marks.push(replaced.range(ghost.pos, ghost.pos + ghost.replace));
  }
  return Decoration.set(marks, true);
}

const replaced = Decoration.mark({ class: "cb-replaced" });

class GhostWidget extends WidgetType {
  constructor({ text, bits }) {
    super();
    this.text = text;
    this.shades = bits.map(shade);
  }

  eq(other) {
    return other.text === this.text && String(other.shades) === String(this.shades);
  }

  toDOM() {
    const span = document.createElement("span");
    span.className = "cb-ghost";
    this.fill(span);
    return span;
  }

  updateDOM(span) {
    this.fill(span);
    return true;
  }

  fill(span) {
    const runs = [];
    for (let start = 0; start < this.text.length; ) {
      let end = start + 1;
      while (end < this.text.length && this.shades[end] === this.shades[start]) end += 1;
      const run = document.createElement("span");
      run.className = `cb-shade-${this.shades[start]}`;
      run.textContent = this.text.slice(start, end);
      runs.push(run);
      start = end;
    }
    span.replaceChildren(...runs);
  }
}

function visibleGhost(state) {
  const ghost = state.field(ghostField, false);
  return ghost && ghost.text ? ghost : null;
}

function insert(view, ghost, text, { whole }) {
  const to = ghost.pos + (whole ? ghost.replace : 0);
  view.dispatch({
    changes: { from: ghost.pos, to, insert: Text.of(text.split("\n")) },
    selection: { anchor: ghost.pos + text.length },
    effects: whole ? dropGhost.of(null) : [],
    annotations: isolateHistory.of("full"),
    userEvent: "input.accept",
    scrollIntoView: true,
  });
  return true;
}

export function acceptAll(view) {
  const ghost = visibleGhost(view.state);
  return ghost ? insert(view, ghost, ghost.text, { whole: true }) : false;
}

// Leading space, then one word or one run of marks.
const WORD = /^\s*(?:[\p{L}\p{M}\p{N}_]+|[^\s\p{L}\p{M}\p{N}_]+|$)/u;

export function acceptWord(view) {
  const ghost = visibleGhost(view.state);
  if (!ghost) return false;
  const word = WORD.exec(ghost.text)[0];
  return insert(view, ghost, word, { whole: word.length === ghost.text.length });
}

export function dismiss(view) {
  if (!visibleGhost(view.state)) return false;
  view.dispatch({ effects: dropGhost.of(null) });
  return true;
}

// Selected lines move in by one unit; elsewhere the caret goes to the next multiple of it.
function indent(view) {
  const { state } = view;
  if (state.readOnly) return false;
  if (state.selection.ranges.some((range) => !range.empty)) return indentMore(view);
  const unit = state.facet(indentUnit);
  const change = state.changeByRange(({ head }) => {
    const line = state.doc.lineAt(head);
    const column = countColumn(line.text.slice(0, head - line.from), state.tabSize);
    const insert = unit === "\t" ? unit : " ".repeat(unit.length - (column % unit.length));
    return { changes: { from: head, insert }, range: EditorSelection.cursor(head + insert.length) };
  });
  view.dispatch(change, { userEvent: "input", scrollIntoView: true });
  return true;
}

// While a ghost begins with what is typed, the letters go in as they are: no bracket is closed
// by itself, since the ghost brings its own. Only a bracket that was closed so before, and that
// the ghost would replace, is left to be typed over.
const plainTyping = EditorView.inputHandler.of((view, from, to, text) => {
  const ghost = visibleGhost(view.state);
  if (!ghost || from !== to || from !== ghost.pos || !ghost.text.startsWith(text)) return false;
  if (ghost.replace > 0 && view.state.sliceDoc(from, from + text.length) === text) return false;
  view.dispatch({
    changes: { from, insert: text },
    selection: { anchor: from + text.length },
    userEvent: "input.type",
    scrollIntoView: true,
  });
  return true;
});

export const ghostText = [
  ghostField,
  Prec.highest(plainTyping),
  Prec.highest(
    keymap.of([
      { key: "Tab", run: (view) => acceptAll(view) || indent(view) },
      { key: "Ctrl-ArrowRight", mac: "Cmd-ArrowRight", run: acceptWord },
      { key: "Escape", run: dismiss },
    ]),
  ),
];
