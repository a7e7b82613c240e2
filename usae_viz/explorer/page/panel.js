"use strict";
/* The filters at the side. */

const BINS = 32, STEPS = 200;

/** A figure's scale: from a place on the slider, 0..1, to a value and back. Logarithmic where figures span decades. */
function scaleOf(column) {
  const known = column.values.filter((value) => value !== null);
  const low = Math.min(...known), high = Math.max(...known);
  const positive = known.filter((value) => value > 0);
  const floor = positive.length ? Math.min(...positive) : 1;
  if (column.log && high > 10 * floor) {
    const from = Math.log(floor), to = Math.log(high);
    return { low, high, place: (value) => (value <= floor ? 0 : (Math.log(value) - from) / (to - from)), value: (place) => (place <= 0 ? low : place >= 1 ? high : Math.exp(from + place * (to - from))) };
  }
  return { low, high, place: (value) => (high > low ? (value - low) / (high - low) : 0), value: (place) => (place <= 0 ? low : place >= 1 ? high : low + place * (high - low)) };
}

/** How many cards have which figure, drawn as bars. */
function histogram(column, scale) {
  const bins = new Array(BINS).fill(0);
  for (const value of column.values) if (value !== null) bins[Math.min(BINS - 1, Math.floor(scale.place(value) * BINS))]++;
  const most = Math.sqrt(Math.max(...bins)); // by roots: one full bin would flatten all others
  return h("div", { class: "histogram", "aria-hidden": "true" }, bins.map((count) => h("i", { style: { height: `${(100 * Math.sqrt(count)) / most}%` } })));
}

/** A filter by range: a histogram over two sliders. */
function rangeFilter(page, column) {
  const scale = scaleOf(column);
  const name = column.backbone ? `${column.label}, ${column.backbone}` : column.label;
  const bounds = h("output", {});
  const bars = histogram(column, scale);
  const slider = (which) => h("input", { type: "range", min: 0, max: STEPS, step: 1, class: which, "aria-label": `${name}, ${which === "low" ? "at least" : "at most"}` });
  const low = slider("low"), high = slider("high");
  const read = () => [Number(low.value) / STEPS, Number(high.value) / STEPS];
  const paint = () => {
    const [from, to] = read();
    const range = page.view.ranges[column.key];
    bounds.textContent = `${figure(range ? range[0] : scale.low, column.kind)} – ${figure(range ? range[1] : scale.high, column.kind)}`;
    low.setAttribute("aria-valuetext", figure(scale.value(from), column.kind));
    high.setAttribute("aria-valuetext", figure(scale.value(to), column.kind));
    bars.style.setProperty("--from", `${100 * from}%`);
    bars.style.setProperty("--to", `${100 * to}%`);
  };
  const moved = (event) => {
    if (Number(low.value) > Number(high.value)) event.target.value = event.target === low ? high.value : low.value;
    const [from, to] = read();
    const ranges = { ...page.view.ranges };
    if (from <= 0 && to >= 1) delete ranges[column.key];
    else ranges[column.key] = [scale.value(from), scale.value(to)].map((value) => Number(value.toPrecision(6)));
    page.update({ ranges });
  };
  for (const input of [low, high]) input.addEventListener("input", moved);
  const element = h("div", { class: "range", title: column.about },
    h("div", { class: "range-head" }, column.backbone ? backboneName(page.data, page.data.backbones.indexOf(column.backbone)) : h("span", {}, column.label), bounds), bars, h("div", { class: "sliders" }, low, high));
  return { element, sync() {
    const range = page.view.ranges[column.key];
    low.value = range ? Math.round(STEPS * scale.place(range[0])) : 0;
    high.value = range ? Math.round(STEPS * scale.place(range[1])) : STEPS;
    paint();
  } };
}

function choice(page, key, label, options) {
  const select = h("select", { onchange: () => page.update({ [key]: select.value }) }, options.map(([value, text]) => h("option", { value }, text)));
  return { element: h("label", { class: "choice" }, h("span", {}, label), select), sync: () => (select.value = page.view[key]), select };
}

