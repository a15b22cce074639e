// The dialog that opens a file of a repository the server has indexed: by keys, or with a pointer.

import { answered } from "./requests.js";

const number = new Intl.NumberFormat("en-US");

export const pickerTemplate = `
  <form method="dialog">
    <header><h3>Open from a repository</h3><button class="cb-button" value="cancel" formnovalidate>Close</button></header>
    <div class="cb-ask">
      <select class="cb-repo" aria-label="Repository"></select>
      <input class="cb-part" role="combobox" aria-label="Part of the path" aria-expanded="true" aria-controls="cb-paths" placeholder="Part of the path" spellcheck="false" autocomplete="off">
    </div>
    <ul class="cb-paths" id="cb-paths" role="listbox" aria-label="Files"></ul>
    <p class="cb-count" role="status"></p>
  </form>`;

export class Picker {
  // `open(repo, path)` opens what was chosen; what it throws is said in the dialog.
  constructor(dialog, { open }) {
    Object.assign(this, { dialog, open, count: 0, chosen: 0 });
    dialog.innerHTML = pickerTemplate;
    this.part("repo").addEventListener("change", () => this.list());
    this.part("part").addEventListener("input", () => this.list());
    this.part("ask").addEventListener("keydown", (event) => this.key(event));
    this.part("paths").addEventListener("click", ({ target }) => this.take(target.closest("li")));
  }

  part(name) {
    return this.dialog.querySelector(`.cb-${name}`);
  }

  // Opens the dialog at a repository; for null at the one that was chosen last.
  async show(repo) {
    const wanted = repo ?? this.part("repo").value;
    this.part("repo").replaceChildren();
    this.part("part").value = "";
    this.say("");
    this.dialog.showModal();
    this.part("part").focus();
    try {
      const { repositories } = await (await answered("cb-files")).json();
      this.part("repo").replaceChildren(...repositories.map((name) => new Option(name, name)));
      if (repositories.includes(wanted)) this.part("repo").value = wanted;
      if (repositories.length) await this.list();
      else this.say("No repository yet: add one in the Repositories tab.");
    } catch (error) {
      this.say(error.message);
    }
  }

  async list() {
    if (!this.part("repo").value) return;
    const count = (this.count += 1); // only the newest answer counts
    const query = new URLSearchParams({ repo: this.part("repo").value, part: this.part("part").value });
    try {
      const { paths, found } = await (await answered(`cb-files?${query}`)).json();
      if (count !== this.count) return;
      this.part("paths").replaceChildren(...paths.map(rowOf));
      this.mark(0);
      const more = found > paths.length ? `, the first ${paths.length} are listed` : "";
      this.part("count").className = "cb-count";
      this.part("count").textContent = `${number.format(found)} ${found === 1 ? "file" : "files"}${more}`;
    } catch (error) {
      if (count === this.count) this.say(error.message);
    }
  }

  // A sentence in place of the files.
  say(message) {
    this.part("paths").replaceChildren();
    this.part("count").className = "cb-count cb-wrong";
    this.part("count").textContent = message;
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const inField = event.target === this.part("part");
    if (event.key !== "Enter" && !(step && inField)) return;
    event.preventDefault();
    if (step) this.mark(this.chosen + step);
    else this.take(this.part("paths").children[this.chosen]);
  }

  mark(index) {
    const rows = [...this.part("paths").children];
    this.chosen = Math.max(0, Math.min(index, rows.length - 1));
    rows.forEach((row, place) => row.setAttribute("aria-selected", String(place === this.chosen)));
    rows[this.chosen]?.scrollIntoView({ block: "nearest" });
    this.part("part").setAttribute("aria-activedescendant", rows[this.chosen]?.id ?? "");
  }

  async take(row) {
    if (!row) return;
    try {
      await this.open(this.part("repo").value, row.textContent);
      this.dialog.close();
    } catch (error) {
      this.part("count").className = "cb-count cb-wrong";
      this.part("count").textContent = error.message;
    }
  }
}

function rowOf(path, index) {
  const row = document.createElement("li");
  row.id = `cb-path-${index}`;
  row.setAttribute("role", "option");
  row.textContent = path;
  return row;
}
