"use strict";
// Sorts the table of files by the column that is clicked, and opens the heat maps that are linked to.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = head.cellIndex;
    const table = head.closest("table");
    const number = head.dataset.kind === "number";
    // Numbers are looked at from the highest on, names from the first.
    const down = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : number;
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const order = number ? key(a) - key(b) : key(a).localeCompare(key(b));
      return down ? -order : order;
    });
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  });
}
// A link to a file opens its heat map.
const show = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const details = target && target.closest("details");
  if (details) { details.open = true; target.scrollIntoView({ block: "center" }); }
};
addEventListener("hashchange", show);
show();
