"use strict";
// Tells the bits of the character in a heat map that is pointed at, or that the arrow keys reach.
//
// A heat map is an element with `data-heat`; in it, `data-b` of each line's text holds the bits of
// its characters, those of one character's bytes with a "+" between them.
(() => {
  const tip = document.createElement("div");
  tip.className = "heat-tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  const begin = () => document.body.append(tip);
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);

  // Each character of a line as [text node, start, end]; a byte's escape counts as one.
  function charactersOf(line) {
    const found = [];
    const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const whole = node.parentElement.hasAttribute("data-one");
      let start = 0;
      for (const letter of whole ? [node.data] : node.data) {
        found.push([node, start, (start += letter.length)]);
      }
    }
    return found;
  }

  function boxOf([node, start, end]) {
    const range = document.createRange();
    range.setStart(node, start);
    range.setEnd(node, end);
    return range.getBoundingClientRect();
  }

  function tell(line, index, left, top) {
    const bits = line.dataset.b.split(" ")[index];
    if (bits === undefined) return hide();
    const parts = bits.split("+");
    const sum = parts.reduce((total, part) => total + Number(part), 0).toFixed(2);
    tip.textContent = `${sum} bits` + (parts.length > 1 ? ` (${parts.join(" + ")})` : "");
    tip.hidden = false;
    tip.style.left = `${Math.min(left, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(top, innerHeight - tip.offsetHeight - 4)}px`;
  }

  function hide() {
    tip.hidden = true;
  }

  // The caret goes to the nearer side of a character, so that its neighbours are looked at too.
  function indexAt(characters, x, y) {
    const caret = document.caretPositionFromPoint?.(x, y);
    const range = caret ? null : document.caretRangeFromPoint?.(x, y);
    const node = caret?.offsetNode ?? range?.startContainer;
    const offset = caret?.offset ?? range?.startOffset;
    const near = characters.findIndex(([own, , end]) => own === node && offset <= end);
    return [near, near + 1, near - 1].find((index) => {
      const box = characters[index] && boxOf(characters[index]);
      return box && box.left <= x && x < box.right;
    });
  }

  let over = null; // the line under the pointer, and its characters
  document.addEventListener("pointermove", ({ target, clientX, clientY }) => {
    const line = target.closest?.("[data-heat] [data-b]");
    if (!line) {
      if (over) hide();
      over = null;
      return;
    }
    if (over?.line !== line) over = { line, characters: charactersOf(line) };
    const index = indexAt(over.characters, clientX, clientY);
    if (index === undefined) hide();
    else tell(line, index, clientX + 12, clientY + 18);
  });

  let at = { heat: null, row: 0, index: -1 }; // where the arrow keys have got to
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  document.addEventListener("keydown", (event) => {
    const heat = event.target.closest?.("[data-heat]");
    if (!heat || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") hide();
    if (!steps[event.key] && event.key !== "Home" && event.key !== "End") return;
    const lines = heat.querySelectorAll('[data-b]:not([data-b=""])');
    if (!lines.length) return;
    event.preventDefault();
    if (at.heat !== heat || !lines[at.row]) at = { heat, row: 0, index: -1 };
    let { row, index } = at;
    const [down, right] = index < 0 ? [0, 1] : (steps[event.key] ?? [0, 0]);
    const count = (place) => lines[place].dataset.b.split(" ").length;
    if (event.key === "Home") index = 0;
    else if (event.key === "End") index = count(row) - 1;
    else if (down) row = Math.max(0, Math.min(row + down, lines.length - 1));
    else if (index + right >= count(row) && row + 1 < lines.length) [row, index] = [row + 1, 0];
    else if (index + right < 0 && row > 0) [row, index] = [row - 1, count(row - 1) - 1];
    else index += right;
    index = Math.max(0, Math.min(index, count(row) - 1));
    at = { heat, row, index };
    const characters = charactersOf(lines[row]);
    const [node, start, end] = characters[index];
    getSelection().setBaseAndExtent(node, start, node, end);
    node.parentElement.scrollIntoView({ block: "nearest" });
    const frame = heat.getBoundingClientRect();
    let box = boxOf(characters[index]);
    if (box.left < frame.left || box.right > frame.right) {
      heat.scrollLeft += box.left - frame.left - frame.width / 2;
      box = boxOf(characters[index]);
    }
    tell(lines[row], index, box.left, box.bottom + 6);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("wheel", hide, { passive: true });
})();
