// @ts-check
"use strict";
/* The page: its data, the view, and what happens when either changes. data.js calls usaeData. */

const NO_FILTERS = { query: "", favourites: false, label: "", fires: "", not: "", pictures: "", ranges: {} };
const NARROW = 640; // pixels
const PANEL_COVERS = "(max-width: 60rem)"; // all else, as in explorer.css

/**
 * Begin, with what page.py wrote.
 * @param {ExplorerData} data
 */
function usaeData(data) {
  const column = new Map(data.columns.map((each) => [each.key, each]));
  const place = new Map(data.cards.map((card, at) => [card.id, at]));
  new Explorer({ ...data, column, place }).begin();
  document.body.dataset.ready = "yes";
}

/**
 * What a page shows at first.
 * @param {PageData} data
 * @returns {View}
 */
function standardView(data) {
  const rated = data.column.has("universality");
  const colour = rated ? "universality" : (data.columns[0]?.key ?? "");
  return {
    ...VIEW,
    sort: rated ? "universality" : "index",
    descending: rated,
    colour,
    size: innerWidth < NARROW ? "s" : "m",
  };
}

/** @implements {Page} */
class Explorer {
  /** @type {number[]} */
  places = [];
  #scrolled = 0; // pixels, of the cards, while the atlas is shown

  /** @param {PageData} data */
  constructor(data) {
    this.data = data;
    this.labels = new Labels(data.usae);
    this.standard = standardView(data);
    this.view = fromHash(location.hash, this.standard, data);
    this.layout = pictureRows(data, this.view);
    this.grid = new Grid(this, byId("grid"));
    this.atlas = data.atlas && new Atlas(this, data.atlas);
    this.sheet = new Sheet(this, byId("sheet", HTMLDialogElement));
    this.syncPanel = makePanel(this, byId("panel"));
    this.keepAddress = debounce(() => this.setAddress(), ADDRESS_DELAY);
  }

  /** What the cards are laid out in. @returns {Scene} */
  get scene() {
    return this.view.scene === "atlas" && this.atlas ? this.atlas : this.grid;
  }

  begin() {
    fillHead(this.data);
    listen(this);
    this.labels.listeners.push(() => this.update({}));
    this.places = select(this.data, this.view, this.labels);
    this.#showScene();
    this.syncControls();
    this.#openFromAddress();
  }

  get address() {
    return `#${toHash(this.view, this.standard)}`;
  }

  setAddress = () => history.replaceState(null, "", this.address);

