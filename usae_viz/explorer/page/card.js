// @ts-check
"use strict";
/* A card: a concept's pictures, its top-activating patches, its figures. All cards of a page have the same height. */

/** @type {Record<string, string>} */
const MODES = {
  "per-model": "one picture per backbone",
  coupled: "coupled: around a common layout",
  shared: "one picture for all backbones",
};

const MAX_ROWS = 6; // on a card; all are in its sheet
const MAX_IN_MATRIX = 8;

/**
 * Which rows of pictures every card has room for.
 * @param {PageData} data
 * @param {View} view
 * @returns {Layout}
 */
function pictureRows(data, view) {
  const drawings = data.cards.flatMap((card) => shownRuns(card, view));
  /** @type {Map<string, PictureRow>} */
  const rows = new Map();
  for (const { run, pictures } of drawings)
    for (const { mode, variant } of pictures) {
      const row = { run, variant, mode: mode === "shared" ? "per-model" : mode };
      rows.set(JSON.stringify(row), row);
    }
  const order = [...rows.values()];
  const variants = order.map((row) => row.variant);
  const variantOrder = (/** @type {PictureRow} */ row) => variants.indexOf(row.variant);
  order.sort((a, b) => a.run - b.run || variantOrder(a) - variantOrder(b) || (a.mode < b.mode ? 1 : -1));
  const shared = drawings.some(({ pictures }) => pictures.some((picture) => picture.mode === "shared"));
  return { rows: order.slice(0, MAX_ROWS), shared };
}

/**
 * What was drawn of a card in the runs that a view shows.
 * @param {CardData} card
 * @param {View} view
 */
function shownRuns(card, view) {
  return card.run_pictures.filter(({ run }) => view.run === "all" || String(run) === view.run);
}

/**
 * The pictures of one row: a slot per backbone, and one for the shared picture; the first of several seeds.
 * @param {PageData} data
 * @param {CardData} card
 * @param {PictureRow} row
 * @param {boolean} shared whether there is a slot for the shared picture
 */
function slots(data, card, { run, variant, mode }, shared) {
  const pictures = card.run_pictures
    .filter((drawing) => drawing.run === run)
    .flatMap((drawing) => drawing.pictures)
    .filter((picture) => picture.variant === variant);
  const rowPictures = data.backbones.map((name) =>
    pictures.find((each) => each.mode === mode && each.backbone === name),
  );
  if (shared) rowPictures.push(mode === "per-model" ? pictures.find((each) => each.mode === "shared") : undefined);
  return rowPictures;
}

/**
 * Where a picture's small copy is.
 * @param {number} run
 * @param {PictureData} picture
 */
const thumb = (run, picture) => address(`explorer/thumbs/${run}/`, picture.file, ".webp");

/**
 * A picture's strength in the backbone that it was drawn for; the least of all, of a shared one.
 * @param {PageData} data
 * @param {PictureData} picture
 */
function targetStrength(data, picture) {
  const { backbone, strengths } = picture;
  if (!strengths) return null;
  const counted = backbone === "shared" ? strengths : [strengths[data.backbones.indexOf(backbone)]];
  const numbers = counted.filter((strength) => typeof strength === "number");
  return numbers.length ? Math.min(...numbers) : null;
}

/**
 * What a picture is, in words; its alternative text.
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} run
 * @param {PictureData} picture
 */
function describePicture(data, card, run, picture) {
  const { backbone, mode, variant, verdict } = picture;
  const strength = targetStrength(data, picture);
  const runName = data.runs.length > 1 ? `${data.runs[run].name}: ` : "";
  const what = card.concept === null ? card.objective : `concept ${card.id}`;
  const where = backbone === "shared" ? "shared by all backbones" : `through ${backbone}`;
  const parts = [`${runName}${what} ${where}`, variant, mode === "coupled" && mode, verdict];
  if (verdict && strength !== null) parts.push(`${strengthWord(card)} ${figure(strength, "number")}`);
  return parts.filter(Boolean).join(", ");
}

/**
 * What a picture's strength is: of a concept its code, of a class the probability.
 * @param {CardData} card
 */
const strengthWord = (card) => (card.of_class ? "probability" : "code");

