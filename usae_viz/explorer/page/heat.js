"use strict";
/* Natural pictures and where a concept is strong in them. */

/** Draw a picture's spotlight: what the concept fires at keeps its light, the rest is dimmed. */
function spotlight(canvas, heat, grid) {
  const [rows, columns] = grid;
  const codes = Uint8Array.from(atob(heat), (sign) => sign.charCodeAt(0));
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  for (let token = 0; token < rows * columns; token++) {
    const light = Math.sqrt(codes[token] / 255); // weak codes would hardly be seen else
    pixels.data.set([8, 10, 16, Math.round(215 * (1 - light))], 4 * token);
  }
  context.putImageData(pixels, 0, 0);
}

/** A whole natural picture under the spotlight of one backbone. */
function heatPicture(data, entry, row) {
  const canvas = h("canvas", { class: "spot", "aria-hidden": "true" });
  spotlight(canvas, entry.heat[row], data.usae.grid);
  const code = entry.codes[row];
  return h("figure", { class: "heat" },
    h("div", { class: "stack" }, h("img", { src: address("explorer/natural/", String(entry.image), ".webp"), alt: "", decoding: "async" }), canvas),
    h("figcaption", {}, backboneName(data, row), h("span", { class: "code" }, figure(code, "number"))));
}

/** A backbone's name beside its colour. */
function backboneName(data, row) {
  return h("span", { class: "backbone" }, h("i", { class: "dot", style: { "--hue": `var(--b${row % 6})` }, "aria-hidden": "true" }), data.backbones[row]);
}

/** Details of a card, loaded as a script: a page from disk may not fetch. */
const details = {
  waiting: new Map(), loaded: new Map(),
  of(at) {
    if (this.loaded.has(at)) return Promise.resolve(this.loaded.get(at));
    if (!this.waiting.has(at)) {
      let done;
      const promise = new Promise((resolve) => (done = resolve));
      const script = h("script", { src: `explorer/details/${at}.js`, onerror: () => this.take(at, null), onload: () => script.remove() });
      this.waiting.set(at, { promise, done });
      document.head.append(script);
    }
    return this.waiting.get(at).promise;
  },
  take(at, detail) {
    this.loaded.set(at, detail);
    this.waiting.get(at)?.done(detail);
  },
};
const usaeDetail = (at, detail) => details.take(at, detail);

/** The panel beside a top-activating patch: the whole picture, under every backbone's spotlight. */
const glimpse = {
  anchor: null,
  async show(data, card, row, rank, anchor) {
    this.anchor = anchor;
    const detail = await details.of(card.detail);
    const entry = detail?.natural[row]?.find((each) => each.rank === rank);
    if (this.anchor !== anchor || !entry) return;
    const panel = byId("glimpse");
    panel.replaceChildren(
      h("p", {}, entry.label, h("span", { class: "faint" }, ` · no. ${rank + 1} through ${data.backbones[row]}`)),
      h("div", { class: "heats" }, data.backbones.map((_, at) => heatPicture(data, entry, at))),
      h("p", { class: "faint" }, "largest code through each backbone; lit where the concept fires"));
    panel.showPopover();
    const at = anchor.getBoundingClientRect(), own = panel.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), innerWidth - own.width - 8);
    const above = at.top - own.height - 8, below = at.bottom + 8; // below, so that the card's pictures stay in sight
    panel.style.left = `${Math.max(8, left)}px`;
    panel.style.top = `${below + own.height < innerHeight ? below : Math.max(8, above)}px`;
  },
  hide(anchor) {
    if (anchor && this.anchor !== anchor) return;
    this.anchor = null;
    if (byId("glimpse").matches(":popover-open")) byId("glimpse").hidePopover();
  },
};
