// @ts-check
"use strict";
/* Favourites, names and notes: the USAE's own, and over them what this browser keeps for it; exported as the JSON that
   --labels reads. */

class Labels {
  /** @type {Map<string, Label>} */
  byId = new Map();
  /** @type {(() => void)[]} */
  listeners = [];
  kept = true; // whether the browser lets us keep anything

  /** @param {UsaeData} usae of the page's data: the labels belong to its weights, whatever run shows them */
  constructor(usae) {
    this.usae = usae;
    this.key = `usae-labels:${usae.sha256 || usae.source || "unknown"}`;
    this.#take(usae.names.map((each) => [String(each.concept), each]));
    try {
      this.#take(JSON.parse(localStorage.getItem(this.key) || "[]"));
    } catch {
      this.kept = false;
    }
  }

  /**
   * @param {string} id
   * @returns {Label}
   */
  of(id) {
    return this.byId.get(id) || { name: "", note: "", favourite: false };
  }

  get favourites() {
    return [...this.byId.values()].filter((label) => label.favourite).length;
  }

  /**
   * @param {string} id
   * @param {Partial<Label>} change
   */
  set(id, change) {
    const label = { ...this.of(id), ...change };
    if (label.name || label.note || label.favourite) this.byId.set(id, label);
    else this.byId.delete(id);
    this.#keep();
  }

  /**
   * What is wrong with a name, or "". The command line splits at commas and takes numbers and top:N for themselves.
   * @param {string} name
   */
  static wrong(name) {
    if (/[,\n]/.test(name)) return "A name has no comma: --concept splits there.";
    if (/^-?\d+$/.test(name.trim())) return "A name is not a number: --concept takes numbers for concepts.";
    if (/^(top:|all$|favourites$)/i.test(name.trim()))
      return "“top:”, “all” and “favourites” have a meaning of their own.";
    return "";
  }

  /** As the file that --labels reads. */
  asJson() {
    const labels = [...this.byId]
      .filter(([id]) => /^\d+$/.test(id))
      .map(([id, { name, favourite, note }]) => ({ concept: Number(id), name, favourite, note }))
      .sort((one, two) => one.concept - two.concept);
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
    for (const each of file.labels)
      if (!Number.isInteger(each?.concept) || each.concept < 0)
        throw new Error("A label without the number of its concept.");
    this.#take(file.labels.map((/** @type {LabelData} */ each) => [String(each.concept), each]));
    this.#keep();
    return file.labels.length;
  }

  /** @param {[string, Partial<Label>][]} entries */
  #take(entries) {
    for (const [id, label] of entries)
      this.byId.set(String(id), {
        name: String(label.name ?? ""),
        note: String(label.note ?? ""),
        favourite: Boolean(label.favourite),
      });
  }

  #keep() {
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.byId]));
    } catch {
      this.kept = false;
    }
    for (const listener of this.listeners) listener();
  }
}