/**
 * The mark of a picture that is not to be believed without a second look; strong ones need none.
 * @param {PictureData} picture
 */
function verdictBadge({ verdict }) {
  return (verdict === "weak" || verdict === "failed") && h("span", { class: `badge ${verdict}` }, verdict);
}

/**
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} run
 * @param {PictureData} [picture]
 */
function tile(data, card, run, picture) {
  if (!picture) return h("div", { class: "tile empty", "aria-hidden": "true" });
  const alt = describePicture(data, card, run, picture);
  const image = h("img", { src: thumb(run, picture), alt, title: alt, loading: "lazy", decoding: "async" });
  return h("div", { class: `tile ${picture.verdict ?? ""}` }, image, verdictBadge(picture));
}

/**
 * Image x backbone in small: how dark a cell is says how strong the code is.
 * @param {PageData} data
 * @param {CardData} card
 * @param {View} view
 */
function smallMatrix(data, card, view) {
  const pictures = shownRuns(card, view)
    .flatMap((drawing) => drawing.pictures)
    .flatMap(({ backbone, strengths }) => (strengths ? [{ backbone, strengths }] : []))
    .slice(0, MAX_IN_MATRIX);
  if (!pictures.length) return h("div", { class: "matrix empty", "aria-hidden": "true" });
  const largest = Math.max(1e-6, ...pictures.flatMap(({ strengths }) => strengths.map((strength) => strength ?? 0)));
  const words = pictures.map(({ backbone, strengths }) => {
    const through = data.backbones.map((name, at) => `${figure(strengths[at], "number")} through ${name}`);
    return `${backbone} picture: ${through.join(", ")}`;
  });
  const cells = pictures.flatMap(({ backbone, strengths }) =>
    strengths.map((strength, at) =>
      h("i", {
        class: backbone === data.backbones[at] || backbone === "shared" ? "target" : null,
        style: { "--strength": `${Math.round((100 * (strength ?? 0)) / largest)}%` },
      }),
    ),
  );
  const attributes = { role: "img", "aria-label": `Transfer. ${words.join(". ")}`, title: words.join("\n") };
  return h("div", { class: "matrix", ...attributes, style: { "--n": data.backbones.length } }, cells);
}

/**
 * A figure of a card, with a bar where it is a share.
 * @param {PageData} data
 * @param {string} key the column's
 * @param {number} at
 */
function stat(data, key, at) {
  const column = data.column.get(key);
  if (!column) return null;
  const value = column.values[at];
  const bar = () => h("i", { style: { width: `${100 * (value ?? 0)}%` } });
  return h(
    "div",
    { class: "stat", title: column.description },
    h("dt", {}, column.label),
    h("dd", {}, figure(value, column.kind)),
    column.kind === "share" && h("div", { class: "bar", "aria-hidden": "true" }, bar()),
  );
}

/**
 * The heading of a card and of a sheet: number, the reader's own name, what it follows.
 * @param {PageData} data
 * @param {number} at
 * @param {Labels} labels
 */
function heading(data, at, labels) {
  const card = data.cards[at];
  const name = labels.of(card.id).name;
  return {
    number: card.concept === null ? null : card.id,
    words: name || (card.concept === null ? card.objective : privateTo(data, at)),
    followed: followsBadge(card, data.column.get("auroc")?.values[at]),
  };
}

/**
 * Which backbone alone has a card's concept, in words; empty for one that all share.
 * @param {PageData} data
 * @param {number} at
 */
function privateTo(data, at) {
  const owner = data.backbones.find((name) => data.column.get(`private.${name}`)?.values[at] === 1);
  return owner === undefined ? "" : `private to ${owner}`;
}

/**
 * The label that a concept follows, or is nearest to.
 * @param {CardData} card
 * @param {number | null | undefined} auroc
 */
function followsBadge(card, auroc) {
  if (!card.follows) return null;
  const sure = (auroc ?? 0) >= FOLLOWS_AUROC;
  const area = figure(auroc, "share");
  const title = sure ? `follows its label: AUROC ${area}` : `nearest to; AUROC ${area}`;
  const parts = [sure ? "" : "≈ ", card.follows, " ", h("small", {}, area)];
  return h("span", { class: sure ? "followed-label reliable" : "followed-label", title }, parts);
}

