// @ts-check
"use strict";
/* Making elements. Text is always set as text: a label of "<script>" stays what it is. */

/**
 * An element: h("button", {class: "icon-button", onclick: f, "aria-label": "..."}, "text" or elements...).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} properties those that are null, undefined or false are left out
 * @param {...Child} children likewise
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    else if (key === "style")
      for (const [name, text] of Object.entries(value)) element.style.setProperty(name, String(text));
    else if (key === "value" || key === "checked") Object.assign(element, { [key]: value });
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  const leaves = /** @type {Leaf[]} */ (/** @type {unknown[]} */ (children).flat(Infinity));
  for (const leaf of leaves)
    if (leaf !== null && leaf !== undefined && typeof leaf !== "boolean")
      element.append(typeof leaf === "number" ? String(leaf) : leaf);
  return element;
}

/**
 * An element of the page; an error of the page if it has none of this kind.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @param {new () => Kind} [kind]
 * @returns {Kind}
 */
function byId(id, kind) {
  return checkElement(document.getElementById(id), kind, `#${id}`);
}

/**
 * The first element below another that matches a selector; an error of the page if there is none of this kind.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {ParentNode} above
 * @param {string} selector
 * @param {new () => Kind} [kind]
 * @returns {Kind}
 */
function within(above, selector, kind) {
  return checkElement(above.querySelector(selector), kind, selector);
}

/**
 * @template {HTMLElement} Kind
 * @param {Element | null} element
 * @param {(new () => Kind) | undefined} kind
 * @param {string} what
 * @returns {Kind}
 */
function checkElement(element, kind, what) {
  if (!(element instanceof (kind ?? HTMLElement))) throw new Error(`no ${what} in this page`);
  return /** @type {Kind} */ (element);
}

/**
 * The element that an event happened in.
 * @param {Event} event
 */
function targetOf(event) {
  return event.target instanceof HTMLElement ? event.target : document.body;
}

/**
 * Whether a key is typed into a field, or with another key that makes it the browser's.
 * @param {KeyboardEvent} event
 */
function isTyping(event) {
  return targetOf(event).matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
}

/**
 * A path of ours as an address: what a file name may hold, an address may not.
 * @param {...string} parts
 */
const address = (...parts) => parts.join("").split("/").map(encodeURIComponent).join("/");

/**
 * Percent of `background-position` at which an image of equal tiles side by side shows one of them.
 * @param {number} tile
 * @param {number} count of all tiles
 */
const spritePosition = (tile, count) => (100 * tile) / Math.max(1, count - 1);

/**
 * A figure as a person reads it.
 * @param {number | null | undefined} value
 * @param {FigureKind} kind
 */
function figure(value, kind) {
  if (value === null || value === undefined) return "–";
  if (kind === "share")
    return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(0) : value.toFixed(value < 0.1 ? 3 : 2);
  if (kind === "percent") return `p${value.toFixed(1)}`;
  if (kind === "count") return value.toLocaleString("en");
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 0.001 ? value.toExponential(1) : value.toFixed(size < 0.1 ? 4 : size < 1 ? 3 : size < 100 ? 2 : 0);
}

const ADDRESS_DELAY = 150; // milliseconds: browsers limit how often an address may change

/**
 * Run a function once the calls have ceased for a while.
 * @param {() => void} run
 * @param {number} milliseconds
 */
function debounce(run, milliseconds) {
  /** @type {number | undefined} */
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(run, milliseconds);
  };
}

/**
 * What the browser keeps under a key as JSON; null where it keeps nothing that can be read. Throws where it keeps nothing
 * at all for this page.
 * @param {string} key
 */
function storedJson(key) {
  const text = localStorage.getItem(key);
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}

/**
 * Hand the reader a file.
 * @param {string} name
 * @param {string} text
 * @param {string} type
 */
function download(name, text, type) {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
