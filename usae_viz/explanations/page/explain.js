// @ts-check
"use strict";
/* One photograph at a time: a list of concepts in an order, and the concept under the pointer in every backbone. */

const SHADE = 180; // of 255: what a concept does not fire at can still be made out
const SEAM = 0.001; // of a side: so that none is seen between the map and what lies beside it

/**
 * Begin, with what page.py wrote.
 * @param {ExplanationData} data
 */
function usaeExplanation(data) {
  new ExplanationPage(data).begin();
  document.body.dataset.ready = "yes";
}

class ExplanationPage {
  place = 0; // of the photograph
  concept = -1;

  /** @param {ExplanationData} data */
  constructor(data) {
    this.data = data;
    this.order = byId("order", HTMLSelectElement);
    this.keepAddress = debounce(() => this.#setAddress(), ADDRESS_DELAY);
  }

  get photograph() {
    return this.data.photographs[this.place];
  }

  begin() {
    const { photographs } = this.data;
    const pick = byId("photographs", HTMLSelectElement);
    pick.append(...photographs.map((each, at) => h("option", { value: String(at) }, each.name)));
    pick.addEventListener("change", () => this.#showPhotograph(Number(pick.value)));
    byId("photographs-label").hidden = photographs.length < 2;
    this.order.addEventListener("change", () => this.#fill());
    byId("concepts").addEventListener("keydown", (event) => moveAlongList(event));
    within(document, ".skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address says what is shown, and no place on the page
      byId("concepts").focus();
    });
    addEventListener("hashchange", (event) => this.#applyAddress(new URL(event.newURL).hash));
    this.#applyAddress(location.hash);
  }

  #setAddress() {
    const { place: photograph, concept } = this;
    const fields = Object.entries({ photograph, order: this.order.value || 0, concept });
    history.replaceState(null, "", `#${new URLSearchParams(fields.map(([key, value]) => [key, String(value)]))}`);
  }

  /**
   * Show what the address says; the first of all where it names nothing that exists.
   * @param {string} hash the address's: the page may have set its own since that was changed
   */
  #applyAddress(hash) {
    const fields = new URLSearchParams(hash.slice(1));
    const number = (/** @type {string} */ key) => (/^\d+$/.test(fields.get(key) ?? "") ? Number(fields.get(key)) : 0);
    this.#showPhotograph(this.data.photographs[number("photograph")] ? number("photograph") : 0);
    this.order.selectedIndex = this.order.options[number("order")] ? number("order") : 0;
    this.#fill(fields.has("concept") ? number("concept") : -1);
  }

  /** @param {number} at */
  #showPhotograph(at) {
    this.place = at;
    byId("photographs", HTMLSelectElement).value = String(at);
    const { name, backbones } = this.photograph;
    byId("title").textContent = name;
    const answers = this.data.backbones.map((each) => {
      const { answer } = backbones[each];
      return answer ? `${each} answers ${answer.name}, ${percent(answer.probability)}` : each;
    });
    byId("answers").textContent = answers.join(" · ");
    const orders = ordersOf(this.data, this.photograph);
    this.order.replaceChildren(...orders.map(({ label }, number) => h("option", { value: String(number) }, label)));
    this.#fill();
  }

  /**
   * The list, in the order that is chosen.
   * @param {number} [concept] to show; the first of the list by default
   */
  #fill(concept) {
    const { meaning, rows, value } = ordersOf(this.data, this.photograph)[Number(this.order.value || 0)];
    byId("order-meaning").textContent = rows.length ? meaning : `${meaning}: none`;
    byId("concepts").replaceChildren(...rows.map((row) => h("li", {}, this.#row(row, value(row)))));
    const row = rows.find((each) => each.concept === concept) ?? rows[0];
    if (row) this.#show(row.concept);
  }

  /**
   * @param {ConceptData} row
   * @param {string | HTMLElement} value
   */
  #row({ concept }, value) {
    const name = h("span", { class: "name" }, this.photograph.names[concept] ?? "");
    const button = h("button", { type: "button", "data-concept": concept }, h("b", {}, concept), name, value);
    for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, () => this.#show(concept));
    return button;
  }

  /**
   * A concept in every backbone, its patches and its drawings.
   * @param {number} concept
   */
  #show(concept) {
    this.concept = concept;
    this.keepAddress();
    for (const button of byId("concepts").querySelectorAll("button"))
      button.ariaCurrent = String(button.dataset.concept === String(concept));
    const name = this.photograph.names[concept];
    byId("concept-title").textContent = `Concept ${concept}${name ? `: ${name}` : ""}`;
    byId("maps").replaceChildren(...this.data.backbones.map((backbone) => this.#map(backbone, concept)));
    const details = [patches(this.data, concept), drawings(this.data, concept)];
    byId("patches-and-drawings").replaceChildren(...details.filter((part) => part !== null));
  }

  /**
   * The photograph under one backbone's map.
   * @param {string} backbone
   * @param {number} concept
   */
  #map(backbone, concept) {
    const { width, height, seen, backbones } = this.photograph;
    const backboneData = backbones[backbone];
    const row = backboneData.concepts.find((each) => each.concept === concept);
    const source = `explain/photograph-${this.place}.webp`;
    const stack = [h("img", { src: source, alt: "", width, height }), outsideView(seen, width, height)];
    return h(
      "figure",
      {},
      h("div", { class: "stack" }, ...stack, mapCanvas(this.photograph, backboneData, row?.light)),
      h("figcaption", {}, h("b", {}, backbone), describeMap(backboneData, row)),
    );
  }
}

/**
 * From one concept of the list to the next by the arrow keys.
 * @param {KeyboardEvent} event
 */
function moveAlongList(event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || isTyping(event)) return;
  const buttons = [...byId("concepts").querySelectorAll("button")];
  buttons[Math.max(0, buttons.findIndex((button) => button === document.activeElement) + step)]?.focus();
  event.preventDefault();
}

