// @ts-check
"use strict";
/* A card's top-activating patches. */

/**
 * A card's top-activating patches in one backbone.
 * @param {PageData} data
 * @param {number} at
 * @param {number} row the backbone's
 */
function naturalRow(data, at, row) {
  const name = data.backbones[row];
  const share = data.column.get(`co_firing.${name}`)?.values[at];
  const title = `co-firing: of its fires in ${name}, the share at which all backbones fire`;
  return [
    backboneName(data, row),
    patchStrip(data, data.cards[at], row),
    h(
      "span",
      { class: "co-firing", title },
      h("span", { class: "visually-hidden" }, "co-firing "),
      share === undefined ? "" : figure(share, "share"),
    ),
  ];
}

/**
 * A strip of top-activating patches; the arrow keys go along it.
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} row the backbone's
 */
function patchStrip(data, card, row) {
  const count = card.natural[row] || 0;
  const patches = Array.from({ length: data.natural }, (_, rank) =>
    rank < count ? patch(data, card, row, rank) : h("span", { class: "patch empty" }),
  );
  const label = `top-activating patches, ${data.backbones[row]}`;
  return h("div", { class: "strip", role: "group", "aria-label": label, style: { "--n": data.natural } }, patches);
}

/**
 * One patch of a strip, cut out of the card's picture of all its patches.
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} row the backbone's
 * @param {number} rank
 */
function patch(data, card, row, rank) {
  const button = h("button", {
    class: "patch",
    tabindex: rank ? "-1" : "0",
    "aria-label": `top-activating patch ${rank + 1} through ${data.backbones[row]}: show the picture and its heat maps`,
    style: patchBackground(data, card, row, rank),
  });
  onGlimpse(button, () => glimpse.show(data, card, row, rank, button));
  return button;
}

/**
 * The part of a card's picture of all its patches that shows one.
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} row the backbone's
 * @param {number} rank
 */
function patchBackground(data, card, row, rank) {
  const across = spritePosition(rank, data.natural);
  const down = spritePosition(row, data.backbones.length);
  return {
    "background-image": `url("${address("explorer/patches/", card.id, ".webp")}")`,
    "background-size": `${100 * data.natural}% ${100 * data.backbones.length}%`,
    "background-position": `${across}% ${down}%`,
  };
}

/**
 * Show a glimpse while the pointer or the focus is on something.
 * @param {HTMLElement} element
 * @param {() => void} show
 */
function onGlimpse(element, show) {
  for (const event of ["pointerenter", "focus", "click"]) element.addEventListener(event, show);
  for (const event of ["pointerleave", "blur"]) element.addEventListener(event, () => glimpse.hide(element));
}
