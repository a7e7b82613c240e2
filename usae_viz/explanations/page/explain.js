"use strict";
/* One photograph at a time: a list of concepts in an order, and the concept under the pointer in every backbone. */

let data, photograph, place = 0, current = null;

/** data.js calls this. */
function explained(given) {
  data = given;
  const pick = byId("photographs");
  pick.append(...data.photographs.map((each, at) => h("option", { value: String(at) }, each.name)));
  pick.addEventListener("change", () => showPhotograph(Number(pick.value)));
  byId("photographs-pick").hidden = data.photographs.length < 2;
  byId("order").addEventListener("change", fill);
  showPhotograph(0);
}

function showPhotograph(at) {
  place = at;
  photograph = data.photographs[at];
  byId("title").textContent = photograph.name;
  byId("about").textContent = data.backbones.map((name) => {
    const answer = photograph.backbones[name].answer;
    return answer ? `${name} answers ${answer.name}, ${Math.round(100 * answer.probability)}%` : name;
  }).join(" · ");
  byId("order").replaceChildren(...orders().map((each, number) => h("option", { value: String(number) }, each.label)));
  fill();
}

/** What the list can show: each has concepts in order, and what stands at the right of a row. */
function orders() {
  const found = [];
  for (const name of data.backbones) {
    const own = photograph.backbones[name];
    if (own.asked) found.push({
      label: `${name}: what carries “${own.asked.name}”`,
      meaning: `what the logit of “${own.asked.name}” loses when the concept is taken away; ~ is estimated by the gradient, all others are exact`,
      rows: sorted(own.concepts.filter((row) => row.estimate !== undefined), (row) => row.exact ?? row.estimate),
      value: (row) => signed(row.exact ?? row.estimate, row.exact === null ? "~" : ""),
    });
    const why = own.no_importance ? ` (${own.no_importance})` : "";
    found.push({ label: `${name}: largest code`, meaning: `largest code of any patch${why}`, rows: sorted(fires(own), (row) => row.peak), value: (row) => row.peak.toFixed(2) });
    found.push({ label: `${name}: largest area`, meaning: "share of the patches in which it fires", rows: sorted(fires(own), (row) => row.area), value: (row) => percent(row.area) });
    if (data.backbones.length > 1) found.push({ label: `only ${name}`, meaning: `concepts that fire in ${name} alone, and its largest code`, rows: listed(own, photograph.only[name]), value: (row) => row.peak.toFixed(2) });
  }
  if (data.backbones.length > 1) {
    const first = photograph.backbones[data.backbones[0]];
    found.push({ label: "what all agree on", meaning: "concepts that fire in every backbone, first those that are strong in all; the area in each", rows: listed(first, photograph.agreed), value: (row) => data.backbones.map((name) => percent(rowOf(name, row.concept).area)).join(" ") });
  }
  return found;
}

const fires = (own) => own.concepts.filter((row) => row.area > 0);
const sorted = (rows, of) => rows.toSorted((one, other) => of(other) - of(one));
const rowOf = (name, concept) => photograph.backbones[name].concepts.find((row) => row.concept === concept);
const listed = (own, concepts) => concepts.map((concept) => own.concepts.find((row) => row.concept === concept)).filter(Boolean);
const percent = (share) => `${Math.round(100 * share)}%`;
const signed = (value, before = "") => h("span", { class: value > 0 ? "for" : "against" }, `${before}${value > 0 ? "+" : ""}${value.toFixed(2)}`);

/** The list, in the order that is chosen. */
function fill() {
  const order = orders()[Number(byId("order").value || 0)];
  byId("meaning").textContent = order.meaning;
  byId("concepts").replaceChildren(...order.rows.map((row) => h("li", {}, h("button", {
    type: "button", "data-concept": String(row.concept),
    onpointerenter: () => show(row.concept), onfocus: () => show(row.concept), onclick: () => show(row.concept),
  }, h("b", {}, String(row.concept)), h("span", { class: "name" }, photograph.names[row.concept] ?? ""), order.value(row)))));
  if (order.rows.length) show(order.rows[0].concept);
  else byId("meaning").textContent += ": there is none";
}

