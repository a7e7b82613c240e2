// @ts-check
"use strict";
/* Concepts as a person writes them, in the one syntax of --concept: what usae_viz/concepts/parsing.py and
   usae_train/model/concept_names.py say in Python. A test gives both the same texts. */

const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu; // Python's
const WHOLE = /^-?\d+$/;
const RANGE = /^(\d+)\s*[-\u2010-\u2015\u2212]\s*(\d+)$/; // with a hyphen, or with what editors put in its place
const RANGE_OF_ANY = /^\p{Nd}+[-\u2010-\u2015\u2212]\p{Nd}+$/u; // in whichever digits
const TOP = "top:";
const WILD = /[*?[]/;
const TAKEN = ["all", "favourites"]; // mean something of their own
const CHANCE_AUROC = 0.6; // AUROC below which a label says nothing of a concept, as in usae_viz/concepts/followed.py

/**
 * How names are compared: small letters, no spaces.
 * @param {string} name
 */
const normalizeName = (name) => name.toLowerCase().replace(SPACES, "");

/**
 * What is wrong with a name, or "": it must not read as anything else that --concept takes.
 * @param {string} name
 */
function nameProblem(name) {
  const spelling = normalizeName(name);
  if (spelling.includes(",")) return "A name has no comma: --concept splits there.";
  if (/^-?\p{Nd}+$/u.test(spelling)) return "A name is not a number: --concept takes numbers for concepts.";
  if (RANGE_OF_ANY.test(spelling)) return "A name is not a range such as 40-42: --concept takes it for concepts.";
  if (WILD.test(spelling)) return "A name has no *, ? or [: --concept takes it for a pattern.";
  if (spelling.startsWith(TOP) || TAKEN.includes(spelling))
    return "“top:”, “all” and “favourites” have a meaning of their own.";
  return "";
}

/**
 * Which concepts each name means, by the name in small letters without spaces.
 * @param {LabelData[]} labels
 * @returns {Map<string, number[]>}
 */
function numbersOf(labels) {
  const numbers = new Map();
  for (const { concept, name, favourite } of labels)
    for (const key of [normalizeName(name), favourite ? "favourites" : ""])
      if (key) numbers.set(key, [...(numbers.get(key) ?? []), concept]);
  return numbers;
}

/**
 * The concepts that a text means, each once, in its order; throws an Error that says what is wrong with it.
 * @param {string} text
 * @param {UsaeData} usae
 * @param {LabelData[]} labels go before all else
 */
function parseConcepts(text, usae, labels) {
  const names = numbersOf(labels);
  const parts = text.split(",").map((part) => part.trim());
  const concepts = parts.flatMap(
    (part) => names.get(normalizeName(part)) ?? (part ? conceptsOfPart(part, usae, names) : []),
  );
  if (!concepts.length) throw new Error(`No concept in “${text}”.`);
  return [...new Set(concepts)];
}

/**
 * Whether a text can mean nothing but concepts, so that it is not looked for in words.
 * @param {string} text
 */
function isSyntax(text) {
  return nameProblem(text) !== "";
}

/**
 * @param {string} part
 * @param {UsaeData} usae
 * @param {Map<string, number[]>} names
 */
function conceptsOfPart(part, usae, names) {
  const range = RANGE.exec(part);
  if (WHOLE.test(part)) return [knownConcept(usae, Number(part))];
  if (part.toLowerCase() === "all") return numbersBetween(0, (usae.n_concepts ?? 0) - 1);
  if (range) return conceptsBetween(part, usae, Number(range[1]), Number(range[2]));
  if (normalizeName(part).startsWith(TOP)) return mostUniversal(part, usae);
  if (WILD.test(part)) return conceptsMatching(part, usae, names);
  return [conceptLabelled(part, usae)];
}

/**
 * @param {number} first
 * @param {number} last
 */
const numbersBetween = (first, last) => Array.from({ length: last - first + 1 }, (_, step) => first + step);

/**
 * @param {UsaeData} usae
 * @param {number} concept
 */
function knownConcept({ n_concepts: count }, concept) {
  if (concept >= 0 && (count === null || concept < count)) return concept;
  throw new Error(
    `There is no concept ${concept}` + (count === null ? "." : `: they are numbered 0 to ${(count ?? 0) - 1}.`),
  );
}

/**
 * @param {string} part
 * @param {UsaeData} usae
 * @param {number} first
 * @param {number} last
 */
function conceptsBetween(part, usae, first, last) {
  if (knownConcept(usae, first) > knownConcept(usae, last))
    throw new Error(`“${part}”: the smaller number goes first.`);
  if (last - first >= MAX_IN_RANGE) throw new Error(`“${part}”: more concepts than any page has.`);
  return numbersBetween(first, last);
}

const MAX_IN_RANGE = 1e6; // of a page that does not know how many concepts there are

/**
 * @param {string} part
 * @param {UsaeData} usae
 */
function mostUniversal(part, { top }) {
  const count = part.slice(part.indexOf(":") + 1).trim();
  if (!top) throw new Error("“top:” needs the USAE's statistics, which this page was made without.");
  if (WHOLE.test(count) && Number(count) >= 1 && Number(count) <= top.length) return top.slice(0, Number(count));
  throw new Error(`“${part}”: top: and a number from 1 to ${top.length}.`);
}

/**
 * The concepts whose names match, and those that follow best the factor values that do: `red` or `colour:red`.
 * @param {string} part
 * @param {UsaeData} usae
 * @param {Map<string, number[]>} names
 */
function conceptsMatching(part, { factors }, names) {
  const pattern = patternOf(normalizeName(part));
  const named = [...names].filter(([name]) => pattern.test(name)).flatMap(([, concepts]) => concepts);
  const values = factors.filter(({ value }) => valueNames(value).some((name) => pattern.test(name)));
  const concepts = [...named, ...values.filter(({ auroc }) => auroc >= CHANCE_AUROC).map(({ concept }) => concept)];
  if (!concepts.length) throw new Error(`No name or label matches “${part}”.`);
  return concepts;
}

/**
 * @param {string} part
 * @param {UsaeData} usae
 */
function conceptLabelled(part, { factors }) {
  const label = normalizeName(part);
  const value =
    factors.findLast((factor) => normalizeName(factor.value) === label) ??
    factors.findLast((factor) => valueNames(factor.value).includes(label));
  if (!value) throw new Error(`No concept is called “${part}”.`);
  if (value.auroc >= CHANCE_AUROC) return value.concept;
  throw new Error(`No concept follows “${part}”: the nearest, ${value.concept}, is at chance.`);
}

/**
 * What a factor value is called: `colour:red` and `red`.
 * @param {string} value
 */
const valueNames = (value) => [normalizeName(value), normalizeName(value.slice(value.indexOf(":") + 1))];

/**
 * A pattern of *, ?, [seq] and [!seq] as Python's fnmatch reads it. Several * are one: eight of them take 10 s to not
 * match a name of 40 letters.
 * @param {string} pattern
 */
function patternOf(pattern) {
  const source = pattern.replace(/\*+|\?|\[(?!!\][^\]]*$)(!?)(\][^\]]*|[^\]]+)\]|[^]/gu, (sign, not, among) => {
    if (sign.startsWith("*")) return ".*";
    if (sign === "?") return ".";
    if (among !== undefined) return `[${not ? "^" : ""}${among.replace(/[\\\][^|]/g, "\\$&")}]`;
    return sign.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
  });
  try {
    return new RegExp(`^(?:${source})$`, "su");
  } catch {
    return /(?!)/; // of a sequence from a later sign to an earlier one: nothing lies in it
  }
}
