// @ts-check
"use strict";
/* The filters at the side. */

const BINS = 32;
const STEPS = 200; // of a slider
const PER_BACKBONE = ["fires", "co_firing", "energy", "largest", "private"]; // columns that each backbone has its own of
const OF_PICTURES = [
  ["", "any"],
  ["drawn", "drawn"],
  ["strong", "all strong"],
  ["fired", "none failed"],
  ["weak", "some weak"],
  ["failed", "some failed"],
  ["none", "not drawn"],
];
const KEYS = [
  ["/", "search"],
  ["a", "atlas, and back to the cards"],
  ["l", "copy a link to what is shown"],
  ["arrows", "from card to card, from point to point"],
  ["Enter", "open"],
  ["f", "favourite"],
  ["c", "compare"],
  ["+ −", "in the atlas: zoom in, zoom out"],
  ["shift arrows", "in the atlas: move the map"],
  ["0", "in the atlas: show all"],
  ["← →", "in an open concept: the one before, the next"],
  ["Esc", "close"],
];

/**
 * How many cards have which figure, drawn as bars.
 * @param {ColumnData} column
 * @param {Scale} scale
 */
function histogram(column, scale) {
  const bins = new Array(BINS).fill(0);
  for (const value of column.values)
    if (value !== null) bins[Math.min(BINS - 1, Math.floor(scale.place(value) * BINS))]++;
  const tallest = Math.sqrt(Math.max(...bins)); // by roots: one full bin would flatten all others
  const bars = bins.map((count) => h("i", { style: { height: `${(100 * Math.sqrt(count)) / tallest}%` } }));
  return h("div", { class: "histogram", "aria-hidden": "true" }, bars);
}

/**
 * One end of a range.
 * @param {string} name
 * @param {"low" | "high"} which
 */
function slider(name, which) {
  const label = `${name}, ${which === "low" ? "at least" : "at most"}`;
  return h("input", { type: "range", min: 0, max: STEPS, step: 1, class: which, "aria-label": label });
}

/**
 * A filter by range: a histogram over two sliders.
 * @param {Page} page
 * @param {ColumnData} column
 * @returns {Control}
 */
function rangeFilter(page, column) {
  const scale = scaleOf(column);
  const [low, high] = [slider(nameOf(column), "low"), slider(nameOf(column), "high")];
  const bounds = h("output");
  const bars = histogram(column, scale);
  const ends = () => [Number(low.value) / STEPS, Number(high.value) / STEPS];
  const paint = () => {
    const [from, to] = ends();
    const range = page.view.ranges[column.key] ?? [scale.low, scale.high];
    bounds.textContent = range.map((value) => figure(value, column.kind)).join(" – ");
    low.setAttribute("aria-valuetext", figure(scale.value(from), column.kind));
    high.setAttribute("aria-valuetext", figure(scale.value(to), column.kind));
    bars.style.setProperty("--from", `${100 * from}%`);
    bars.style.setProperty("--to", `${100 * to}%`);
  };
  const applyMove = (/** @type {HTMLInputElement} */ input) => {
    if (Number(low.value) > Number(high.value)) input.value = input === low ? high.value : low.value;
    const [from, to] = ends();
    const ranges = { ...page.view.ranges };
    if (from <= 0 && to >= 1) delete ranges[column.key];
    else ranges[column.key] = [roundForAddress(scale.value(from)), roundForAddress(scale.value(to))];
    page.update({ ranges });
  };
  for (const input of [low, high]) input.addEventListener("input", () => applyMove(input));
  return {
    element: rangeElement(page.data, column, bounds, bars, [low, high]),
    sync() {
      const range = page.view.ranges[column.key];
      low.value = String(range ? Math.round(STEPS * scale.place(range[0])) : 0);
      high.value = String(range ? Math.round(STEPS * scale.place(range[1])) : STEPS);
      paint();
    },
  };
}

/** @param {number} value as it stands in an address */
const roundForAddress = (value) => Number(value.toPrecision(6));

/**
 * @param {PageData} data
 * @param {ColumnData} column
 * @param {HTMLElement} bounds
 * @param {HTMLElement} bars
 * @param {HTMLElement[]} sliders
 */
function rangeElement(data, column, bounds, bars, sliders) {
  const row = column.backbone === null ? -1 : data.backbones.indexOf(column.backbone);
  const name = row < 0 ? h("span", {}, column.label) : backboneName(data, row);
  return h(
    "div",
    { class: "range-filter", title: `${column.label}: ${column.description}` },
    h("div", { class: "range-head" }, name, bounds),
    bars,
    h("div", { class: "sliders" }, sliders),
  );
}

/** @param {string[][]} pairs values and what they are called */
const options = (pairs) => pairs.map(([value, text]) => h("option", { value }, text));

/**
 * A filter by one of several values.
 * @param {Page} page
 * @param {"label" | "fires" | "not" | "pictures"} key
 * @param {string} label
 * @param {string[][]} pairs values and what they are called
 */
function choice(page, key, label, pairs) {
  const select = h("select", {}, options(pairs));
  select.addEventListener("change", () => page.update({ [key]: select.value }));
  return {
    element: h("label", { class: "select-filter" }, h("span", {}, label), select),
    sync: () => void (select.value = page.view[key]),
    select,
  };
}

/**
 * The filter by label: the reader's own names, and what concepts follow; hidden while there is nothing to choose.
 * @param {Page} page
 * @returns {Control}
 */
