"use strict";
/* A concept in full, or several side by side. */

const largePicture = (data, run, picture) => address(data.runs[run].full, picture[0], ".png");

function pictureInFull(data, card, run, picture, seen) {
  const scores = seen?.scores;
  const order = ["failed", "weak", "strong"], strength = (each) => each.probability ?? each.code;
  const [where, own] = (scores && scores.drawn_for.map((name) => [name, scores.backbones[name]]).filter((each) => each[1])
    .sort(([, a], [, b]) => order.indexOf(a.verdict) - order.indexOf(b.verdict) || strength(a) - strength(b))[0]) || [];
  const row = data.backbones.indexOf(picture[2]);
  const image = h("img", { src: largePicture(data, run, picture), alt: described(data, card, run, picture), decoding: "async" });
  image.addEventListener("error", () => { image.src = thumb(run, picture); }, { once: true }); // the page was sent without the run
  const moving = picture[6] && address(data.runs[run].full, picture[0], picture[6]);
  return h("figure", { class: `full ${picture[4] ?? ""}` },
    h("a", { href: largePicture(data, run, picture), target: "_blank", rel: "noopener", "aria-label": `the PNG: ${described(data, card, run, picture)}` }, image, mark(picture)),
    h("figcaption", {}, h("div", {}, row >= 0 ? backboneName(data, row) : h("span", { class: "backbone" }, picture[2]), picture[3] ? h("span", { class: "faint" }, ` seed ${picture[3]}`) : ""),
      own && h("div", { class: `verdict ${own.verdict}` }, own.verdict, scores.drawn_for.length > 1 ? ` in ${where}` : "", own.short && `: ${own.short}`),
      own && h("div", { class: "faint" }, own.probability === undefined ? `code ${figure(own.code, "number")} · rank ${own.rank}${own.percentile === null ? "" : ` · ${figure(own.percentile, "percent")}`}`
        : `${own.name ?? `class ${own.index}`} · probability ${figure(own.probability, "number")} · rank ${own.rank}`),
      seen?.ended && h("div", { class: "faint" }, seen.ended),
      moving && h("a", { href: moving, target: "_blank", rel: "noopener" }, "animation")));
}

/** The verification as a table: each picture through each backbone. */
function transferTable(data, pictures, inFull, where) {
  const scored = pictures.filter((picture) => inFull[picture[0]]?.scores);
  if (!scored.length) return null;
  const codes = scored.flatMap((picture) => Object.values(inFull[picture[0]].scores.backbones).map((seen) => seen.probability ?? seen.code));
  const most = Math.max(1e-6, ...codes);
  const seenBy = inFull[scored[0][0]].scores.backbones, through = data.backbones.find((name) => seenBy[name]); // a class has no figure where there is no classifier
  const first = seenBy[through], ofClass = first?.probability !== undefined;
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `transfer of ${where}` }, h("table", { class: "transfer" },
    h("caption", {}, `Transfer: ${ofClass ? "probability of the class" : "code"} of each picture through each backbone, under views it was not optimized on`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "picture"), data.backbones.map((_, row) => h("th", { scope: "col" }, backboneName(data, row))))),
    h("tbody", {}, scored.map((picture) => {
      const { scores } = inFull[picture[0]];
      return h("tr", {}, h("th", { scope: "row" }, `${picture[7] ? `${picture[7]}, ` : ""}${picture[2]}${picture[1] === "coupled" ? " (coupled)" : ""}${picture[3] ? ` s${picture[3]}` : ""}`, picture[4] && picture[4] !== "strong" && h("span", { class: `verdict ${picture[4]}` }, picture[4] === "failed" ? " ✕ failed" : " weak")),
        data.backbones.map((name) => {
          const seen = scores.backbones[name];
          if (!seen) return h("td", {}, "–");
          return h("td", { class: scores.drawn_for.includes(name) ? "own" : null, style: { "--strength": `${Math.round((100 * (seen.probability ?? seen.code)) / most)}%` }, title: `${seen.verdict}${seen.short && `: ${seen.short}`}; rank ${seen.rank}${seen.share === undefined ? `, read as ${seen.read_name ?? seen.read_as}` : `, fires in ${(100 * seen.share).toFixed(0)}% of the tokens`}` },
            figure(seen.probability ?? seen.code, "number"), h("small", {}, ` #${seen.rank}`));
        }));
    }))), ofClass && typeof first.noise === "number" && h("p", { class: "fine" }, `Chance, through ${through}: in pictures of noise the class has a probability of ${figure(first.noise, "number")}.`),
    typeof first?.noise === "number" && typeof first.others === "number" && h("p", { class: "fine" }, `Chance, through ${through}: random other concepts reach ${first.others.toFixed(2)} in the first picture, and this concept ${first.noise.toFixed(2)} in pictures of noise.`));
}

