// @ts-check
"use strict";
/* A concept in full, or several side by side. */

/**
 * What was drawn of a concept in one run.
 * @param {PageData} data
 * @param {CardData} card
 * @param {RunPicturesData} drawing
 * @param {DetailData | null} detail
 * @param {number} level of the headings
 */
function runPart(data, card, { run, pictures }, detail, level) {
  const several = data.runs.length > 1;
  const { name, settings } = data.runs[run];
  const pictureDetails = detail?.pictures[run] ?? {};
  const inner = headingOf(several ? level + 1 : level);
  const variants = [...new Set(pictures.map((picture) => picture.variant))];
  const groups = variants.flatMap((variant) =>
    Object.keys(MODES).map((mode) => ({
      words: variant ? `${variant}: ${MODES[mode]}` : MODES[mode],
      pictures: pictures.filter((picture) => picture.variant === variant && picture.mode === mode),
    })),
  );
  const groupElements = groups
    .filter(({ pictures }) => pictures.length)
    .map(({ words, pictures }) => {
      const figures = pictures.map((picture) => pictureFigure(data, card, run, picture, pictureDetails[picture.file]));
      const style = { "--n": Math.min(Math.max(pictures.length, 2), 4) };
      return h(
        "div",
        {},
        h(inner, { class: "minor-heading" }, words),
        h("div", { class: "large-pictures", style }, figures),
      );
    });
  const heading = several && h(headingOf(level), {}, name, h("small", { class: "faint" }, ` ${settings}`));
  const where = `concept ${card.id}${several ? ` in ${name}` : ""}`;
  return h("section", { class: "run" }, heading, groupElements, transferTable(data, pictures, pictureDetails, where));
}

/**
 * @param {number} level
 * @returns {Heading}
 */
const headingOf = (level) => /** @type {Heading} */ (`h${level}`);

/**
 * One concept's part of the sheet.
 * @param {Page} page
 * @param {number} at
 * @param {DetailData | null} detail
 * @param {number} level of its heading; no level below it is left out
 */
function conceptPart({ data, labels }, at, detail, level) {
  const card = data.cards[at];
  const { number, words, followed } = heading(data, at, labels);
  const inner = headingOf(level + 1);
  const what = card.concept === null ? `--objective "${card.objective}"` : `--concept ${card.id}`;
  const runs = card.run_pictures.map((drawing) => runPart(data, card, drawing, detail, level + 1));
  const notDrawn = h("p", { class: "note" }, "Not drawn here. ", h("code", {}, `usae-viz maximize ${what}`));
  const title = { class: "concept-title", id: level === 2 ? "sheet-title" : null };
  const natural = () => naturalInFull(data, card, detail, headingOf(level + 2));
  return h(
    "section",
    { class: runs.length ? "concept-part" : "concept-part no-runs", "aria-label": `concept ${card.id}` },
    h(headingOf(level), title, number !== null && h("b", {}, number), " ", words, " ", followed),
    labelEditor(labels, card.id),
    h("div", { class: runs.length > 1 ? "runs side-by-side" : "runs" }, runs.length ? runs : notDrawn),
    h(
      "div",
      { class: "patches-and-figures" },
      data.natural ? h("div", {}, h(inner, {}, "Top-activating patches"), natural()) : null,
      h("div", {}, h(inner, {}, "Figures"), figuresTable(data, at)),
    ),
  );
}

class Sheet {
  /** @type {string[]} */
  ids = [];
  #shown = false; // and nothing else asked for since it was closed: its closing is heard later

  /**
   * @param {Page} page
   * @param {HTMLDialogElement} dialog
   */
  constructor(page, dialog) {
    this.page = page;
    this.dialog = dialog;
    dialog.addEventListener("close", () => this.#onClose());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onClose() {
    if (this.dialog.open || !this.#shown) return; // another was asked for before this was heard
    this.#shown = false;
    glimpse.hide();
    this.page.closed();
    this.ids = []; // what was to come next is not shown any more
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event)) return;
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (sideways && targetOf(event).closest(".scrollable")) return; // a wide table scrolls
    if (sideways) this.goBy(event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "f" && this.ids.length === 1) within(this.dialog, ".star").click();
    else if (event.key === "l") within(this.dialog, ".copy-link").click();
  }

  /**
   * Show one concept, or compare several.
   * @param {string[]} ids
   */
  async show(ids) {
    const { data } = this.page;
    this.ids = ids;
    const { open } = this.dialog;
    if (!open) this.#shown = false;
    const places = ids.flatMap((id) => data.place.get(id) ?? []);
    const cardDetails = await Promise.all(places.map((at) => details.of(data.cards[at].detail)));
    if (this.ids !== ids || (open && !this.dialog.open)) return; // another was asked for meanwhile, or none
    const single = ids.length === 1;
    const parts = places.map((at, nth) => conceptPart(this.page, at, cardDetails[nth], single ? 2 : 3));
    this.dialog.className = single ? "single" : "comparison";
    const children = [this.#head(single), h("div", { class: "concept-parts", style: { "--n": ids.length } }, parts)];
    replacePreservingFocus(this.dialog, children);
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.#shown = true;
      within(this.dialog, ".close").focus();
    } else if (!this.dialog.contains(document.activeElement)) within(this.dialog, ".close").focus();
    this.dialog.scrollTop = 0;
  }

  /** Close it; what was asked for and is not there yet is not shown any more. */
  hide() {
    if (this.dialog.open) this.dialog.close();
    else this.ids = [];
  }

  /** @param {boolean} single whether one concept is shown */
  #head(single) {
    const status = h("span", { class: "sheet-status", role: "status" });
    const step = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ sign) =>
      h("button", { class: "icon-button", "aria-label": label, onclick: () => this.goBy(by) }, sign);
    return h(
      "div",
      { class: "sheet-head" },
      single
        ? [step(-1, "the concept before", "←"), step(1, "the next concept", "→")]
        : h("h2", { id: "sheet-title" }, `${this.ids.length} concepts compared`),
      h("span", { class: "spacer" }),
      status,
      h(
        "button",
        { class: "text-button copy-link", title: "Copy link (l)", onclick: () => this.page.copyLink(status) },
        "Copy link",
      ),
      h("button", { class: "icon-button close", "aria-label": "close", onclick: () => this.dialog.close() }, "✕"),
    );
  }

  /**
   * On to the concept before or after, in the page's order.
   * @param {number} step
   */
  goBy(step) {
    if (this.ids.length !== 1) return;
    const { places, data } = this.page;
    const next = places[places.indexOf(data.place.get(this.ids[0]) ?? -1) + step];
    if (next !== undefined) this.page.open(data.cards[next].id);
  }
}