/**
 * What a map shows, in words.
 * @param {BackboneData} backbone
 * @param {ConceptData} [row]
 */
function describeMap({ grid, asked }, row) {
  if (!row?.area) return " · does not fire";
  const logitDrop = drop(row);
  return [
    ` · largest code ${row.peak.toFixed(2)} · ${percent(row.area)} of ${grid.join(" x ")} patches`,
    logitDrop && asked ? [" · ", logitDrop, ` for ${asked.name}`] : null,
  ];
}

/**
 * A map, over the square of the photograph that backbones see.
 * @param {PhotographData} photograph
 * @param {BackboneData} backbone
 * @param {string} [light]
 */
function mapCanvas({ width, height, seen }, { grid }, light) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const shares = {
    left: seen.left / width,
    top: seen.top / height,
    width: seen.side / width,
    height: seen.side / height,
  };
  for (const [key, share] of Object.entries(shares)) canvas.style.setProperty(key, `${100 * share}%`);
  const lights = light ? Array.from(bytesOf(light), (byte) => byte / 255) : new Array(grid[0] * grid[1]).fill(0);
  spotlight(canvas, lights, grid, SHADE);
  return canvas;
}

/**
 * What lies beside the square that backbones see, dark.
 * @param {PhotographData["seen"]} seen
 * @param {number} width
 * @param {number} height
 */
function outsideView({ left, top, side }, width, height) {
  const edges = [left / width + SEAM, top / height + SEAM, (left + side) / width - SEAM, (top + side) / height - SEAM];
  const [l, t, r, b] = edges.map((edge) => `${100 * edge}%`);
  const hole = `${l} ${t}, ${r} ${t}, ${r} ${b}, ${l} ${b}, ${l} ${t}`;
  const around = `polygon(evenodd, 0 0, 100% 0, 100% 100%, 0 100%, 0 0, ${hole})`;
  return h("div", { class: "outside-view", style: { "clip-path": around } });
}

/**
 * A concept's top-activating patches.
 * @param {ExplanationData} data
 * @param {number} concept
 */
function patches(data, concept) {
  if (!data.patches[concept]) return data.no_patches ? h("p", {}, `Top-activating patches: ${data.no_patches}`) : null;
  const rows = data.backbones.map((name, row) => h("div", {}, h("span", {}, name), patchStrip(data, concept, row)));
  return h("div", { class: "patch-rows" }, h("h3", {}, "Top-activating patches"), rows);
}

/**
 * @param {ExplanationData} data
 * @param {number} concept
 * @param {number} row the backbone's
 */
function patchStrip(data, concept, row) {
  return h("i", {
    class: "strip",
    style: {
      "--tiles": data.tiles,
      "background-image": `url(explain/patches/${concept}.webp)`,
      "background-position": `0 ${spritePosition(row, data.backbones.length)}%`,
    },
  });
}

/**
 * A run's drawings of a concept.
 * @param {ExplanationData} data
 * @param {number} concept
 */
function drawings(data, concept) {
  const pictures = data.drawings[concept];
  if (!pictures) return null;
  const figures = pictures.map(({ file, backbone, verdict }) =>
    h(
      "figure",
      {},
      h("img", { src: address("explain/drawings/", file), alt: `drawn for ${backbone}` }),
      h("figcaption", {}, backbone, verdict ? `, ${verdict}` : ""),
    ),
  );
  return h("div", {}, h("h3", {}, "Drawn"), h("div", { class: "drawings" }, figures));
}
