// @ts-check
"use strict";
/* What a concept's sheet consists of: pictures in full, the reader's own words, natural pictures, figures. */

/** @type {Verdict[]} */
const WORST_FIRST = ["failed", "weak", "strong"];

/**
 * What a picture's strength through a backbone is: a code, or a class's probability.
 * @param {ScoreData} score
 */
const strengthOf = (score) => score.probability ?? score.code ?? 0;

/**
 * Where a picture's PNG is.
 * @param {PageData} data
 * @param {number} run
 * @param {PictureData} picture
 */
const largePicture = (data, run, picture) => address(data.runs[run].full, picture.file, ".png");

/**
 * A picture's worst verdict among the backbones that it was drawn for.
 * @param {ScoresData | null | undefined} scores
 */
function worstScore(scores) {
  const scored = (scores?.drawn_for ?? []).flatMap((name) => {
    const score = scores?.backbones[name];
    return score ? [{ name, score }] : [];
  });
  const order = (/** @type {{score: ScoreData}} */ { score }) => WORST_FIRST.indexOf(score.verdict);
  return scored.sort((a, b) => order(a) - order(b) || strengthOf(a.score) - strengthOf(b.score))[0];
}

/**
 * A picture's strength, rank and percentile, in words.
 * @param {ScoreData} score
 */
function describeStrength(score) {
  const { code, probability, rank, percentile } = score;
  if (probability !== undefined)
    return `${score.name ?? `class ${score.index}`} · probability ${figure(probability, "number")} · rank ${rank}`;
  const among = typeof percentile === "number" ? ` · ${figure(percentile, "percent")}` : "";
  return `code ${figure(code, "number")} · rank ${rank}${among}`;
}

/**
 * A picture at its size, with what its verification says.
 * @param {PageData} data
 * @param {CardData} card
 * @param {number} run
 * @param {PictureData} picture
 * @param {PictureDetailData} [pictureDetails]
 */
function pictureFigure(data, card, run, picture, pictureDetails) {
  const alt = describePicture(data, card, run, picture);
  const source = largePicture(data, run, picture);
  const image = h("img", { src: source, alt, decoding: "async" });
  const useSmallCopy = () => (image.src = thumb(run, picture)); // the page was sent without the run
  image.addEventListener("error", useSmallCopy, { once: true });
  const link = { href: source, target: "_blank", rel: "noopener", "aria-label": `the PNG: ${alt}` };
  return h(
    "figure",
    { class: `large-picture ${picture.verdict ?? ""}` },
    h("a", link, image, verdictBadge(picture)),
    h("figcaption", {}, pictureCaption(data, run, picture, pictureDetails)),
  );
}

/**
 * @param {PageData} data
 * @param {number} run
 * @param {PictureData} picture
 * @param {PictureDetailData} [pictureDetails]
 */
function pictureCaption(data, run, picture, pictureDetails) {
  const row = data.backbones.indexOf(picture.backbone);
  const scores = pictureDetails?.scores;
  const worst = worstScore(scores);
  const where = worst && (scores?.drawn_for.length ?? 0) > 1 ? ` in ${worst.name}` : "";
  const animation = picture.animation && address(data.runs[run].full, picture.file, picture.animation);
  return [
    h(
      "div",
      {},
      row >= 0 ? backboneName(data, row) : h("span", { class: "backbone" }, picture.backbone),
      picture.seed ? h("span", { class: "faint" }, ` seed ${picture.seed}`) : "",
    ),
    worst && [
      h(
        "div",
        { class: `verdict ${worst.score.verdict}` },
        worst.score.verdict,
        where,
        worst.score.short && `: ${worst.score.short}`,
      ),
      h("div", { class: "faint" }, describeStrength(worst.score)),
    ],
    pictureDetails?.ended && h("div", { class: "faint" }, pictureDetails.ended),
    animation && h("a", { href: animation, target: "_blank", rel: "noopener" }, "animation"),
  ];
}

/**
 * The figures of a concept: one for all backbones, then a table by backbone.
 * @param {PageData} data
 * @param {number} at
 */
