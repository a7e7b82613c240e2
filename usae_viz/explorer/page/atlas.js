// @ts-check
"use strict";
/* The atlas: concepts in a plane. What part is in view, which concept is current, and what pointer, keys and wheel do. */

const MIN_ZOOM = 0.6; // 1 shows all of it
const MAX_ZOOM = 60;
const ZOOM_STEP = 1.5; // of a zoom by key or button
const PAN_SHARE = 0.15; // of the plane's side, by key
const REACH = 16; // pixels around the pointer in which a point is meant
const MAX_CLICK_MOVE = 5; // pixels that a click may move

/** @implements {Scene} */
class Atlas {
  /** @type {Viewport} */
  viewport = { x: 0.5, y: 0.5, zoom: 1 };
  /** @type {number | null} the concept that keys are at, by its place in the data */
  current = null;
  /** @type {Map<number, PointerEvent>} pointers that are down */
  #down = new Map();
  #moved = 0; // pixels, since the pointer went down

  /**
   * @param {Page} page
   * @param {AtlasData} data
   */
  constructor(page, data) {
    this.page = page;
    this.canvas = byId("atlas-canvas", HTMLCanvasElement);
    this.drawing = new AtlasDrawing(page, data, this.canvas);
    this.colour = byId("colour", HTMLSelectElement);
    this.colour.append(...columnOptions(page.data.columns));
    this.colour.addEventListener("change", () => page.update({ colour: this.colour.value }));
    byId("zoom-in").addEventListener("click", () => this.zoomBy(ZOOM_STEP));
    byId("zoom-out").addEventListener("click", () => this.zoomBy(1 / ZOOM_STEP));
    byId("zoom-reset").addEventListener("click", () => this.#setViewport({ x: 0.5, y: 0.5, zoom: 1 }));
    this.#listen();
  }

  measure() {
    this.drawing.measure();
    this.redraw();
  }

  redraw() {
    const { viewport, colour } = this.page.view;
    this.viewport = parseViewport(viewport);
    this.colour.value = colour;
    this.drawing.fill();
    this.#draw();
  }

  #draw() {
    this.drawing.requestDraw(this.viewport, this.current);
  }

  /**
   * Go to a concept, and show what it is.
   * @param {number} place among those shown
   */
  focus(place) {
    this.canvas.focus({ preventScroll: true });
    const at = this.page.places[place];
    if (at !== undefined && this.drawing.has(at)) this.#choose(at);
  }