function figuresTable(data, at) {
  const kinds = ["fires", "co_firing", "energy", "largest"].map((kind) => data.backbones.map((name) => data.column.get(`${kind}.${name}`))).filter((row) => row.every(Boolean));
  const single = data.columns.filter((column) => !column.backbone && column.values[at] !== null);
  return h("div", { class: "figures" },
    h("dl", { class: "facts" }, single.map((column) => h("div", { title: column.about }, h("dt", {}, column.label), h("dd", {}, figure(column.values[at], column.kind))))),
    kinds.length > 0 && h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), data.backbones.map((_, row) => h("th", { scope: "col" }, backboneName(data, row))))),
      h("tbody", {}, kinds.map((row) => h("tr", { title: row[0].about }, h("th", { scope: "row" }, row[0].label), row.map((column) => h("td", {}, figure(column.values[at], column.kind)))))))));
}

function naturalInFull(data, card, detail, heading) {
  if (!data.natural) return null;
  const rows = detail?.natural ?? [];
  if (!rows.some((row) => row.length)) return h("p", { class: "fine" }, card.concept === null ? "Natural pictures are known for single concepts." : "No natural pictures: see above what is missing.");
  return h("div", { class: "natural-full" }, rows.map((row, at) => h("div", {}, h(heading, { class: "lesser" }, backboneName(data, at), h("span", { class: "faint" }, " · where it is strongest")),
    h("div", { class: "wholes", style: { "--n": data.natural } }, row.map((entry) => {
      const shown = heatPicture(data, entry, at);
      const show = () => glimpse.show(data, card, at, entry.rank, button), hide = () => glimpse.hide(button);
      const button = h("button", { class: "whole", "aria-label": `${entry.label}: through every backbone`, onpointerenter: show, onfocus: show, onclick: show, onpointerleave: hide, onblur: hide }, shown);
      return button;
    })))));
}

/** The reader's own words on a concept. */
function ownWords(page, id) {
  const { labels } = page;
  const label = labels.of(id);
  const says = h("span", { class: "bad", role: "alert" });
  const name = h("input", { value: label.name, maxlength: 80, placeholder: "a name, for --concept", "aria-label": `name of ${id}`, onchange: () => {
    says.textContent = Labels.wrong(name.value);
    if (!says.textContent) labels.set(id, { name: name.value.trim() });
  } });
  const note = h("textarea", { rows: 2, placeholder: "notes", "aria-label": `notes on ${id}`, onchange: () => labels.set(id, { note: note.value }) });
  note.value = label.note;
  const star = h("button", { class: "icon star", "aria-pressed": String(label.favourite), "aria-label": `favourite ${id}`, onclick: () => {
    const favourite = !labels.of(id).favourite;
    labels.set(id, { favourite });
    star.setAttribute("aria-pressed", String(favourite));
    star.textContent = favourite ? "★" : "☆";
  } }, label.favourite ? "★" : "☆");
  return h("div", { class: "own-words" }, h("div", { class: "own-line" }, name, star), says, note);
}

