// @ts-check
"use strict";
/* Favourites, names and notes: the USAE's own, and over them what this browser keeps for it; exported as the JSON that
   --labels reads. */

class Labels {
  /** @type {Map<string, Label>} */
  labelsById = new Map();
  /** @type {(() => void)[]} */
  listeners = [];
  storable = true; // whether the browser lets us keep anything

  /** @param {UsaeData} usae of the page's data: the labels belong to its weights, whatever run shows them */
  constructor(usae) {
    this.usae = usae;
    this.key = `usae-labels:${usae.sha256 || usae.source || "unknown"}`;
    this.#merge(usae.names.map((each) => [String(each.concept), each]));
    try {
      this.#merge(storedJson(this.key) ?? []);
    } catch {
      this.storable = false;
    }
  }

  /**
   * @param {string} id
   * @returns {Label}
   */
  of(id) {
    return this.labelsById.get(id) || { name: "", note: "", favourite: false };
  }

  get favourites() {
    return [...this.labelsById.values()].filter((label) => label.favourite).length;
  }

  /**
   * @param {string} id
   * @param {Partial<Label>} change
   */
  set(id, change) {
    const label = { ...this.of(id), ...change };
    if (label.name || label.note || label.favourite) this.labelsById.set(id, label);
    else this.labelsById.delete(id);
    this.#store();
  }

  /** @param {string} id */
  toggleFavourite(id) {
    this.set(id, { favourite: !this.of(id).favourite });
  }

  /** What --concept would know, were these labels exported: the USAE's own names that no label here has, then these. */
  get nameable() {
    const readers = this.conceptLabels;
    const names = new Set(readers.map(({ name }) => normalizeName(name)));
    return [...this.usae.names.filter(({ name }) => !names.has(normalizeName(name))), ...readers];
  }

  /** Those of concepts, in the concepts' order: other objectives have no number that a file could name them by. */
  get conceptLabels() {
    return [...this.labelsById]
      .filter(([id]) => /^\d+$/.test(id))
      .map(([id, { name, favourite, note }]) => ({ concept: Number(id), name, favourite, note }))
      .sort((a, b) => a.concept - b.concept);
  }

  /** As the file that --labels reads. */
  asJson() {
    const labels = this.conceptLabels;
    return JSON.stringify({ schema: 1, usae: this.usae.source, usae_sha256: this.usae.sha256, labels }, null, 2) + "\n";
  }

  /**
   * Take an exported file over what is here; throws an Error that says what is wrong with it.
   * @param {string} text
   */
  import(text) {
    let file;
    try {
      file = JSON.parse(text);
    } catch {
      throw new Error("This is not a JSON file.");
    }
    if (file?.schema !== 1 || !Array.isArray(file.labels))
      throw new Error("This is not a labels file of this page's kind (schema 1).");
    if (file.usae_sha256 && this.usae.sha256 && file.usae_sha256 !== this.usae.sha256)
      throw new Error(
        `These labels are of another USAE (${file.usae ?? "unnamed"}, ${String(file.usae_sha256).slice(0, 12)}).`,
      );
    for (const label of file.labels) checkLabel(label, this.usae.n_concepts);
    this.#merge(file.labels.map((/** @type {LabelData} */ each) => [String(each.concept), each]));
    this.#store();
    return file.labels.length;
  }

  /** @param {[string, Partial<Label>][]} entries */
  #merge(entries) {
    for (const [id, label] of entries) {
      const [name, note] = [String(label.name ?? ""), String(label.note ?? "")];
      const valid = !nameProblem(name); // one that an older page took is kept as a note: its file would be refused
      this.labelsById.set(String(id), {
        name: valid ? name : "",
        note: valid ? note : [name, note].filter(Boolean).join("\n"),
        favourite: Boolean(label.favourite),
      });
    }
  }

  #store() {
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.labelsById]));
      this.storable = true;
    } catch {
      this.storable = false;
    }
    for (const listener of this.listeners) listener();
  }
}

/** @type {Record<string, string>} what a label of a file may have beside its concept */
const LABEL_PARTS = { name: "string", note: "string", favourite: "boolean" };

/**
 * A label of a file; throws an Error that says what is wrong with it.
 * @param {any} label
 * @param {number | null} count of concepts; null: not known
 */
function checkLabel(label, count) {
  const { concept, ...parts } = label ?? {};
  if (!Number.isInteger(concept) || concept < 0) throw new Error("A label without the number of its concept.");
  if (count !== null && concept >= count) throw new Error(`No concept ${concept}: this USAE has ${count}.`);
  for (const [part, value] of Object.entries(parts))
    if (typeof value !== LABEL_PARTS[part])
      throw new Error(`Concept ${concept}: “${part}” is not as this page exports it.`);
  const problem = nameProblem(parts.name ?? "");
  if (problem) throw new Error(`Concept ${concept} cannot be called “${parts.name}”. ${problem}`);
}
