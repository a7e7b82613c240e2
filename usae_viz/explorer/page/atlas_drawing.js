// @ts-check
"use strict";
/* How the atlas is drawn: on a canvas, each point a picture of a dot that is made once for every colour. */

const COLOURS = 24; // steps of the scale
const FILLED = 0.92; // of the canvas's shorter side, when all is seen
const MIN_DOT = 6; // pixels
const MAX_DOT = 22;
const MAX_NAMED = 90; // points in view, beyond which their numbers are left out
const MAX_PICTURED = 40; // points in view, beyond which they are dots
const PICTURE = 52; // pixels

class AtlasDrawing {
  width = 0;
  height = 0;
  #ratio = 1; // pixels of the screen to one of the page
  /** @type {Uint8Array} of each card: the step of its colour, COLOURS: not known */
  #colourStep = new Uint8Array();
  /** @type {Uint8Array} of each card: 1 where the filters keep it */
  #visible = new Uint8Array();
  /** @type {number[]} cards in the order in which they are drawn: what is filtered out, then from low to high */
  #order = [];
  /** @type {HTMLCanvasElement[]} a dot of each colour, then the one of no colour, then the faint one */
  #dots = [];
  #dotSize = 0; // pixels of the page
  #frame = 0; // that was asked for
  /** @type {Map<number, Cutting | null>} of the run that is chosen */
  #pictures = new Map();
  #run = ""; // that the pictures are of

