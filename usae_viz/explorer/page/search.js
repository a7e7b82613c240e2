// @ts-check
"use strict";
/* What is searched for: concepts in the syntax of --concept, or words. */

/**
 * What a card can be found by, in small letters.
 * @param {CardData} card
 * @param {Label} label
 */
function haystack(card, label) {
  const subject = card.concept === null ? card.objective : `concept ${card.id}`;
  return [`#${card.id}`, subject, card.follows, label.name, label.note].filter(Boolean).join("\n").toLowerCase();
}

/**
 * What is asked for: concepts where it reads as --concept does, and words unless it can mean nothing else.
 * @param {PageData} data
 * @param {string} query
 * @param {Labels} labels
 * @returns {{concepts: Set<number>, words: string[], problem: string}} problem: why it means no concepts
 */
function parseQuery({ usae }, query, labels) {
  const text = query.trim();
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  try {
    const concepts = new Set(parseConcepts(text, usae, labels.nameable));
    return { concepts, words: isSyntax(text) ? [] : words, problem: "" };
  } catch (error) {
    return { concepts: new Set(), words, problem: error instanceof Error ? error.message : String(error) };
  }
}

/** @type {Filter} */
function inQuery(data, view, labels) {
  if (!view.query.trim()) return () => true;
  const { concepts, words } = parseQuery(data, view.query, labels);
  return (at) => {
    const card = data.cards[at];
    if (card.concept !== null && concepts.has(card.concept)) return true;
    const text = words.length ? haystack(card, labels.of(card.id)) : "";
    return words.length > 0 && words.every((word) => text.includes(word));
  };
}
