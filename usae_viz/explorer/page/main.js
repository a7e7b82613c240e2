"use strict";
/* The page: its data, the view, and what happens when either changes. data.js calls usaeData. */

/** Begin, with what page.py wrote. */
function usaeData(data) {
  data.column = new Map(data.columns.map((column) => [column.key, column]));
  data.place = new Map(data.cards.map((card, at) => [card.id, at]));
  const standard = { ...VIEW, sort: data.column.has("universality") ? "universality" : "index", size: innerWidth < 640 ? "s" : "m" };
  if (standard.sort === "index") standard.descending = false;
  const labels = new Labels(data.usae);
  const page = { data, labels, standard, view: fromHash(location.hash, standard, data), places: [] };
  page.layout = pictureRows(data, page.view);
  const grid = new Grid(page, byId("grid"));
  const sheet = new Sheet(page, byId("sheet"));

  const setAddress = () => history.replaceState(null, "", `#${toHash(page.view, standard)}`);
  const keepAddress = later(setAddress, 150); // browsers limit how often an address may change

  /** Change the view, and show it. */
  page.update = (change) => {
    const before = page.view;
    page.view = { ...before, ...change };
    page.places = select(data, page.view, labels);
    if (before.run !== page.view.run) page.layout = pictureRows(data, page.view);
    glimpse.hide();
    if (before.size !== page.view.size || before.run !== page.view.run) grid.measure();
    else grid.redraw();
    page.say();
    keepAddress();
  };

  /** Bring everything around the cards in line with the view. */
  page.say = () => {
    const { view, places } = page;
    const active = filterCount(view);
    const all = `${data.cards.length.toLocaleString("en")} ${data.cards.length === 1 ? "concept" : "concepts"}`;
    byId("found").textContent = places.length === data.cards.length ? all : `${places.length.toLocaleString("en")} of ${all}`;
    byId("nothing").hidden = places.length > 0;
    byId("reset").hidden = !active && !view.query;
    byId("n-filters").textContent = active;
    byId("n-filters").hidden = !active;
    byId("n-favourites").textContent = labels.favourites;
    byId("favourites").setAttribute("aria-pressed", String(view.favourites));
    byId("direction").textContent = view.descending ? "↓" : "↑";
    byId("direction").setAttribute("aria-label", `Sorted from ${view.descending ? "high to low" : "low to high"}; turn round`);
    byId("sort").value = view.sort;
    byId("size").value = view.size;
    byId("runs").value = view.run;
    if (document.activeElement !== byId("search")) byId("search").value = view.query;
    syncPanel();
    tray();
  };

  page.open = (id) => {
    page.view = { ...page.view, concept: id };
    setAddress();
    sheet.show([id]);
  };
  page.closed = () => {
    const { concept } = page.view;
    page.view = { ...page.view, concept: "" };
    setAddress();
    if (concept) grid.focus(page.places.indexOf(data.place.get(concept)));
  };
  page.compare = (id) => {
    const { compare } = page.view;
    page.update({ compare: compare.includes(id) ? compare.filter((each) => each !== id) : [...compare, id] });
  };
  page.togglePanel = (open) => {
    byId("panel").classList.toggle("open", open);
    byId("filters").setAttribute("aria-expanded", String(open));
    if (open) byId("panel").querySelector("select, input, button")?.focus();
    else byId("filters").focus();
  };
  page.importLabels = async (input) => {
    const says = byId("exchange-says");
    try {
      const count = labels.import(await input.files[0].text());
      says.textContent = `${count} labels imported.`;
    } catch (error) {
      says.textContent = error.message;
    }
    input.value = "";
  };

  /** The concepts chosen for comparison, at the bottom. */
  function tray() {
    const { compare } = page.view;
    byId("tray").hidden = compare.length === 0;
    byId("tray").replaceChildren(
      h("span", {}, "Compare"), ...compare.map((id) => h("button", { class: "chip", "aria-label": `take ${id} out of the comparison`, onclick: () => page.compare(id) }, id, " ✕")),
      h("span", { class: "gap" }), h("button", { class: "text", onclick: () => page.update({ compare: [] }) }, "Clear"),
      h("button", { id: "compare", class: "main", disabled: compare.length < 2, onclick: () => sheet.show([...compare]) }, "Side by side"));
  }

  fillHead(page, standard);
  const syncPanel = makePanel(page, byId("panel"));
  labels.listeners.push(() => {
    page.places = select(data, page.view, labels);
    grid.redraw();
    page.say();
  });
  byId("search").addEventListener("input", (event) => page.update({ query: event.target.value }));
  byId("direction").addEventListener("click", () => page.update({ descending: !page.view.descending }));
  byId("sort").addEventListener("change", (event) => page.update({ sort: event.target.value, descending: !["index", "name"].includes(event.target.value) }));
  byId("size").addEventListener("change", (event) => page.update({ size: event.target.value }));
  byId("runs").addEventListener("change", (event) => page.update({ run: event.target.value }));
  byId("favourites").addEventListener("click", () => page.update({ favourites: !page.view.favourites }));
  byId("filters").addEventListener("click", () => page.togglePanel(!byId("panel").classList.contains("open")));
  byId("reset").addEventListener("click", () => page.update({ query: "", favourites: false, label: "", fires: "", not: "", pictures: "", ranges: {} }, (byId("search").value = "")));
  addEventListener("hashchange", () => { // a link within the page, or an address typed by hand
    const view = fromHash(location.hash, standard, data);
    page.update(view);
    if (opened(view).length) sheet.show(opened(view));
    else if (byId("sheet").open) byId("sheet").close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey || byId("sheet").open) return;
    if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
    else if (event.key.startsWith("Arrow") && event.target === document.body) { grid.focus(0); event.preventDefault(); }
  });

  page.places = select(data, page.view, labels);
  grid.measure();
  page.say();
  if (opened(page.view).length) sheet.show(opened(page.view));
  document.body.dataset.ready = "yes";
}

/** Title, choices of order and run, what is missing. */
function fillHead(page) {
  const { data } = page;
  const { usae } = data;
  const of = [usae.source && `USAE ${usae.source}`, usae.n_concepts && `${usae.n_concepts.toLocaleString("en")} concepts, ${usae.active}`];
  byId("about").append(of.filter(Boolean).join(" · "), " ", ...data.backbones.map((_, row) => backboneName(data, row)),
    ...(data.runs.length === 1 ? [h("span", { class: "about-run", title: data.runs[0].about }, data.runs[0].about)] : []));
  const option = (column) => h("option", { value: column.key }, column.backbone ? `${column.label}, ${column.backbone}` : column.label);
  byId("sort").append(h("option", { value: "index" }, "number"), h("option", { value: "name" }, "label"), ...data.columns.filter((column) => !column.backbone).map(option),
    ...(data.columns.some((column) => column.backbone) ? [h("optgroup", { label: "in a backbone" }, data.columns.filter((column) => column.backbone).map(option))] : []));
  byId("runs-pick").hidden = data.runs.length < 2;
  byId("runs").append(h("option", { value: "all" }, "side by side"), ...data.runs.map((run, number) => h("option", { value: String(number) }, run.name)));
  if (data.missing.length) {
    byId("missing").hidden = false;
    byId("missing").append(...data.missing.slice(0, 5).map((line) => h("p", {}, line)), ...(data.missing.length > 5 ? [h("p", {}, `and ${data.missing.length - 5} more`)] : []));
  }
}