function labelFilter(page) {
  const { data, labels } = page;
  const label = choice(page, "label", "Label", []);
  const auroc = data.column.get("auroc")?.values;
  /** @type {Map<string, number>} */
  const counts = new Map();
  data.cards.forEach(({ follows }, at) => {
    if (follows && (auroc?.[at] ?? 0) >= FOLLOWS_AUROC) counts.set(follows, (counts.get(follows) ?? 0) + 1);
  });
  const factorPairs = [...counts].sort().map(([name, count]) => [name, `${name} (${count})`]);
  const group = (/** @type {string} */ groupLabel, /** @type {string[][]} */ pairs) =>
    pairs.length ? [h("optgroup", { label: groupLabel }, options(pairs))] : [];
  const fill = () => {
    const names = [...new Set([...labels.labelsById.values()].map((each) => each.name).filter(Boolean))].sort();
    label.select.replaceChildren(
      h("option", { value: "" }, "any"),
      ...group(
        "my names",
        names.map((name) => [`own:${name}`, name]),
      ),
      ...group(`follows (AUROC ≥ ${FOLLOWS_AUROC})`, factorPairs),
    );
    label.element.hidden = !names.length && !counts.size;
    label.sync();
  };
  fill();
  labels.listeners.push(fill);
  return label;
}

/**
 * The filter by backbones that fire a concept and others that do not.
 * @param {Page} page
 * @returns {Control}
 */
function firingFilter(page) {
  const names = page.data.backbones.map((name) => [name, name]);
  const fires = choice(page, "fires", "fires in", [["", "any"], ...names]);
  const not = choice(page, "not", "but not in", [["", "–"], ...names]);
  const label = "percent of the patches from which a concept counts as firing";
  const threshold = h("input", {
    type: "number",
    min: 0,
    max: 100,
    step: "any",
    class: "firing-threshold",
    "aria-label": label,
  });
  threshold.addEventListener("change", () => {
    page.update({ threshold: Math.max(0, Number(threshold.value) || 0) / 100 });
  });
  return {
    element: h(
      "fieldset",
      {},
      h("legend", {}, "Fires in one, not in another"),
      h("div", { class: "firing-selects" }, fires.element, not.element),
      h("p", { class: "note" }, "firing: in at least ", threshold, " % of the patches"),
    ),
    sync() {
      fires.sync();
      not.sync();
      threshold.value = String(+(100 * page.view.threshold).toPrecision(4));
    },
  };
}

/**
 * Names and notes, out of this browser and into it.
 * @param {Page} page
 */
function exchange({ labels, importLabels }) {
  const explanation = [
    "Kept in this browser. Exported, they name concepts on the command line: ",
    h("code", {}, "--labels FILE"),
    ".",
  ];
  const unstored = ["This browser stores nothing for pages opened from disk: export before you leave."];
  const note = h("p", { id: "storage-note", class: "note" });
  const sayStored = () => note.replaceChildren(...(labels.storable ? explanation : unstored));
  sayStored();
  labels.listeners.push(sayStored);
  const file = h("input", { id: "import", type: "file", accept: ".json,application/json", class: "visually-hidden" });
  file.tabIndex = -1;
  file.ariaHidden = "true";
  file.addEventListener("change", () => importLabels(file));
  const save = () => download("labels.json", labels.asJson(), "application/json");
  return h(
    "div",
    { class: "label-exchange" },
    h("h2", {}, "Names and notes"),
    note,
    h(
      "div",
      { class: "buttons" },
      h("button", { id: "export", onclick: save }, "Export"),
      h("button", { onclick: () => file.click() }, "Import"),
      file,
    ),
    h("p", { id: "import-status", role: "status", class: "note" }),
  );
}

function keyboardHelp() {
  const rows = KEYS.map(([key, action]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, action)]);
  return h("details", { class: "keyboard-help" }, h("summary", {}, "Keyboard"), h("dl", {}, rows));
}

/**
 * Build the panel.
 * @param {Page} page
 * @param {HTMLElement} element
 * @returns {() => void} what brings it in line with the view
 */
function makePanel(page, element) {
  const { data } = page;
  /** @type {Control[]} */
  const controls = [];
  const add = (/** @type {Control} */ control) => {
    controls.push(control);
    return control.element;
  };
  const useful = data.columns.filter((column) => column.values.filter((value) => value !== null).length > 1);
  const comparable = data.backbones.length > 1 && data.column.has(`fires.${data.backbones[0]}`);
  const groups = PER_BACKBONE.map((kind) =>
    useful.filter(({ backbone, key }) => backbone && key.startsWith(`${kind}.`)),
  );
  const close = h("button", { class: "text-button close-panel", onclick: () => page.togglePanel(false) }, "Close");
  const parts = [
    h("div", { class: "panel-head" }, h("h2", {}, "Filters"), close),
    add(labelFilter(page)),
    comparable ? add(firingFilter(page)) : "",
    data.runs.length ? add(choice(page, "pictures", "Pictures", OF_PICTURES)) : "",
    ...useful.filter((column) => !column.backbone).map((column) => add(rangeFilter(page, column))),
    ...groups
      .filter((group) => group.length)
      .map((group) => {
        const summary = h("summary", { title: group[0].description }, `${group[0].label} by backbone`);
        return h(
          "details",
          {},
          summary,
          group.map((column) => add(rangeFilter(page, column))),
        );
      }),
    exchange(page),
    keyboardHelp(),
  ];
  element.replaceChildren(...parts);
  return () => controls.forEach((control) => control.sync());
}