function figuresTable(data, at) {
  const shared = data.columns.filter((column) => !column.backbone && column.values[at] !== null);
  const facts = shared.map(({ label, description, kind, values }) =>
    h("div", { title: description }, h("dt", {}, label), h("dd", {}, figure(values[at], kind))),
  );
  return h("div", { class: "figures" }, h("dl", { class: "facts" }, facts), figuresByBackbone(data, at));
}

/**
 * @param {PageData} data
 * @param {number} at
 */
function figuresByBackbone(data, at) {
  const rows = PER_BACKBONE.map((kind) => data.backbones.flatMap((name) => data.column.get(`${kind}.${name}`) ?? []));
  const completeRows = rows.filter((row) => row.length && row.length === data.backbones.length);
  if (!completeRows.length) return null;
  const body = completeRows.map((row) =>
    h(
      "tr",
      { title: row[0].description },
      h("th", { scope: "row" }, row[0].label),
      row.map(({ values, kind }) => h("td", {}, figure(values[at], kind))),
    ),
  );
  const label = `figures of ${data.cards[at].id} by backbone`;
  return h(
    "div",
    { class: "scrollable", tabindex: "0", role: "region", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, h("td"), backboneHeads(data))), h("tbody", {}, body)),
  );
}

/** @param {PageData} data */
const backboneHeads = (data) => data.backbones.map((_, row) => h("th", { scope: "col" }, backboneName(data, row)));

/**
 * A concept's top natural pictures in each backbone.
 * @param {PageData} data
 * @param {CardData} card
 * @param {DetailData | null} detail
 * @param {Heading} level of the headings
 */
function naturalInFull(data, card, detail, level) {
  const rows = detail?.natural ?? [];
  const why =
    card.concept === null
      ? "Top-activating patches are known for single concepts."
      : "None; see above for what is missing.";
  if (!rows.some((row) => row.length)) return h("p", { class: "note" }, why);
  const backbones = rows.map((row, at) =>
    h(
      "div",
      {},
      h(
        level,
        { class: "minor-heading" },
        backboneName(data, at),
        h("span", { class: "faint" }, " · where it is strongest"),
      ),
      h(
        "div",
        { class: "whole-pictures", style: { "--n": data.natural } },
        row.map((entry) => wholePicture(data, card, entry, at)),
      ),
    ),
  );
  return h("div", { class: "natural-pictures" }, backbones);
}

/**
 * @param {PageData} data
 * @param {CardData} card
 * @param {NaturalData} entry
 * @param {number} row the backbone's
 */
function wholePicture(data, card, entry, row) {
  const label = `${entry.label}: through every backbone`;
  const button = h("button", { class: "whole-picture", "aria-label": label }, heatPicture(data, entry, row));
  onGlimpse(button, () => glimpse.show(data, card, row, entry.rank, button));
  return button;
}

/**
 * The reader's own words on a concept.
 * @param {Labels} labels
 * @param {string} id
 */
function labelEditor(labels, id) {
  const label = labels.of(id);
  const problem = h("span", { class: "error", role: "alert" });
  const placeholder = "a name, for --concept";
  const name = h("input", { value: label.name, maxlength: 80, placeholder, "aria-label": `name of ${id}` });
  name.addEventListener("change", () => {
    problem.textContent = nameProblem(name.value);
    if (!problem.textContent) labels.set(id, { name: name.value.trim() });
  });
  const note = h("textarea", { rows: 2, placeholder: "notes", value: label.note, "aria-label": `notes on ${id}` });
  note.addEventListener("change", () => labels.set(id, { note: note.value }));
  return h(
    "div",
    { class: "label-editor" },
    h("div", { class: "name-line" }, name, favouriteButton(labels, id)),
    problem,
    note,
  );
}

/**
 * @param {Labels} labels
 * @param {string} id
 */
function favouriteButton(labels, id) {
  const star = h("button", { class: "icon-button star", "aria-label": `favourite ${id}`, title: "Favourite (f)" });
  const update = () => {
    const { favourite } = labels.of(id);
    star.ariaPressed = String(favourite);
    star.textContent = favourite ? "★" : "☆";
  };
  star.addEventListener("click", () => {
    labels.toggleFavourite(id);
    update();
  });
  update();
  return star;
}