/** Builds the panel; returns what brings it in line with the view. */
function makePanel(page, element) {
  const { data, labels } = page;
  const parts = [];
  const add = (part) => (parts.push(part), part.element);
  const names = data.backbones.map((name) => [name, name]);
  const label = choice(page, "label", "Label", []);
  const fillLabels = () => {
    const own = [...new Set([...labels.byId.values()].map((each) => each.name).filter(Boolean))].sort();
    const counts = new Map();
    const auroc = data.column.get("auroc")?.values;
    data.cards.forEach((card, at) => { if (card.follows && (auroc?.[at] ?? 0) >= FOLLOWS) counts.set(card.follows, (counts.get(card.follows) || 0) + 1); });
    const options = (pairs) => pairs.map(([value, text]) => h("option", { value }, text));
    label.select.replaceChildren(h("option", { value: "" }, "any"),
      ...(own.length ? [h("optgroup", { label: "my names" }, options(own.map((name) => [`own:${name}`, name])))] : []),
      ...(counts.size ? [h("optgroup", { label: "follows (AUROC ≥ 0.9)" }, options([...counts].sort().map(([name, count]) => [name, `${name} (${count})`])))] : []));
    label.element.hidden = !own.length && !counts.size; // nothing to choose
    label.sync();
  };
  const least = h("input", { type: "number", min: 0, max: 100, step: "any", class: "least", "aria-label": "percent of the patches from which a concept counts as firing", onchange: () => page.update({ least: Math.max(0, Number(least.value) || 0) / 100 }) });
  parts.push({ sync: () => (least.value = +(100 * page.view.least).toPrecision(4)) });
  const columns = (of) => data.columns.filter((column) => of(column) && column.values.filter((value) => value !== null).length > 1);
  const perBackbone = ["fires", "co_firing", "energy", "largest"].map((kind) => columns((column) => column.backbone && column.key.startsWith(`${kind}.`))).filter((group) => group.length);
  element.replaceChildren(
    h("div", { class: "panel-head" }, h("h2", {}, "Filters"), h("button", { class: "text close-panel", onclick: () => page.togglePanel(false) }, "Close")),
    add(label),
    data.columns.some((column) => column.key.startsWith("fires.")) && data.backbones.length > 1 ? h("fieldset", {}, h("legend", {}, "Fires in one, not in another"),
      h("div", { class: "pair" }, add(choice(page, "fires", "fires in", [["", "any"], ...names])), add(choice(page, "not", "but not in", [["", "–"], ...names]))),
      h("p", { class: "fine" }, "firing: in at least ", least, " % of the patches")) : "",
    data.runs.length ? add(choice(page, "pictures", "Pictures", [["", "any"], ["drawn", "drawn"], ["strong", "all strong"], ["fired", "none failed"], ["weak", "some weak"], ["failed", "some failed"], ["none", "not drawn"]])) : "",
    ...columns((column) => !column.backbone).map((column) => add(rangeFilter(page, column))),
    ...perBackbone.map((group) => h("details", {}, h("summary", { title: group[0].about }, `${group[0].label} by backbone`), group.map((column) => add(rangeFilter(page, column))))),
    h("div", { class: "exchange" }, h("h2", {}, "Names and notes"),
      h("p", { class: "fine" }, ...(labels.kept ? ["Kept in this browser. Exported, they name concepts on the command line: ", h("code", {}, "--labels FILE"), "."] : ["This browser keeps nothing for pages from disk: export before you leave."])),
      h("div", { class: "buttons" },
        h("button", { id: "export", onclick: () => download("labels.json", labels.asJson(), "application/json") }, "Export"),
        h("button", { onclick: () => byId("import").click() }, "Import"),
        h("input", { id: "import", type: "file", accept: ".json,application/json", class: "hidden", tabindex: "-1", "aria-hidden": "true", onchange: (event) => page.importLabels(event.target) })),
      h("p", { id: "exchange-says", role: "status", class: "fine" })),
    h("details", { class: "keys" }, h("summary", {}, "Keyboard"), h("dl", {}, [["/", "search"], ["arrows", "from card to card"], ["Enter", "open"], ["f", "favourite"], ["c", "compare"], ["← →", "in an open concept: the one before, the next"], ["Esc", "close"]].flatMap(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]))));
  fillLabels();
  labels.listeners.push(fillLabels);
  return () => parts.forEach((part) => part.sync());
}