/**
 * One card.
 * @param {Page} page
 * @param {number} at its place in the data
 * @param {number} place its place on the page
 * @param {number} total cards on the page
 */
function makeCard(page, at, place, total) {
  const { data, view, layout } = page;
  const card = data.cards[at];
  const hasPictures = layout.rows.length > 0;
  const element = h(
    "article",
    {
      class: "card",
      tabindex: "-1",
      "aria-labelledby": `title-${at}`,
      "aria-posinset": place + 1,
      "aria-setsize": total,
      "data-id": card.id,
      "data-at": at,
    },
    cardHead(page, at),
    hasPictures && pictureNames(page),
    h(
      "div",
      { class: card.run_pictures.length ? "rows" : "rows undrawn" },
      layout.rows.map((row, nth) => cardRow(page, card, row, nth)),
      hasPictures && !card.run_pictures.length && h("p", {}, "not drawn"),
    ),
    data.natural > 0 &&
      h(
        "div",
        { class: "top-patches" },
        data.backbones.map((_, row) => naturalRow(data, at, row)),
      ),
    h(
      "footer",
      {},
      h(
        "dl",
        { class: "stats" },
        ["universality", "entropy", "energy", "agreement"].map((key) => stat(data, key, at)),
      ),
      hasPictures && smallMatrix(data, card, view),
    ),
  );
  element.addEventListener("click", (event) => {
    if (!targetOf(event).closest("button, a, input")) page.open(card.id);
  });
  return element;
}

/**
 * @param {Page} page
 * @param {number} at
 */
function cardHead({ data, labels, view, standard, open, compare }, at) {
  const { id } = data.cards[at];
  const { favourite } = labels.of(id);
  const { number, words, followed } = heading(data, at, labels);
  const link = h(
    "a",
    { class: "card-link", href: `#${toHash({ ...view, concept: id }, standard)}`, id: `title-${at}` },
    number !== null && h("b", {}, number),
    words && h("span", { class: "name", title: words }, words),
  );
  link.addEventListener("click", (event) => {
    if (opensElsewhere(event)) return;
    event.preventDefault();
    open(id);
  });
  const compared = view.compare.includes(id);
  const compareAttributes = { "aria-pressed": String(compared), "aria-label": `compare ${id}`, title: "Compare (c)" };
  const starAttributes = { "aria-pressed": String(favourite), "aria-label": `favourite ${id}`, title: "Favourite (f)" };
  return h(
    "header",
    {},
    link,
    h("span", { class: "spacer" }),
    followed,
    h(
      "button",
      { class: "icon-button compare", ...compareAttributes, onclick: () => compare(id) },
      compared ? "☑" : "☐",
    ),
    h(
      "button",
      { class: "icon-button star", ...starAttributes, onclick: () => labels.toggleFavourite(id) },
      favourite ? "★" : "☆",
    ),
  );
}

/** @param {Page} page */
function pictureNames({ data, layout }) {
  return h(
    "div",
    { class: "pictures backbone-names", "aria-hidden": "true", style: { "--n": columnsOf(data, layout) } },
    data.backbones.map((_, row) => backboneName(data, row)),
    layout.shared && h("span", { class: "backbone" }, "shared"),
  );
}

/**
 * @param {PageData} data
 * @param {Layout} layout
 */
const columnsOf = (data, layout) => data.backbones.length + Number(layout.shared);

/**
 * A card's row of pictures, under its name where it needs one.
 * @param {Page} page
 * @param {CardData} card
 * @param {PictureRow} row
 * @param {number} nth
 */
function cardRow({ data, layout }, card, row, nth) {
  const several = data.runs.length > 1;
  const parts = [several && data.runs[row.run].name, row.variant, row.mode === "coupled" && row.mode];
  const name = parts.filter(Boolean).join(", ") || row.mode;
  const tiles = slots(data, card, row, layout.shared).map((picture) => tile(data, card, row.run, picture));
  return [
    (nth > 0 || several || row.variant) && h("p", { class: "row-name" }, name),
    h("div", { class: "pictures", style: { "--n": columnsOf(data, layout) } }, tiles),
  ];
}
