// @ts-check
"use strict";
/* What is shown and in which order: pure functions of the page's data and a view, and the view as an address. */

/** @type {View} */
const VIEW = {
  query: "",
  sort: "",
  descending: true,
  size: "m",
  run: "all",
  favourites: false,
  label: "",
  fires: "",
  not: "",
  threshold: 0.001,
  pictures: "",
  scene: "cards",
  colour: "",
  viewport: "",
  ranges: {},
  concept: "",
  compare: [],
  side: false,
};
const FOLLOWS_AUROC = 0.9; // AUROC from which a concept is said to follow its label, as in usae_viz/concepts/followed.py
/** @type {Record<string, string>} former names of a view's parts, as old links have them */
const FORMER_KEYS = { least: "threshold", look: "viewport", shows: "scene" };
/** @type {Record<string, string[]>} */
const CHOICES = {
  size: ["s", "m", "l"],
  scene: ["cards", "atlas"],
  pictures: ["", "drawn", "strong", "fired", "weak", "failed", "none"],
}; // values of a view that are one of a few

/**
 * Places of the cards that a view shows, in its order.
 * @param {PageData} data
 * @param {View} view
 * @param {Labels} labels
 */
function select(data, view, labels) {
  const filters = [inQuery, inLabel, inFiring, inPictures, inRanges].map((make) => make(data, view, labels));
  const places = data.cards.map((_, at) => at).filter((at) => filters.every((passes) => passes(at)));
  return sortPlaces(data, view, labels, places);
}

/** @type {Filter} by favourite and by label: `own` (named by the reader), or one of the USAE's that it follows. */
function inLabel(data, view, labels) {
  const auroc = data.column.get("auroc")?.values;
  return (at) => {
    const card = data.cards[at];
    const label = labels.of(card.id);
    if (view.favourites && !label.favourite) return false;
    if (!view.label) return true;
    if (view.label.startsWith("own:")) return label.name === view.label.slice(4);
    return card.follows === view.label && (auroc?.[at] ?? 1) >= FOLLOWS_AUROC;
  };
}

/** @type {Filter} */
function inFiring(data, view) {
  const fires = view.fires && data.column.get(`fires.${view.fires}`)?.values;
  const not = view.not && data.column.get(`fires.${view.not}`)?.values;
  return (at) => {
    if (fires && !((fires[at] ?? -1) >= view.threshold)) return false;
    return !not || (not[at] ?? Infinity) < view.threshold;
  };
}

/** @type {Filter} */
function inPictures(data, view) {
  return (at) => {
    if (!view.pictures) return true;
    const verdicts = data.cards[at].run_pictures.flatMap((drawing) =>
      drawing.pictures.map((picture) => picture.verdict),
    );
    if (view.pictures === "none") return verdicts.length === 0;
    if (view.pictures === "failed" || view.pictures === "weak") return verdicts.includes(view.pictures);
    if (view.pictures === "strong") return verdicts.length > 0 && verdicts.every((verdict) => verdict === "strong");
    return verdicts.length > 0 && (view.pictures === "drawn" || !verdicts.includes("failed")); // "fired", in old links
  };
}

/** @type {Filter} */
function inRanges(data, view) {
  const ranges = Object.entries(view.ranges).map(([key, bounds]) => ({ values: data.column.get(key)?.values, bounds }));
  return (at) =>
    ranges.every(({ values, bounds: [low, high] }) => {
      const value = values?.[at];
      return !values || (typeof value === "number" && value >= low && value <= high);
    });
}

/**
 * Sorted by a figure; cards that lack it come last, and equals keep the order of their numbers.
 * @param {PageData} data
 * @param {View} view
 * @param {Labels} labels
 * @param {number[]} places
 */
