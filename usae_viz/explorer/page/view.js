"use strict";
/* What is shown and in which order: pure functions of the page's data and a view, and the view as an address. */

const VIEW = {
  query: "", sort: "", descending: true, size: "m", run: "all", favourites: false, label: "", fires: "", not: "", least: 0.001,
  pictures: "", ranges: {}, concept: "", compare: [],
};
const FOLLOWS = 0.9; // AUROC from which a concept is said to follow its label, as in usae_viz/concepts/naming.py

/** What a card can be found by, in small letters. */
function haystack(card, label) {
  return [`#${card.id}`, card.concept === null ? card.objective : `concept ${card.id}`, card.follows, label.name, label.note]
    .filter(Boolean).join("\n").toLowerCase();
}

/** Places of the cards that a view shows, in its order. */
function select(data, view, labels) {
  const places = [];
  const words = view.query.toLowerCase().split(/\s+/).filter(Boolean);
  const ranges = Object.entries(view.ranges).map(([key, [low, high]]) => [data.column.get(key)?.values, low, high]).filter(([values]) => values);
  const fires = view.fires && data.column.get(`fires.${view.fires}`)?.values;
  const not = view.not && data.column.get(`fires.${view.not}`)?.values;
  const auroc = data.column.get("auroc")?.values;
  for (let at = 0; at < data.cards.length; at++) {
    const card = data.cards[at];
    const label = labels.of(card.id);
    if (view.favourites && !label.favourite) continue;
    if (words.length && !(words.length === 1 && words[0] === card.id)) {
      if (words.length === 1 && /^\d+$/.test(words[0])) {
        if (!card.id.startsWith(words[0])) continue;
      } else {
        const text = haystack(card, label);
        if (!words.every((word) => text.includes(word))) continue;
      }
    }
    if (view.label && !fits(card, label, view.label, auroc && auroc[at])) continue;
    if (fires && !(fires[at] >= view.least)) continue;
    if (not && !(not[at] !== null && not[at] < view.least)) continue;
    if (view.pictures && !hasPictures(card, view.pictures)) continue;
    if (ranges.some(([values, low, high]) => values[at] === null || values[at] < low || values[at] > high)) continue;
    places.push(at);
  }
  return ordered(data, view, labels, places);
}

/** By label: `own` (named by the reader), or a label of the USAE's that the concept follows. */
function fits(card, label, wanted, auroc) {
  if (wanted.startsWith("own:")) return label.name === wanted.slice(4);
  return card.follows === wanted && (auroc ?? 1) >= FOLLOWS;
}

function hasPictures(card, wanted) {
  const verdicts = card.drawn.flatMap((drawing) => drawing.pictures.map((picture) => picture[4]));
  if (wanted === "none") return verdicts.length === 0;
  if (wanted === "failed" || wanted === "weak") return verdicts.includes(wanted);
  if (wanted === "strong") return verdicts.length > 0 && verdicts.every((verdict) => verdict === "strong");
  return verdicts.length > 0 && (wanted === "drawn" || !verdicts.includes("failed")); // "fired", in links of before
}

/** Sorted by a figure; cards that lack it come last, and equals keep the order of their numbers. */
function ordered(data, view, labels, places) {
  const sign = view.descending ? -1 : 1;
  const values = data.column.get(view.sort)?.values;
  if (view.sort === "index") return view.descending ? places.reverse() : places;
  if (view.sort === "name") {
    const names = new Map(places.map((at) => [at, labels.of(data.cards[at].id).name || data.cards[at].follows || ""]));
    return places.sort((a, b) => (names.get(a) === "") - (names.get(b) === "") || sign * names.get(a).localeCompare(names.get(b)) || a - b);
  }
  if (!values) return places;
  return places.sort((a, b) => {
    const one = values[a], two = values[b];
    if (one === null || two === null) return (one === null) - (two === null) || a - b;
    return sign * (one - two) || a - b;
  });
}

/** How many filters a view has. */
function filterCount(view) {
  return Object.keys(view.ranges).length + [view.favourites, view.label, view.fires, view.not, view.pictures].filter(Boolean).length;
}

/** A view as the part of an address after #. */
function toHash(view, standard) {
  const said = new URLSearchParams();
  for (const key of Object.keys(VIEW)) {
    if (key === "ranges") for (const [column, [low, high]] of Object.entries(view.ranges)) said.set(`range.${column}`, `${low}..${high}`);
    else if (key === "compare") view.compare.length && said.set(key, view.compare.map(encodeURIComponent).join(",")); // objectives have commas too
    else if (view[key] !== standard[key]) said.set(key, String(view[key]));
  }
  return said.toString();
}

/** What encodeURIComponent wrote; what it cannot have written stays as it is. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The concepts that a view has open: one, or several side by side. */
const opened = (view) => (view.concept ? [view.concept] : view.compare.length > 1 ? view.compare : []);

/** A view from an address; what it does not say, or says wrongly, is as in `standard`. */
function fromHash(hash, standard, data) {
  const view = { ...standard, ranges: {}, compare: [] };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (key.startsWith("range.")) {
      const bounds = value.split("..").map(Number);
      if (bounds.length === 2 && !bounds.some(Number.isNaN) && data.column.has(key.slice(6))) view.ranges[key.slice(6)] = bounds;
    } else if (key === "compare") view.compare = [...new Set(value.split(",").map(decoded))].filter((id) => data.place.has(id));
    else if (key === "concept") view.concept = data.place.has(value) ? value : "";
    else if (key === "sort") view.sort = data.column.has(value) || ["index", "name"].includes(value) ? value : standard.sort;
    else if (key === "least") view.least = Number(value) >= 0 ? Number(value) : standard.least;
    else if (key === "size") view.size = ["s", "m", "l"].includes(value) ? value : standard.size;
    else if (key === "run") view.run = data.runs[Number(value)] ? value : standard.run;
    else if (typeof VIEW[key] === "boolean") view[key] = value === "true";
    else if (typeof VIEW[key] === "string") view[key] = value;
  }
  return view;
}
