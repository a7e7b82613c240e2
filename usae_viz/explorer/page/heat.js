// @ts-check
"use strict";
/* Natural pictures and where a concept is strong in them. */

const SHADE = 215; // of 255: the picture around a concept can still be made out

/**
 * A whole natural picture under the spotlight of one backbone.
 * @param {PageData} data
 * @param {NaturalData} entry
 * @param {number} row the backbone's
 */
function heatPicture(data, entry, row) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const light = Array.from(bytesOf(entry.heat[row]), (code) => Math.sqrt(code / 255)); // weak codes would hardly be seen else
  spotlight(canvas, light, data.usae.grid ?? [0, 0], SHADE);
  const source = address("explorer/natural/", String(entry.image), ".webp");
  return h(
    "figure",
    { class: "heat-map" },
    h("div", { class: "stack" }, h("img", { src: source, alt: "", decoding: "async" }), canvas),
    h("figcaption", {}, backboneName(data, row), h("span", { class: "code" }, figure(entry.codes[row], "number"))),
  );
}

/**
 * A backbone's name beside its colour.
 * @param {PageData} data
 * @param {number} row
 */
function backboneName(data, row) {
  const dot = h("i", { class: "dot", style: { "--hue": `var(--b${row % 6})` }, "aria-hidden": "true" });
  return h("span", { class: "backbone" }, dot, data.backbones[row]);
}

/** Details of a card, loaded as a script: a page from disk may not fetch. */
class Details {
  /** @type {Map<number, {promise: Promise<DetailData | null>, done: (detail: DetailData | null) => void}>} */
  #waiting = new Map();

  /**
   * A card's, once they are loaded; null where they are missing.
   * @param {number} at
   */
  of(at) {
    const earlier = this.#waiting.get(at);
    if (earlier) return earlier.promise;
    const { promise, resolve } = deferredDetail();
    this.#waiting.set(at, { promise, done: resolve });
    const script = h("script", { src: `explorer/details/${at}.js` });
    script.addEventListener("error", () => resolve(null));
    script.addEventListener("load", () => script.remove());
    document.head.append(script);
    return promise;
  }

  /**
   * @param {number} at
   * @param {DetailData} detail
   */
  deliver(at, detail) {
    this.#waiting.get(at)?.done(detail);
  }
}

/** A promise of details, and what keeps it. */
function deferredDetail() {
  /** @type {(detail: DetailData | null) => void} */
  let resolve = () => {};
  /** @type {Promise<DetailData | null>} */
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

const details = new Details();

/**
 * details/PLACE.js calls this.
 * @param {number} at
 * @param {DetailData} detail
 */
const usaeDetail = (at, detail) => details.deliver(at, detail);

/** The panel beside what is pointed at: a natural picture under every backbone's spotlight, or a concept in small. */
class Glimpse {
  /** @type {object | null} */
  #anchor = null;

  /**
   * A top-activating patch: the whole picture, under every backbone's spotlight.
   * @param {PageData} data
   * @param {CardData} card
   * @param {number} row the backbone's
   * @param {number} rank
   * @param {HTMLElement} anchor what it stands beside
   */
  async show(data, card, row, rank, anchor) {
    this.#anchor = anchor;
    const detail = await details.of(card.detail);
    const entry = detail?.natural[row]?.find((each) => each.rank === rank);
    if (this.#anchor !== anchor || !entry) return;
    const heats = data.backbones.map((_, at) => heatPicture(data, entry, at));
    this.showBeside(anchor, anchor.getBoundingClientRect(), [
      h("p", {}, entry.label, h("span", { class: "faint" }, ` · no. ${rank + 1} through ${data.backbones[row]}`)),
      h("div", { class: "heat-maps" }, heats),
      h("p", { class: "faint" }, "largest code through each backbone; lit where the concept fires"),
    ]);
  }

  /**
   * Show something beside something.
   * @param {object} anchor what it stands beside
   * @param {{left: number, top: number, bottom: number, width: number}} where that is
   * @param {HTMLElement[]} content
   */
  showBeside(anchor, where, content) {
    this.#anchor = anchor;
    const panel = byId("glimpse");
    panel.replaceChildren(...content);
    panel.showPopover();
    placeBeside(panel, where);
  }

  /** @param {object} [anchor] hides what stands beside this; whatever is shown by default */
  hide(anchor) {
    if (anchor && this.#anchor !== anchor) return;
    this.#anchor = null;
    if (byId("glimpse").matches(":popover-open")) byId("glimpse").hidePopover();
  }
}

const glimpse = new Glimpse();

/**
 * Put a panel under something, within the window; over it where there is no room.
 * @param {HTMLElement} panel
 * @param {{left: number, top: number, bottom: number, width: number}} anchor
 */
function placeBeside(panel, anchor) {
  const box = panel.getBoundingClientRect();
  const left = Math.min(Math.max(8, anchor.left + anchor.width / 2 - box.width / 2), innerWidth - box.width - 8);
  const over = anchor.top - box.height - 8;
  const under = anchor.bottom + 8; // under, so that the card's pictures stay in sight
  panel.style.left = `${Math.max(8, left)}px`;
  panel.style.top = `${under + box.height < innerHeight ? under : Math.max(8, over)}px`;
}