  /** Go to the concept that keys were at, or to the one in the middle. */
  enter() {
    this.canvas.focus({ preventScroll: true });
    if (this.current === null) this.#chooseNext(0, 0);
    else this.#choose(this.current);
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    canvas.addEventListener("pointerup", (event) => this.#onPointerUp(event));
    canvas.addEventListener("pointercancel", (event) => this.#down.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.#down.size || glimpse.hide(this));
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("blur", () => glimpse.hide(this));
    new ResizeObserver(() => canvas.clientWidth && this.measure()).observe(canvas);
  }

  /** @param {Viewport} viewport */
  #setViewport({ x, y, zoom }) {
    const within01 = (/** @type {number} */ value) => Math.min(1, Math.max(0, value));
    this.viewport = { x: within01(x), y: within01(y), zoom: Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom)) };
    glimpse.hide(this);
    this.page.setViewport(formatViewport(this.viewport));
    this.#draw();
  }

  /**
   * Zoom, with what lies under a place staying there.
   * @param {number} factor
   * @param {{x: number, y: number}} [under] pixels of the canvas; its middle by default
   */
  zoomBy(factor, under) {
    const { width, height } = this.drawing;
    const fixed = under ?? { x: width / 2, y: height / 2 };
    const zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, this.viewport.zoom * factor));
    const from = this.drawing.toPlane(fixed, this.viewport);
    const to = this.drawing.toPlane(fixed, { ...this.viewport, zoom });
    this.#setViewport({ x: this.viewport.x + from.x - to.x, y: this.viewport.y + from.y - to.y, zoom });
  }

  /**
   * Move what is seen.
   * @param {number} right pixels
   * @param {number} down pixels
   */
  moveBy(right, down) {
    const scale = this.drawing.scale(this.viewport);
    this.#setViewport({ ...this.viewport, x: this.viewport.x - right / scale, y: this.viewport.y - down / scale });
  }

  /** @param {PointerEvent} event */
  #onPointerDown(event) {
    if (event.button) return; // the right one has a menu
    this.canvas.setPointerCapture(event.pointerId);
    this.#down.set(event.pointerId, event);
    this.#moved = this.#down.size > 1 ? Infinity : 0; // two fingers open nothing
  }

  /** @param {PointerEvent} event */
  #onPointerMove(event) {
    const before = this.#down.get(event.pointerId);
    if (!before) return this.#hover(event);
    const others = [...this.#down.values()].filter((other) => other.pointerId !== event.pointerId);
    this.#down.set(event.pointerId, event);
    this.#moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    const share = 1 / this.#down.size; // two fingers that go together move it once
    this.moveBy(share * (event.clientX - before.clientX), share * (event.clientY - before.clientY));
    if (others.length === 1)
      this.zoomBy(distance(event, others[0]) / distance(before, others[0]), this.#between(event, others[0]));
  }

  /** @param {PointerEvent} event */
  #onPointerUp(event) {
    const wasDown = this.#down.delete(event.pointerId);
    const at =
      wasDown && !this.#down.size && this.#moved <= MAX_CLICK_MOVE
        ? this.drawing.nearest(this.#pixel(event), this.viewport, REACH)
        : null;
    if (at === null) return;
    this.current = at;
    this.page.open(this.page.data.cards[at].id);
  }

  /** @param {MouseEvent} event */
  #pixel(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /**
   * @param {MouseEvent} first
   * @param {MouseEvent} second
   */
  #between(first, second) {
    const [a, b] = [this.#pixel(first), this.#pixel(second)];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  }

  /** @param {PointerEvent} event */
  #hover(event) {
    const at = event.pointerType === "touch" ? null : this.drawing.nearest(this.#pixel(event), this.viewport, REACH);
    this.canvas.style.cursor = at === null ? "grab" : "pointer";
    if (at === null) glimpse.hide(this);
    else this.#glimpse(at);
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
    this.zoomBy(Math.exp(-Math.max(-300, Math.min(300, pixels)) / 400), this.#pixel(event));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event)) return;
    const [right, down] = ARROWS[event.key] ?? [0, 0];
    const side = PAN_SHARE * Math.min(this.drawing.width, this.drawing.height);
    const id = this.current === null ? null : this.page.data.cards[this.current].id;
    if (right || down) event.shiftKey ? this.moveBy(-right * side, -down * side) : this.#chooseNext(right, down);
    else if (event.key === "+" || event.key === "=") this.zoomBy(ZOOM_STEP);
    else if (event.key === "-" || event.key === "−") this.zoomBy(1 / ZOOM_STEP);
    else if (event.key === "0") byId("zoom-reset").click();
    else if (event.key === "Escape") glimpse.hide(this);
    else if (id === null) return;
    else if (event.key === "Enter" || event.key === " ") this.page.open(id);
    else if (event.key === "c") this.page.compare(id);
    else if (event.key === "f") this.page.labels.toggleFavourite(id);
    else return;
    event.preventDefault();
  }

  /**
   * Choose the next concept in a direction; the one in the middle if there is no current one.
   * @param {number} right
   * @param {number} down
   */
  #chooseNext(right, down) {
    const at =
      this.current === null ? this.drawing.inMiddle(this.viewport) : this.drawing.next(this.current, right, down);
    if (at !== null) this.#choose(at);
  }

  /** @param {number} at */
  #choose(at) {
    this.current = at;
    const { x, y } = this.drawing.pixel(at, this.viewport);
    const { width, height } = this.drawing;
    const margin = 2 * REACH;
    if (x < margin || y < margin || x > width - margin || y > height - margin)
      this.#setViewport({ ...this.viewport, ...this.drawing.place(at) });
    this.#draw();
    this.#glimpse(at);
    byId("atlas-status").textContent = this.#describe(at);
  }

  /** @param {number} at */
  #describe(at) {
    const { data, view, labels } = this.page;
    const card = data.cards[at];
    const column = data.column.get(view.colour);
    const value = column ? `${nameOf(column)} ${figure(column.values[at], column.kind)}` : "";
    return [`concept ${card.id}`, labels.of(card.id).name, card.follows, value].filter(Boolean).join(", ");
  }

  /**
   * Show a concept in small beside its point.
   * @param {number} at
   */
  #glimpse(at) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const { x, y } = this.drawing.pixel(at, this.viewport);
    const where = { left: left + x - REACH, top: top + y - REACH, bottom: top + y + REACH, width: 2 * REACH };
    glimpse.showBeside(this, where, conceptPreview(this.page, at, this.#describe(at)));
  }
}

/** @type {Record<string, [number, number]>} right, down */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {MouseEvent} a
 * @param {MouseEvent} b
 */
const distance = (a, b) => Math.max(1, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY));

/**
 * Where an address says that the atlas looks; all of it where it says nothing that can be read.
 * @param {string} text
 * @returns {Viewport}
 */
function parseViewport(text) {
  const [x, y, zoom] = text.split(",").map(Number);
  const valid = text && x >= 0 && x <= 1 && y >= 0 && y <= 1 && zoom >= MIN_ZOOM && zoom <= MAX_ZOOM;
  return valid ? { x, y, zoom } : { x: 0.5, y: 0.5, zoom: 1 };
}

/** @param {Viewport} viewport */
function formatViewport({ x, y, zoom }) {
  const whole = x === 0.5 && y === 0.5 && zoom === 1;
  return whole ? "" : [x.toFixed(4), y.toFixed(4), zoom.toPrecision(4)].map(Number).join(",");
}

/**
 * A concept's first pictures, or its top-activating patches, under what it is in words.
 * @param {Page} page
 * @param {number} at
 * @param {string} words
 */
function conceptPreview({ data, layout }, at, words) {
  const card = data.cards[at];
  const rows = [false, layout.shared].flatMap((shared) =>
    layout.rows.map((row) => slots(data, card, row, shared).map((picture) => ({ run: row.run, picture }))),
  );
  const firstRow = rows.map((row) => row.filter(({ picture }) => picture)).find((row) => row.length);
  const tiles = (firstRow ?? []).map(({ run, picture }) => tile(data, card, run, picture));
  const patches = data.backbones.map((_, backbone) =>
    h("div", { class: "strip", style: { "--n": data.natural } }, smallPatches(data, card, backbone)),
  );
  const style = { "--n": data.backbones.length };
  const pictures = tiles.length ? [h("div", { class: "pictures", style }, tiles)] : card.natural.length ? patches : [];
  return [h("p", {}, words), ...pictures];
}

/**
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} row the backbone's
 */
function smallPatches(data, card, row) {
  return Array.from({ length: card.natural[row] ?? 0 }, (_, rank) =>
    h("span", { class: "patch", style: patchBackground(data, card, row, rank) }),
  );
}
