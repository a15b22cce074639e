// The side panel: what a suggestion cost, what of the repository it repeats, and its alternatives.

const number = new Intl.NumberFormat("en-US");

export const panelTemplate = `
  <section class="cb-costs" aria-label="What the last suggestion cost">
    <div title="From the request to the first byte, as this page saw it"><b data-figure="first">&ndash;</b><span>ms to the first byte</span></div>
    <div title="Written after the first piece"><b data-figure="speed">&ndash;</b><span>bytes a second</span></div>
    <div title="Bytes of the text before that the model had read already"><b data-figure="cached">&ndash;</b><span>bytes remembered</span></div>
  </section>
  <section class="cb-alternatives">
    <h3>Alternatives <button class="cb-button cb-more" type="button" title="Other ways to end this line (Alt+])">Show <kbd>Alt</kbd><kbd>]</kbd></button></h3>
    <ol class="cb-choices" role="listbox" aria-label="Alternatives"></ol>
  </section>
  <section class="cb-repository">
    <h3>Repository
      <label class="cb-switch" title="Let the other files of the repository help"><input class="cb-enabled cb-helped" type="checkbox" checked aria-label="Let the repository help"><span class="cb-knob"></span></label>
    </h3>
    <p class="cb-known"></p>
    <ul class="cb-recalled" aria-label="Lines that the suggestion repeats"></ul>
  </section>`;

export class Panel {
  // `choose(index)` is called for a click on an alternative.
  constructor(element, { choose }) {
    this.element = element;
    this.choose = choose;
    this.choices([], 0);
    this.about(undefined, []);
  }

  figure(name, value) {
    this.element.querySelector(`[data-figure=${name}]`).textContent =
      value == null ? "\u2013" : number.format(Math.round(value));
  }

  // What a finished request says of itself.
  report({ state, first_ms, bytes_per_s, cached_bytes, repository, recalled }) {
    if (state !== "done" && state !== "again") return;
    this.figure("first", first_ms);
    this.figure("speed", bytes_per_s);
    this.figure("cached", cached_bytes);
    this.about(repository, recalled ?? []);
  }

  about(repository, recalled) {
    const known = this.element.querySelector(".cb-known");
    if (repository === undefined) known.textContent = "Nothing was suggested yet.";
    else if (repository === null) known.textContent = "This file is in no repository that is known here. Open a file from one, or start codebyte inside it.";
    else if (!repository.ready) known.textContent = `Reading ${repository.name}: ${number.format(repository.files)} files so far.`;
    else known.textContent = `${repository.name}: ${number.format(repository.files)} files known, ${number.format(Math.ceil(repository.bytes / 1000))} KB.`;
    this.repeats(recalled);
  }

  repeats(recalled) {
    this.element.querySelector(".cb-recalled").replaceChildren(...recalled.map(lineOf));
  }

  choices(found, chosen, message = "") {
    if (found.length) this.repeats(found[chosen].recalled);
    const list = this.element.querySelector(".cb-choices");
    if (!found.length) {
      const said = document.createElement("p");
      said.className = "cb-none";
      said.textContent = message;
      list.replaceChildren(...(message ? [said] : []));
      return;
    }
    list.replaceChildren(
      ...found.map(({ text }, index) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("role", "option");
        button.setAttribute("aria-selected", String(index === chosen));
        button.textContent = text;
        // The editor keeps the focus, so that Tab accepts what was clicked.
        button.addEventListener("mousedown", (event) => event.preventDefault());
        button.addEventListener("click", () => this.choose(index));
        item.append(button);
        return item;
      }),
    );
  }
}

function lineOf({ path, line, text, bytes }) {
  const item = document.createElement("li");
  const where = document.createElement("span");
  where.className = "cb-source";
  where.textContent = `${path}:${line}`;
  where.title = `${bytes} bytes of the suggestion stand there too`;
  const code = document.createElement("code");
  code.textContent = text;
  item.append(where, code);
  return item;
}
