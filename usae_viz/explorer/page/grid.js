"use strict";
/* The grid holds only the cards in view and a screen around them: thousands of concepts cost no more than a few. */

const GAP = 14;
const WIDTHS = { s: 250, m: 330, l: 470 };

class Grid {
  constructor(page, element) {
    this.page = page;
    this.element = element;
    this.shown = new Map(); // place -> card
    this.columns = 1;
    this.height = 1;
    const look = () => this.fill();
    addEventListener("scroll", look, { passive: true });
    new ResizeObserver(() => { if (element.clientWidth !== this.width) this.measure(); }).observe(element);
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("focusin", (event) => { this.last = Number(event.target.closest(".card")?.dataset.at ?? -1); });
  }

  /** Work out columns and the height of a card, by laying one out. */
  measure() {
    this.width = this.element.clientWidth;
    this.element.dataset.size = this.page.view.size;
    const least = Math.min(WIDTHS[this.page.view.size], this.width);
    this.columns = Math.max(1, Math.floor((this.width + GAP) / (least + GAP)));
    this.cardWidth = (this.width - GAP * (this.columns - 1)) / this.columns;
    const trial = makeCard(this.page, 0, 0, 1);
    trial.style.cssText = `width:${this.cardWidth}px;visibility:hidden`;
    for (const image of trial.querySelectorAll("img")) image.removeAttribute("src");
    this.element.append(trial);
    this.height = Math.ceil(trial.getBoundingClientRect().height);
    trial.remove();
    this.redraw();
  }

  /** Lay the cards of a new view out. */
  redraw() {
    const focused = document.activeElement?.closest?.(".card")?.dataset.at;
    const part = document.activeElement?.className?.split?.(" ").at(-1);
    for (const card of this.shown.values()) card.remove();
    this.shown.clear();
    const rows = Math.ceil(this.page.places.length / this.columns);
    this.element.style.height = `${Math.max(0, rows * (this.height + GAP) - GAP)}px`;
    this.fill();
    if (focused !== undefined) this.element.querySelector(`.card[data-at="${focused}"] ${part ? `.${CSS.escape(part)}` : ".open"}`)?.focus({ preventScroll: true });
  }

  /** Make the cards that have come near the view; drop those that have left it. */
  fill() {
    const { places } = this.page;
    const top = -this.element.getBoundingClientRect().top;
    const pitch = this.height + GAP;
    const first = Math.max(0, Math.floor((top - innerHeight / 2) / pitch)) * this.columns;
    const last = Math.min(places.length, (Math.floor((top + 1.5 * innerHeight) / pitch) + 1) * this.columns);
    for (const [place, card] of this.shown)
      if ((place < first || place >= last) && !card.contains(document.activeElement)) {
        card.remove();
        this.shown.delete(place);
      }
    for (let place = first; place < last; place++) if (!this.shown.has(place)) this.#add(place);
  }

  #add(place) {
    const card = makeCard(this.page, this.page.places[place], place, this.page.places.length);
    const row = Math.floor(place / this.columns), column = place % this.columns;
    card.style.cssText = `width:${this.cardWidth}px;height:${this.height}px;transform:translate(${column * (this.cardWidth + GAP)}px,${row * (this.height + GAP)}px)`;
    this.shown.set(place, card);
    const after = [...this.element.children].find((other) => Number(other.getAttribute("aria-posinset")) > place + 1);
    this.element.insertBefore(card, after ?? null); // in reading order, whichever way one scrolled
  }

  /** Bring a card into view and give it the focus. */
  focus(place) {
    if (place < 0 || place >= this.page.places.length) return;
    const row = Math.floor(place / this.columns);
    const top = this.element.getBoundingClientRect().top + scrollY + row * (this.height + GAP);
    const margin = document.querySelector("header.top").offsetHeight + GAP;
    if (top - margin < scrollY) scrollTo({ top: top - margin });
    else if (top + this.height > scrollY + innerHeight) scrollTo({ top: top + this.height + GAP - innerHeight });
    this.fill();
    this.shown.get(place)?.querySelector(".open").focus({ preventScroll: true });
  }

  #key(event) {
    const card = event.target.closest(".card");
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = Number(card.getAttribute("aria-posinset")) - 1;
    const patch = event.target.closest(".patch");
    if (patch && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const next = event.key === "ArrowRight" ? patch.nextElementSibling : patch.previousElementSibling;
      if (next?.matches("button")) next.focus();
      event.preventDefault();
      return;
    }
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -this.columns, PageDown: this.columns };
    if (event.key in steps) {
      this.focus(place + steps[event.key]);
      event.preventDefault();
    } else if (event.key === "f") card.querySelector(".star").click();
    else if (event.key === "c") card.querySelector(".compare").click();
    else if (event.key === "Escape") glimpse.hide();
  }
}
