// @ts-check
"use strict";
/* A figure's scale: from a value to a place, 0 to 1, and back. */

/**
 * Logarithmic where figures span decades.
 * @param {ColumnData} column
 * @returns {Scale}
 */
function scaleOf(column) {
  const values = column.values.filter((value) => value !== null);
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const floor = values.reduce((least, value) => (value > 0 ? Math.min(least, value) : least), Infinity);
  const ends = (/** @type {number} */ place, /** @type {() => number} */ between) =>
    place <= 0 ? low : place >= 1 ? high : between();
  if (column.log && high > 10 * floor) {
    const from = Math.log(floor);
    const span = Math.log(high) - from;
    return {
      low,
      high,
      place: (value) => (value <= floor ? 0 : (Math.log(value) - from) / span),
      value: (place) => ends(place, () => Math.exp(from + place * span)),
    };
  }
  return {
    low,
    high,
    place: (value) => (high > low ? (value - low) / (high - low) : 0),
    value: (place) => ends(place, () => low + place * (high - low)),
  };
}

/**
 * What a column is called.
 * @param {ColumnData} column
 */
const nameOf = (column) => (column.backbone ? `${column.label}, ${column.backbone}` : column.label);

/**
 * Choices of a column; those of one backbone stand together.
 * @param {ColumnData[]} columns
 */
function columnOptions(columns) {
  const option = (/** @type {ColumnData} */ column) => h("option", { value: column.key }, nameOf(column));
  const ofBackbones = columns.filter((column) => column.backbone).map(option);
  return [
    ...columns.filter((column) => !column.backbone).map(option),
    ...(ofBackbones.length ? [h("optgroup", { label: "in a backbone" }, ofBackbones)] : []),
  ];
}