/** A concept in every backbone, its patches and its drawings. */
function show(concept) {
  current = concept;
  for (const button of byId("concepts").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.concept === String(concept)));
  const name = photograph.names[concept];
  byId("concept").textContent = `Concept ${concept}${name ? `: ${name}` : ""}`;
  byId("maps").replaceChildren(...data.backbones.map((backbone) => map(backbone, concept)));
  byId("more").replaceChildren(...[patches(concept), drawings(concept)].filter(Boolean));
}

/** The photograph under one backbone's map. */
function map(backbone, concept) {
  const row = rowOf(backbone, concept), own = photograph.backbones[backbone];
  const canvas = h("canvas", { "aria-hidden": "true" });
  const { left, top, side } = photograph.seen, { width, height } = photograph;
  for (const [key, value] of Object.entries({ left: left / width, top: top / height, width: side / width, height: side / height })) canvas.style.setProperty(key, `${100 * value}%`);
  spotlight(canvas, row.light, own.grid);
  const far = h("div", { class: "beside" });
  const over = 0.001; // so that no seam is seen between the two
  const [l, t, r, b] = [left / width + over, top / height + over, (left + side) / width - over, (top + side) / height - over].map((edge) => `${100 * edge}%`);
  far.style.setProperty("clip-path", `polygon(evenodd, 0 0, 100% 0, 100% 100%, 0 100%, 0 0, ${l} ${t}, ${r} ${t}, ${r} ${b}, ${l} ${b}, ${l} ${t})`);
  const drop = row.exact ?? row.estimate;
  return h("figure", {},
    h("div", { class: "stack" }, h("img", { src: `explain/photograph-${place}.webp`, alt: "", width, height }), far, canvas),
    h("figcaption", {}, h("b", {}, backbone), row.area ? ` · peak ${row.peak.toFixed(2)} · ${percent(row.area)} of ${own.grid.join(" x ")} patches` : " · does not fire",
      row.area && drop !== undefined ? [" · ", signed(drop, row.exact === null ? "~" : ""), ` for ${own.asked.name}`] : null));
}

/** What fires keeps its light, the rest is dimmed. */
function spotlight(canvas, light, [rows, columns]) {
  canvas.width = columns;
  canvas.height = rows;
  const own = light ? Uint8Array.from(atob(light), (sign) => sign.charCodeAt(0)) : new Uint8Array(rows * columns);
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  own.forEach((each, patch) => pixels.data.set([8, 10, 16, Math.round(180 * (1 - each / 255))], 4 * patch));
  context.putImageData(pixels, 0, 0);
}

function patches(concept) {
  const counts = data.patches[concept];
  if (!counts) return data.no_patches ? h("p", {}, `Top-activating patches: ${data.no_patches}`) : null;
  return h("div", { class: "strips" }, h("h3", {}, "Top-activating patches"), data.backbones.map((name, row) => h("div", {}, h("span", {}, name), strip(concept, row))));
}

function strip(concept, row) {
  const steps = Math.max(1, data.backbones.length - 1);
  return h("i", { class: "strip", style: { "--tiles": String(data.tiles), "background-image": `url(explain/patches/${concept}.webp)`, "background-position": `0 ${(100 * row) / steps}%` } });
}

function drawings(concept) {
  const found = data.drawings[concept];
  if (!found) return null;
  return h("div", {}, h("h3", {}, "Drawn"), h("div", { class: "drawings" }, found.map((each) => h("figure", {},
    h("img", { src: address("explain/drawings/", each.file), alt: `drawn for ${each.backbone}` }), h("figcaption", {}, each.backbone, each.verdict ? `, ${each.verdict}` : "")))));
}