function sortPlaces(data, view, labels, places) {
  const sign = view.descending ? -1 : 1;
  const values = data.column.get(view.sort)?.values;
  if (view.sort === "index") return view.descending ? places.reverse() : places;
  if (view.sort === "name") {
    const names = data.cards.map((card) => labels.of(card.id).name || card.follows || "");
    return places.sort(
      (a, b) => Number(names[a] === "") - Number(names[b] === "") || sign * names[a].localeCompare(names[b]) || a - b,
    );
  }
  if (!values) return places;
  return places.sort((a, b) => {
    const [first, second] = [values[a], values[b]];
    if (first === null || second === null) return Number(first === null) - Number(second === null) || a - b;
    return sign * (first - second) || a - b;
  });
}

/**
 * How many filters a view has.
 * @param {View} view
 */
function filterCount(view) {
  const named = [view.favourites, view.label, view.fires, view.not, view.pictures];
  return Object.keys(view.ranges).length + named.filter(Boolean).length;
}

/**
 * A view as the part of an address after #.
 * @param {View} view
 * @param {View} standard what is left out of an address
 */
function toHash(view, standard) {
  const fields = new URLSearchParams();
  const { ranges, compare, side, ...rest } = view;
  for (const [key, value] of Object.entries(rest))
    if (value !== standard[/** @type {keyof typeof rest} */ (key)]) fields.set(key, String(value));
  for (const [column, [low, high]] of Object.entries(ranges)) fields.set(`range.${column}`, `${low}..${high}`);
  if (compare.length) fields.set("compare", compare.map(encodeURIComponent).join(",")); // objectives have commas too
  if (compare.length > 1) fields.set("side", String(side)); // a link typed without it opens them
  return fields.toString();
}

/**
 * What encodeURIComponent wrote; what it cannot have written stays as it is.
 * @param {string} text
 */
function decodeComponent(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The concepts that a view has open: one, or several side by side.
 * @param {View} view
 */
function openIds({ concept, side, compare }) {
  if (concept) return [concept];
  return side && compare.length > 1 ? compare : [];
}

/**
 * A view from an address; what it does not say, or says wrongly, is as in `standard`.
 * @param {string} hash
 * @param {View} standard
 * @param {Pick<PageData, "column" | "place" | "runs" | "atlas" | "backbones">} data
 * @returns {View}
 */
function fromHash(hash, standard, data) {
  /** @type {View} */
  const view = { ...standard, ranges: {}, compare: [], side: true };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, "")))
    readField(view, FORMER_KEYS[key] ?? key, value, standard, data);
  view.side = view.side && view.compare.length > 1;
  if (!data.atlas) view.scene = "cards";
  return view;
}

/**
 * Take one thing that an address says into a view.
 * @param {View} view
 * @param {string} key
 * @param {string} value
 * @param {View} standard
 * @param {Pick<PageData, "column" | "place" | "runs" | "backbones">} data
 */
function readField(view, key, value, standard, data) {
  const initial = Object.hasOwn(VIEW, key) ? VIEW[/** @type {keyof View} */ (key)] : undefined;
  if (key.startsWith("range.")) {
    const [low, high, ...more] = value.split("..").map(Number);
    const column = key.slice("range.".length);
    if (!more.length && !Number.isNaN(low + high) && data.column.has(column)) view.ranges[column] = [low, high];
  } else if (key === "compare")
    view.compare = [...new Set(value.split(",").map(decodeComponent))].filter((id) => data.place.has(id));
  else if (key === "concept") view.concept = data.place.has(value) ? value : "";
  else if (key === "sort")
    view.sort = data.column.has(value) || ["index", "name"].includes(value) ? value : standard.sort;
  else if (key === "colour") view.colour = data.column.has(value) ? value : standard.colour;
  else if (key === "threshold")
    view.threshold = Number(value) >= 0 && Number(value) <= 1 ? Number(value) : standard.threshold;
  else if (key === "run") view.run = /^\d+$/.test(value) && data.runs[Number(value)] ? value : standard.run;
  else if (key === "fires" || key === "not") view[key] = data.backbones.includes(value) ? value : "";
  else if (Object.hasOwn(CHOICES, key)) Object.assign(view, CHOICES[key].includes(value) ? { [key]: value } : {});
  else if (typeof initial === "boolean") Object.assign(view, { [key]: value === "true" });
  else if (typeof initial === "string") Object.assign(view, { [key]: value });
}