  /**
   * @param {Page} page
   * @param {AtlasData} data
   * @param {HTMLCanvasElement} canvas
   */
  constructor(page, data, canvas) {
    this.page = page;
    this.canvas = canvas;
    this.x = data.x;
    this.y = data.y;
    this.placed = page.data.cards.map((_, at) => at).filter((at) => this.has(at));
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => {
      this.#dots = [];
      this.redraw();
    });
  }

  /** @param {number} at */
  has(at) {
    return this.x[at] !== null;
  }

  /** Fit the canvas to its place on the page. */
  measure() {
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.#ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * this.#ratio);
    this.canvas.height = Math.round(this.height * this.#ratio);
    this.#dots = [];
  }

  /** Take colours and filters of the view. */
  fill() {
    const { data, view, places } = this.page;
    const column = data.column.get(view.colour);
    const scale = column && scaleOf(column);
    if (this.#run !== view.run) this.#pictures.clear();
    this.#run = view.run;
    this.#visible = new Uint8Array(data.cards.length);
    for (const at of places) this.#visible[at] = 1;
    this.#colourStep = Uint8Array.from(data.cards, (_, at) => {
      const value = column?.values[at];
      if (!scale || typeof value !== "number") return COLOURS;
      return Math.min(COLOURS - 1, Math.floor(scale.place(value) * COLOURS));
    });
    const drawOrder = (/** @type {number} */ at) =>
      this.#visible[at] ? (this.#colourStep[at] === COLOURS ? 0 : 1 + this.#colourStep[at]) : -1;
    this.#order = [...this.placed].sort((a, b) => drawOrder(a) - drawOrder(b) || a - b);
    byId("legend-low").textContent = column && scale ? figure(scale.low, column.kind) : "";
    byId("legend-high").textContent = column && scale ? figure(scale.high, column.kind) : "";
    within(document, ".legend").title = column?.description ?? "";
  }

  /** @param {Viewport} viewport */
  scale({ zoom }) {
    return zoom * FILLED * Math.min(this.width, this.height);
  }

  /**
   * Where a pixel lies in the plane.
   * @param {{x: number, y: number}} pixel
   * @param {Viewport} viewport
   */
  toPlane(pixel, viewport) {
    const scale = this.scale(viewport);
    return { x: viewport.x + (pixel.x - this.width / 2) / scale, y: viewport.y + (pixel.y - this.height / 2) / scale };
  }

  /**
   * Where a concept lies in the plane.
   * @param {number} at
   */
  place(at) {
    return { x: this.x[at] ?? 0, y: this.y[at] ?? 0 };
  }

  /**
   * Where a concept is seen.
   * @param {number} at
   * @param {Viewport} viewport
   */
  pixel(at, viewport) {
    const scale = this.scale(viewport);
    const { x, y } = this.place(at);
    return { x: this.width / 2 + (x - viewport.x) * scale, y: this.height / 2 + (y - viewport.y) * scale };
  }

  /**
   * The concept that is meant by a pixel, of those that the filters keep.
   * @param {{x: number, y: number}} pixel
   * @param {Viewport} viewport
   * @param {number} reach pixels
   */
  nearest(pixel, viewport, reach) {
    const { x, y } = this.toPlane(pixel, viewport);
    const maxDistance = Math.max(reach, this.#dotSize / 2) / this.scale(viewport);
    return this.#best((at) => {
      const distance = Math.hypot((this.x[at] ?? 0) - x, (this.y[at] ?? 0) - y);
      return distance <= maxDistance ? distance : Infinity;
    });
  }

  /** @param {Viewport} viewport */
  inMiddle(viewport) {
    return this.#best((at) => Math.hypot((this.x[at] ?? 0) - viewport.x, (this.y[at] ?? 0) - viewport.y));
  }

  /**
   * The next concept in a direction: near, and not much to the side.
   * @param {number} from
   * @param {number} right
   * @param {number} down
   */
  next(from, right, down) {
    const { x, y } = this.place(from);
    return this.#best((at) => {
      const ahead = ((this.x[at] ?? 0) - x) * right + ((this.y[at] ?? 0) - y) * down;
      const aside = Math.abs(((this.x[at] ?? 0) - x) * down) + Math.abs(((this.y[at] ?? 0) - y) * right);
      return ahead > 0 && aside <= ahead ? ahead + 2 * aside : Infinity;
    });
  }

  /** @param {(at: number) => number} cost the least is best, Infinity is none */
  #best(cost) {
    let best = null;
    let least = Infinity;
    for (const at of this.placed) {
      const distance = this.#visible[at] ? cost(at) : Infinity;
      if (distance < least) [best, least] = [at, distance];
    }
    return best;
  }

  /**
   * Draw with the next frame, once, however often it is asked for.
   * @param {Viewport} viewport
   * @param {number | null} current
   */
  requestDraw(viewport, current) {
    this.redraw = () => this.#draw(viewport, current);
    if (!this.#frame)
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.redraw();
      });
  }

  redraw = () => {};

  /**
   * @param {Viewport} viewport
   * @param {number | null} current
   */
  #draw(viewport, current) {
    const context = this.canvas.getContext("2d");
    if (!context || !this.width) return;
    this.#makeDots(viewport);
    context.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const dots = this.#drawDots(context, viewport);
    if (dots.length <= MAX_PICTURED) this.#drawPictures(context, viewport, dots);
    if (dots.length <= MAX_NAMED) this.#drawNames(context, viewport, dots, dots.length <= MAX_PICTURED);
    if (current !== null) this.#ring(context, this.pixel(current, viewport), "--ink");
    for (const id of this.page.view.compare) this.#ringOf(context, viewport, id, "--accent");
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Viewport} viewport
   * @returns {number[]} those in view that the filters keep
   */
  #drawDots(context, viewport) {
    const scale = this.scale(viewport);
    const left = this.width / 2 - viewport.x * scale - this.#dotSize / 2;
    const top = this.height / 2 - viewport.y * scale - this.#dotSize / 2;
    const dots = [];
    for (const at of this.#order) {
      const x = left + (this.x[at] ?? 0) * scale;
      const y = top + (this.y[at] ?? 0) * scale;
      if (x < -this.#dotSize || y < -this.#dotSize || x > this.width || y > this.height) continue;
      const dot = this.#dots[this.#visible[at] ? this.#colourStep[at] : COLOURS + 1];
      context.drawImage(dot, x, y, this.#dotSize, this.#dotSize);
      if (this.#visible[at]) dots.push(at);
    }
    return dots;
  }

  /**
   * Make the dots for this zoom, where they are not made yet.
   * @param {Viewport} viewport
   */
  #makeDots({ zoom }) {
    const unzoomed = Math.sqrt((this.width * this.height) / this.placed.length) / 3;
    const size = Math.round(Math.min(MAX_DOT, Math.max(MIN_DOT, unzoomed) * zoom ** 0.4));
    if (this.#dots.length && size === this.#dotSize) return;
    this.#dotSize = size;
    const colours = Array.from({ length: COLOURS }, (_, step) => this.#rampAt(step / (COLOURS - 1)));
    this.#dots = [...colours, this.#colour("var(--unknown)"), this.#colour("var(--line)")].map((colour) =>
      this.#dot(colour),
    );
  }

  /** @param {number} place 0 to 1 */
  #rampAt(place) {
    const [from, to, share] = place < 0.5 ? ["low", "mid", 2 * place] : ["mid", "high", 2 * place - 1];
    return this.#colour(`color-mix(in oklab, var(--ramp-${to}) ${100 * share}%, var(--ramp-${from}))`);
  }

  /**
   * A colour of the style sheet as a canvas understands it.
   * @param {string} colour
   */
  #colour(colour) {
    const before = this.canvas.style.color;
    this.canvas.style.color = colour;
    const computed = getComputedStyle(this.canvas).color;
    this.canvas.style.color = before;
    return computed;
  }

  /** @param {string} colour */
  #dot(colour) {
    const side = Math.ceil(this.#dotSize * this.#ratio);
    const dot = h("canvas", { width: side, height: side });
    const context = dot.getContext("2d");
    if (!context) return dot;
    const rim = side / 14; // tells a dot from those under it
    this.#disc(context, this.#colour("var(--card)"), side / 2, side / 2);
    this.#disc(context, colour, side / 2, side / 2 - rim);
    return dot;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} colour
   * @param {number} middle
   * @param {number} radius
   */
  #disc(context, colour, middle, radius) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(middle, middle, radius, 0, 2 * Math.PI);
    context.fill();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Viewport} viewport
   * @param {number[]} dots cards that are drawn
   */
  #drawPictures(context, viewport, dots) {
    for (const at of dots) {
      const cutting = this.#pictureOf(at);
      if (!cutting?.image.complete || !cutting.image.naturalWidth) continue;
      const { x, y } = this.pixel(at, viewport);
      const { image, left, top, side } = cutting;
      const across = side * Math.min(image.naturalWidth, image.naturalHeight);
      const [fromX, fromY] = [left * image.naturalWidth, top * image.naturalHeight];
      context.drawImage(image, fromX, fromY, across, across, x - PICTURE / 2, y - PICTURE / 2, PICTURE, PICTURE);
      const step = this.#colourStep[at];
      context.strokeStyle = step === COLOURS ? this.#colour("var(--unknown)") : this.#rampAt(step / (COLOURS - 1));
      context.lineWidth = 3;
      context.strokeRect(x - PICTURE / 2, y - PICTURE / 2, PICTURE, PICTURE);
    }
  }

  /**
   * What a concept is shown by: its first drawn picture, or its first top-activating patch.
   * @param {number} at
   */
  #pictureOf(at) {
    const earlier = this.#pictures.get(at);
    if (earlier !== undefined) return earlier;
    const { data, view } = this.page;
    const card = data.cards[at];
    const [drawing] = shownRuns(card, view);
    const row = card.natural.findIndex((count) => count > 0);
    const source = drawing
      ? thumb(drawing.run, drawing.pictures[0])
      : row < 0
        ? ""
        : address("explorer/patches/", card.id, ".webp");
    const image = new Image();
    image.addEventListener("load", () => this.redraw());
    image.src = source;
    const top = drawing ? 0 : row / data.backbones.length;
    const side = drawing ? 1 : 1 / Math.min(data.natural, data.backbones.length);
    const cutting = source ? { image, left: 0, top, side } : null;
    this.#pictures.set(at, cutting);
    return cutting;
  }

  /**
   * Numbers and names, where they are not in each other's way.
   * @param {CanvasRenderingContext2D} context
   * @param {Viewport} viewport
   * @param {number[]} dots cards that are drawn
   * @param {boolean} pictured
   */
  #drawNames(context, viewport, dots, pictured) {
    const { data, labels } = this.page;
    const under = (pictured ? PICTURE / 2 : this.#dotSize / 2) + 12;
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "center";
    context.fillStyle = this.#colour("var(--ink)");
    context.strokeStyle = this.#colour("var(--card)"); // a rim: readable over dots and pictures
    context.lineWidth = 4;
    context.lineJoin = "round";
    /** @type {{x: number, y: number, half: number}[]} */
    const labelBoxes = [];
    const hasName = (/** @type {number} */ at) => Number(labels.of(data.cards[at].id).name !== "");
    for (const at of [...dots].reverse().sort((a, b) => hasName(b) - hasName(a))) {
      const { id } = data.cards[at];
      const words = [id, labels.of(id).name].filter(Boolean).join(" ");
      const { x: middle, y } = this.pixel(at, viewport);
      const half = context.measureText(words).width / 2 + 4;
      const x = Math.max(half, Math.min(this.width - half, middle)); // within the canvas
      if (labelBoxes.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 14)) continue;
      labelBoxes.push({ x, y, half });
      context.strokeText(words, x, y + under);
      context.fillText(words, x, y + under);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Viewport} viewport
   * @param {string} id
   * @param {string} colour
   */
  #ringOf(context, viewport, id, colour) {
    const at = this.page.data.place.get(id);
    if (at !== undefined && this.has(at)) this.#ring(context, this.pixel(at, viewport), colour);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {{x: number, y: number}} pixel
   * @param {string} colour a variable of the style sheet
   */
  #ring(context, { x, y }, colour) {
    context.strokeStyle = this.#colour(`var(${colour})`);
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(x, y, this.#dotSize / 2 + 4, 0, 2 * Math.PI);
    context.stroke();
  }
}