  /**
   * A change that the browser's button takes back: something is opened, closed, turned to.
   * @param {() => void} change of the view
   */
  #pushHistory(change) {
    this.setAddress(); // which follows the view a moment later
    change();
    if (this.address !== location.hash) history.pushState(null, "", this.address);
  }

  /** @param {Partial<View>} change */
  update = (change) => {
    preserveFocus(() => this.#update(change));
    this.keepAddress();
  };

  /** @param {Partial<View>} change */
  #update(change) {
    const before = this.view;
    this.view = { ...before, ...change };
    this.places = select(this.data, this.view, this.labels);
    glimpse.hide();
    if (before.run !== this.view.run) this.layout = pictureRows(this.data, this.view);
    if (before.scene !== this.view.scene) this.#showScene();
    else if (before.size !== this.view.size || before.run !== this.view.run) this.scene.measure();
    else this.scene.redraw();
    this.syncControls();
  }

  /** Show the grid or the atlas. */
  #showScene() {
    const atlas = this.scene === this.atlas;
    const changed = byId("atlas").hidden === atlas;
    if (changed && atlas) this.#scrolled = scrollY;
    byId("grid").hidden = atlas;
    byId("atlas").hidden = !atlas;
    this.scene.measure();
    if (changed) scrollTo({ top: atlas ? 0 : this.#scrolled });
  }

  /**
   * From the cards to the atlas, or back.
   * @param {boolean} focused whether the focus goes along, to the same concept
   */
  toggleScene(focused) {
    const { current } = this.scene;
    this.#pushHistory(() => this.update({ scene: this.scene === this.atlas ? "cards" : "atlas" }));
    if (focused && current !== null) this.scene.focus(this.places.indexOf(current));
    else if (focused) this.scene.enter();
  }

  /** Bring everything around the cards in line with the view. */
  syncControls() {
    const { view, places, data } = this;
    const active = filterCount(view);
    const all = `${data.cards.length.toLocaleString("en")} ${data.cards.length === 1 ? "concept" : "concepts"}`;
    const filtered = places.length !== data.cards.length;
    byId("result-count").textContent = filtered ? `${places.length.toLocaleString("en")} of ${all}` : all;
    const problem = places.length || !view.query.trim() ? "" : parseQuery(data, view.query, this.labels).problem;
    byId("no-results").textContent =
      `No concept fits ${filterCount(view) ? "these filters" : "this search"}. ${problem}`;
    byId("no-results").hidden = places.length > 0;
    byId("clear-filters").hidden = !active && !view.query;
    const drawnCount = data.cards.filter((card) => card.run_pictures.length).length;
    byId("only-drawn").textContent = `Only the ${drawnCount.toLocaleString("en")} drawn`;
    byId("only-drawn").hidden = !drawnCount || drawnCount === data.cards.length || view.pictures !== "";
    byId("filter-count").textContent = String(active);
    byId("filter-count").hidden = !active;
    byId("favourite-count").textContent = String(this.labels.favourites);
    byId("favourites").ariaPressed = String(view.favourites);
    byId("atlas-toggle").ariaPressed = String(view.scene === "atlas");
    syncOrder(view);
    document.body.dataset.scene = view.scene; // what sorts and sizes cards has no place beside the atlas
    const search = byId("search", HTMLInputElement);
    if (document.activeElement !== search) search.value = view.query;
    this.syncPanel();
    showTray(this);
  }

  /** @param {string} id */
  open = (id) => this.#open({ concept: id });

  sideBySide = () => this.#open({ concept: "", side: true });

  /** @param {Partial<View>} change */
  #open(change) {
    const apply = () => void (this.view = { ...this.view, ...change });
    if (this.sheet.dialog.open)
      apply(); // from one to the next: no step of its own
    else this.#pushHistory(apply);
    this.setAddress();
    this.sheet.show(openIds(this.view));
  }

  closed = () => {
    const { ids } = this.sheet;
    if (openIds(this.view).length)
      this.#pushHistory(() => void (this.view = { ...this.view, concept: "", side: false }));
    if (ids.length > 1) document.getElementById("compare")?.focus({ preventScroll: true });
    else this.scene.focus(this.places.indexOf(this.data.place.get(ids[0]) ?? -1));
    if (!hasFocus()) byId("cards").focus({ preventScroll: true });
  };

  /** @param {string} viewport */
  setViewport = (viewport) => {
    this.view = { ...this.view, viewport };
    this.keepAddress();
  };

  /** @param {string} id */
  compare = (id) => {
    const { compare } = this.view;
    this.update({ compare: compare.includes(id) ? compare.filter((each) => each !== id) : [...compare, id] });
  };

  /** @param {boolean} open */
  togglePanel = (open) => {
    const [panel, button] = [byId("panel"), byId("filters")];
    panel.classList.toggle("open", open);
    button.ariaExpanded = String(open);
    for (const behind of [within(document, "header.page-header"), byId("cards"), byId("comparison-tray")])
      behind.inert = open;
    const first = open ? within(panel, ".close-panel") : button;
    first.focus();
  };

  /** @param {HTMLInputElement} input */
  importLabels = async (input) => {
    const status = byId("import-status");
    try {
      const [file] = input.files ?? [];
      if (file) status.textContent = `${this.labels.import(await file.text())} labels imported.`;
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
    }
    input.value = "";
  };

  /** @param {HTMLElement} status where to say that it was done */
  copyLink = async (status) => {
    this.setAddress();
    showStatus(status, await copyAddress());
  };

  /**
   * The address was changed by a link within the page, or by hand.
   * @param {string} hash what it was changed to: the page may have set its own since
   */
  applyAddress(hash) {
    preserveFocus(() => this.#update(fromHash(hash, this.standard, this.data)));
    this.setAddress(); // at once: a moment later one may have gone on
    byId("search", HTMLInputElement).value = this.view.query;
    if (!this.#openFromAddress()) this.sheet.hide();
  }

  #openFromAddress() {
    const ids = openIds(this.view);
    if (ids.length) this.sheet.show(ids);
    return ids.length > 0;
  }
}

/** @param {View} view */
function syncOrder(view) {
  const direction = byId("sort-direction");
  direction.textContent = view.descending ? "↓" : "↑";
  direction.ariaLabel = `Sorted from ${view.descending ? "high to low" : "low to high"}; reverse the order`;
  byId("sort", HTMLSelectElement).value = view.sort;
  byId("size", HTMLSelectElement).value = view.size;
  byId("runs", HTMLSelectElement).value = view.run;
}

