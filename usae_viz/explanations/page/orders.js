// @ts-check
"use strict";
/* In which orders a photograph's concepts can be listed. */

/** @param {number} share */
const percent = (share) => `${Math.round(100 * share)}%`;

/**
 * @param {number} value
 * @param {string} before
 */
function signedFigure(value, before = "") {
  const rounded = Math.round(100 * value) / 100 || 0; // no minus before a zero
  return h(
    "span",
    { class: rounded < 0 ? "negative" : rounded > 0 ? "positive" : "" },
    `${before}${rounded < 0 ? "" : "+"}${rounded.toFixed(2)}`,
  );
}

/**
 * What a class's logit loses without a concept, and a ~ before it where it is estimated.
 * @param {ConceptData} row
 */
function drop({ exact, estimate }) {
  const value = exact ?? estimate;
  return value === undefined ? null : signedFigure(value, exact === null ? "~" : "");
}

/**
 * The largest first.
 * @param {ConceptData[]} rows
 * @param {(row: ConceptData) => number} figureOf
 */
const sortDescending = (rows, figureOf) => [...rows].sort((a, b) => figureOf(b) - figureOf(a));

/**
 * @param {BackboneData} backbone
 * @param {number[]} concepts
 */
const findConcepts = (backbone, concepts) =>
  concepts.flatMap((concept) => backbone.concepts.find((row) => row.concept === concept) ?? []);

/**
 * Every order of a photograph.
 * @param {ExplanationData} data
 * @param {PhotographData} photograph
 * @returns {Order[]}
 */
function ordersOf(data, photograph) {
  const several = data.backbones.length > 1;
  const orders = data.backbones.flatMap((name) => ordersIn(name, photograph, several));
  return several ? [...orders, agreement(data, photograph)] : orders;
}

/**
 * @param {string} name the backbone's
 * @param {PhotographData} photograph
 * @param {boolean} several whether there are other backbones
 * @returns {Order[]}
 */
function ordersIn(name, photograph, several) {
  const backbone = photograph.backbones[name];
  const firing = backbone.concepts.filter((row) => row.area > 0);
  const peak = (/** @type {ConceptData} */ row) => row.peak.toFixed(2);
  const why = backbone.no_importance ? ` (${backbone.no_importance})` : "";
  const orders = [
    ...(backbone.asked ? [importance(name, backbone, backbone.asked.name)] : []),
    {
      label: `${name}: largest code`,
      meaning: `largest code of any patch${why}`,
      rows: sortDescending(firing, (row) => row.peak),
      value: peak,
    },
    {
      label: `${name}: largest area`,
      meaning: "share of the patches in which it fires",
      rows: sortDescending(firing, (row) => row.area),
      value: (/** @type {ConceptData} */ row) => percent(row.area),
    },
  ];
  const meaning = `concepts that fire in ${name} alone, and its largest code`;
  return several
    ? [...orders, { label: `only ${name}`, meaning, rows: findConcepts(backbone, photograph.only[name]), value: peak }]
    : orders;
}

/**
 * By what a class's logit loses without the concept.
 * @param {string} name the backbone's
 * @param {BackboneData} backbone
 * @param {string} className
 * @returns {Order}
 */
function importance(name, backbone, className) {
  const estimated = backbone.concepts.filter((row) => row.estimate !== undefined);
  const how = "~ is estimated by the gradient, all others are exact";
  return {
    label: `${name}: what carries “${className}”`,
    meaning: `what the logit of “${className}” loses when the concept is taken away; ${how}`,
    rows: sortDescending(estimated, (row) => row.exact ?? row.estimate ?? 0),
    value: (row) => drop(row) ?? "",
  };
}

/**
 * Concepts that fire in every backbone.
 * @param {ExplanationData} data
 * @param {PhotographData} photograph
 * @returns {Order}
 */
function agreement(data, photograph) {
  const area = (/** @type {string} */ name, /** @type {number} */ concept) =>
    photograph.backbones[name].concepts.find((row) => row.concept === concept)?.area ?? 0;
  return {
    label: "what all agree on",
    meaning: "concepts that fire in every backbone, first those that are strong in all; the area in each",
    rows: findConcepts(photograph.backbones[data.backbones[0]], photograph.agreed),
    value: ({ concept }) => data.backbones.map((name) => percent(area(name, concept))).join(" "),
  };
}