/** One concept's part of the sheet. */
function conceptPart(page, at, detail, level) {
  const { data, labels } = page;
  const card = data.cards[at];
  const { number, words, followed } = heading(data, at, labels);
  const first = Number(level[1]) + 1, below = `h${first}`, deeper = `h${first + 1}`; // no level of headings is left out
  const runs = card.drawn.map(({ run, pictures }) => {
    const inFull = detail?.pictures[run] ?? {};
    const variants = [...new Set(pictures.map((picture) => picture[7]))];
    const modes = variants.flatMap((variant) => Object.keys(MODES).map((mode) => [variant ? `${variant}: ${MODES[mode]}` : MODES[mode], pictures.filter((picture) => picture[7] === variant && picture[1] === mode)])).filter(([, own]) => own.length);
    return h("section", { class: "run" }, data.runs.length > 1 && h(below, {}, data.runs[run].name, h("small", { class: "faint" }, ` ${data.runs[run].about}`)),
      modes.map(([words, own]) => h("div", {}, h(data.runs.length > 1 ? deeper : below, { class: "lesser" }, words), h("div", { class: "fulls", style: { "--n": Math.min(Math.max(own.length, 3), 4) } }, own.map((picture) => pictureInFull(data, card, run, picture, inFull[picture[0]]))))),
      transferTable(data, pictures, inFull, `concept ${card.id}${data.runs.length > 1 ? ` in ${data.runs[run].name}` : ""}`));
  });
  const command = card.concept === null ? `usae-viz maximize --objective "${card.objective}"` : `usae-viz maximize --concept ${card.id}`;
  return h("section", { class: "part", "aria-label": `concept ${card.id}` },
    h(level, { class: "part-title", id: level === "h2" ? "sheet-title" : null }, number !== null && h("b", {}, number), " ", words, " ", followed),
    ownWords(page, card.id),
    h("div", { class: runs.length > 1 ? "runs beside" : "runs" }, runs.length ? runs : h("p", { class: "fine" }, "Not drawn here. ", h("code", {}, command))),
    h("div", { class: "beside-runs" }, data.natural ? h("div", {}, h(below, {}, "Natural pictures"), naturalInFull(data, card, detail, deeper)) : null,
      h("div", {}, h(below, {}, "Figures"), figuresTable(data, at))));
}

class Sheet {
  constructor(page, dialog) {
    this.page = page;
    this.dialog = dialog;
    dialog.addEventListener("close", () => { glimpse.hide(); page.closed(); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.turn(event.key === "ArrowRight" ? 1 : -1);
      else if (event.key === "f" && this.ids.length === 1) dialog.querySelector(".star").click();
    });
  }

  /** Show one concept, or compare several. */
  async show(ids) {
    const { data } = this.page;
    this.ids = ids;
    const places = ids.map((id) => data.place.get(id));
    const found = await Promise.all(places.map((at) => details.of(data.cards[at].detail)));
    if (this.ids !== ids) return; // another was asked for meanwhile
    const one = ids.length === 1;
    const nav = h("div", { class: "sheet-head" },
      one ? [h("button", { class: "icon", "aria-label": "the concept before", onclick: () => this.turn(-1) }, "←"), h("button", { class: "icon", "aria-label": "the next concept", onclick: () => this.turn(1) }, "→")]
        : h("h2", { id: "sheet-title" }, `${ids.length} concepts compared`),
      h("span", { class: "gap" }),
      h("button", { class: "text", onclick: (event) => this.#copy(event.currentTarget) }, "Copy link"),
      h("button", { class: "icon close", "aria-label": "close", onclick: () => this.dialog.close() }, "✕"));
    const parts = places.map((at, n) => conceptPart(this.page, at, found[n], one ? "h2" : "h3"));
    this.dialog.className = one ? "one" : "several";
    this.dialog.replaceChildren(nav, h("div", { class: "parts", style: { "--n": ids.length } }, parts));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    if (one) this.dialog.querySelector(".close").focus();
  }

  /** On to the concept before or after, in the page's order. */
  turn(step) {
    if (this.ids.length !== 1) return;
    const { places, data } = this.page;
    const next = places[places.indexOf(data.place.get(this.ids[0])) + step];
    if (next !== undefined) this.page.open(data.cards[next].id);
  }

  async #copy(button) {
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar";
    }
  }
}