/**
 * The concepts chosen for comparison, at the bottom.
 * @param {Explorer} page
 */
function showTray(page) {
  const { compare } = page.view;
  const chip = (/** @type {string} */ id) => {
    const label = `remove ${id} from the comparison`;
    return h("button", { class: "chip", "aria-label": label, onclick: () => page.compare(id) }, id, " ✕");
  };
  const show = h("button", { id: "compare", disabled: compare.length < 2 }, "Side by side");
  show.addEventListener("click", () => page.sideBySide());
  byId("comparison-tray").hidden = compare.length === 0;
  replacePreservingFocus(byId("comparison-tray"), [
    h("span", {}, "Compare"),
    ...compare.map(chip),
    h("span", { class: "spacer" }),
    h("button", { class: "text-button", onclick: () => page.update({ compare: [], side: false }) }, "Clear"),
    show,
  ]);
}

/**
 * What each control of the head does.
 * @param {Explorer} page
 */
function listen(page) {
  const search = byId("search", HTMLInputElement);
  const clicks = {
    "sort-direction": () => page.update({ descending: !page.view.descending }),
    favourites: () => page.update({ favourites: !page.view.favourites }),
    "only-drawn": () => page.update({ pictures: "drawn" }),
    filters: () => page.togglePanel(!byId("panel").classList.contains("open")),
    "atlas-toggle": () => page.toggleScene(false),
    "copy-link": () => page.copyLink(byId("status-message")),
    "clear-filters": () => {
      search.value = "";
      page.update(NO_FILTERS);
    },
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  within(document, ".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address says what is shown, and no place on the page
    byId("cards").focus();
  });
  search.addEventListener("input", () => page.update({ query: search.value }));
  /** @type {Record<string, (value: string) => Partial<View>>} */
  const changes = {
    sort: (sort) => ({ sort, descending: !["index", "name"].includes(sort) }),
    size: (size) => ({ size: /** @type {View["size"]} */ (size) }),
    runs: (run) => ({ run }),
  };
  for (const [id, change] of Object.entries(changes)) {
    const select = byId(id, HTMLSelectElement);
    select.addEventListener("change", () => page.update(change(select.value)));
  }
  addEventListener("hashchange", (event) => page.applyAddress(new URL(event.newURL).hash));
  matchMedia(PANEL_COVERS).addEventListener("change", () => byId("cards").inert && page.togglePanel(false));
  document.addEventListener("keydown", (event) => handleKey(page, event));
}

/**
 * Keys that do something wherever the focus is.
 * @param {Explorer} page
 * @param {KeyboardEvent} event
 */
function handleKey(page, event) {
  if (page.sheet.dialog.open) return;
  if (byId("panel").classList.contains("open")) return void (event.key === "Escape" && page.togglePanel(false));
  if (isTyping(event)) return;
  const nowhere = event.target === document.body || event.target === byId("cards");
  if (event.key === "/") byId("search").focus();
  else if (event.key === "a" && page.atlas) page.toggleScene(true);
  else if (event.key === "l") byId("copy-link").click();
  else if (event.key.startsWith("Arrow") && nowhere) page.scene.enter();
  else return;
  event.preventDefault();
}

/**
 * Title, choices of order and run, what is missing.
 * @param {PageData} data
 */
function fillHead(data) {
  const { usae, runs, missing } = data;
  const facts = [
    usae.source && `USAE ${usae.source}`,
    usae.n_concepts && `${usae.n_concepts.toLocaleString("en")} concepts, ${usae.active}`,
  ];
  byId("usae-summary").append(
    facts.filter(Boolean).join(" · "),
    " ",
    ...data.backbones.map((_, row) => backboneName(data, row)),
  );
  if (runs.length === 1)
    byId("usae-summary").append(h("span", { class: "run-settings", title: runs[0].settings }, runs[0].settings));
  byId("sort").append(
    ...options([
      ["index", "number"],
      ["name", "label"],
    ]),
    ...columnOptions(data.columns),
  );
  byId("atlas-toggle").hidden = !data.atlas;
  byId("runs-label").hidden = runs.length < 2;
  byId("runs").append(...options([["all", "side by side"], ...runs.map((run, number) => [String(number), run.name])]));
  byId("missing").hidden = !missing.length;
  byId("missing").append(...missing.slice(0, MAX_MISSING).map((line) => h("p", {}, line)));
  if (missing.length > MAX_MISSING) byId("missing").append(h("p", {}, `and ${missing.length - MAX_MISSING} more`));
}

const MAX_MISSING = 5; // lines of what is missing
