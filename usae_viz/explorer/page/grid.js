// @ts-check
"use strict";
/* The grid holds only the cards in view and a screen around them: thousands of concepts cost no more than a few. */

const GAP = 14;
const WIDTHS = { s: 250, m: 330, l: 470 };

/** @implements {Scene} */
class Grid {
  /** @type {Map<number, HTMLElement>} by place on the page */
  cards = new Map();
  columns = 1;
  height = 1; // of a card
  width = 0; // of the grid
  cardWidth = 0;

  /**
   * @param {Page} page
   * @param {HTMLElement} element
   */
  constructor(page, element) {
    this.page = page;
    this.element = element;
    addEventListener("scroll", () => this.fill(), { passive: true });
    new ResizeObserver(() => {
      if (element.clientWidth && element.clientWidth !== this.width) this.measure();
    }).observe(element);
    element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** Work out columns and the height of a card, by laying one out. */
  measure() {
    const { size } = this.page.view;
    this.width = this.element.clientWidth;
    this.element.dataset.size = size;
    const minWidth = Math.min(WIDTHS[size], this.width);
    this.columns = Math.max(1, Math.floor((this.width + GAP) / (minWidth + GAP)));
    this.cardWidth = (this.width - GAP * (this.columns - 1)) / this.columns;
    const sample = makeCard(this.page, 0, 0, 1);
    sample.style.cssText = `width:${this.cardWidth}px;visibility:hidden`;
    for (const image of sample.querySelectorAll("img")) image.removeAttribute("src");
    this.element.append(sample);
    this.height = Math.ceil(sample.getBoundingClientRect().height);
    sample.remove();
    this.redraw();
  }

  /** Lay the cards of a new view out. */
  redraw() {
    const card = document.activeElement?.closest(".card");
    const focused = card?.getAttribute("data-at");
    const place = Number(card?.ariaPosInSet) - 1;
    const part = document.activeElement?.className.split(" ").at(-1);
    for (const old of this.cards.values()) old.remove();
    this.cards.clear();
    const rows = Math.ceil(this.page.places.length / this.columns);
    this.element.style.height = `${Math.max(0, rows * (this.height + GAP) - GAP)}px`;
    this.fill();
    if (!focused) return;
    const sameElement = this.element.querySelector(
      `.card[data-at="${focused}"] ${part ? `.${CSS.escape(part)}` : ".card-link"}`,
    );
    if (sameElement instanceof HTMLElement) sameElement.focus({ preventScroll: true });
    else this.focus(Math.min(place, this.page.places.length - 1)); // it was filtered out: on to the one in its stead
  }

  /** The concept that has the focus. */
  get current() {
    const card = document.activeElement?.closest(".card");
    return card ? Number(card.getAttribute("data-at")) : null;
  }

  /** Give the focus to the first card that is seen whole. */
  enter() {
    const margin = within(document, "header.page-header").getBoundingClientRect().bottom;
    const above = Math.max(0, margin - this.element.getBoundingClientRect().top);
    this.focus(Math.ceil(above / (this.height + GAP)) * this.columns);
  }

  /** Make the cards that have come near the view; drop those that have left it. */
  fill() {
    if (this.element.hidden) return;
    const { places } = this.page;
    const top = -this.element.getBoundingClientRect().top;
    const pitch = this.height + GAP;
    const first = Math.max(0, Math.floor((top - innerHeight / 2) / pitch)) * this.columns;
    const last = Math.min(places.length, (Math.floor((top + 1.5 * innerHeight) / pitch) + 1) * this.columns);
    for (const [place, card] of this.cards)
      if ((place < first || place >= last) && !card.contains(document.activeElement)) {
        card.remove();
        this.cards.delete(place);
      }
    for (let place = first; place < last; place++) if (!this.cards.has(place)) this.#add(place);
  }

  /** @param {number} place */
  #add(place) {
    const card = makeCard(this.page, this.page.places[place], place, this.page.places.length);
    const left = (place % this.columns) * (this.cardWidth + GAP);
    const top = Math.floor(place / this.columns) * (this.height + GAP);
    card.style.cssText = `width:${this.cardWidth}px;height:${this.height}px;transform:translate(${left}px,${top}px)`;
    this.cards.set(place, card);
    const after = [...this.element.children].find((other) => Number(other.ariaPosInSet) > place + 1);
    this.element.insertBefore(card, after ?? null); // in reading order, whichever way one scrolled
  }

  /**
   * Bring a card into view and give it the focus.
   * @param {number} place
   */
  focus(place) {
    if (place < 0 || place >= this.page.places.length) return;
    const row = Math.floor(place / this.columns);
    const top = this.element.getBoundingClientRect().top + scrollY + row * (this.height + GAP);
    const margin = within(document, "header.page-header").offsetHeight + GAP;
    const above = top - margin < scrollY;
    const below = top + this.height > scrollY + innerHeight;
    if (above && !below) scrollTo({ top: top - margin });
    if (below && !above) scrollTo({ top: Math.min(top - margin, top + this.height + GAP - innerHeight) });
    this.fill();
    const card = this.cards.get(place);
    if (card) within(card, ".card-link").focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const target = targetOf(event);
    const card = target.closest(".card");
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const { columns } = this;
    /** @type {Record<string, number>} */
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -columns,
      ArrowDown: columns,
      PageUp: -columns,
      PageDown: columns,
    };
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (target.matches(".patch") && sideways) {
      const next = event.key === "ArrowRight" ? target.nextElementSibling : target.previousElementSibling;
      if (next instanceof HTMLButtonElement) next.focus();
      event.preventDefault();
    } else if (event.key in steps) {
      this.focus(Number(card.ariaPosInSet) - 1 + steps[event.key]);
      event.preventDefault();
    } else if (event.key === "f") within(card, ".star").click();
    else if (event.key === "c") within(card, ".compare").click();
    else if (event.key === "Escape") glimpse.hide();
  }
}
