"use strict";
/* A card: a concept's pictures, its top-activating patches, its figures. All cards of a page have the same height. */

const MODES = { "per-model": "one picture per backbone", coupled: "coupled: around a common layout", shared: "one picture for all backbones" };

const MOST_ROWS = 6; // on a card; all are in its sheet

/** Which rows of pictures a card has room for: {run, variant, mode}, and whether a column for shared pictures is needed. */
function pictureRows(data, view) {
  const rows = new Map();
  let shared = false;
  for (const card of data.cards)
    for (const { run, pictures } of card.drawn) {
      if (view.run !== "all" && String(run) !== view.run) continue;
      for (const picture of pictures) {
        if (picture[1] === "shared") shared = true;
        const mode = picture[1] === "shared" ? "per-model" : picture[1], variant = picture[7];
        rows.set(JSON.stringify([run, variant, mode]), { run, variant, mode });
      }
    }
  const order = [...rows.values()], variants = [...new Set(order.map((row) => row.variant))];
  order.sort((a, b) => a.run - b.run || variants.indexOf(a.variant) - variants.indexOf(b.variant) || (a.mode < b.mode ? 1 : -1));
  return { rows: order.slice(0, MOST_ROWS), shared };
}

/** The pictures of one row: a slot a backbone, and one for the shared picture; the first of several seeds. */
function slots(data, card, { run, variant, mode }, shared) {
  const own = card.drawn.filter((drawing) => drawing.run === run).flatMap((drawing) => drawing.pictures).filter((picture) => picture[7] === variant);
  const find = (wanted, backbone) => own.find((picture) => picture[1] === wanted && (wanted === "shared" || picture[2] === backbone));
  const found = data.backbones.map((backbone) => find(mode, backbone));
  if (shared) found.push(mode === "per-model" ? find("shared") : undefined);
  return found;
}

const thumb = (run, picture) => address(`explorer/thumbs/${run}/`, picture[0], ".webp");
const ownCode = (data, picture) => {
  if (!picture[5]) return null;
  const codes = picture[2] === "shared" ? picture[5] : [picture[5][data.backbones.indexOf(picture[2])]];
  const known = codes.filter((code) => code !== null && code !== undefined);
  return known.length ? Math.min(...known) : null;
};

/** What a picture is, in words; its alternative text. */
function described(data, card, run, picture) {
  const where = picture[2] === "shared" ? "shared by all backbones" : `through ${picture[2]}`;
  const code = ownCode(data, picture);
  const outcome = picture[4] === null ? "" : `, ${picture[4]}${code === null ? "" : `, ${strengthWord(card)} ${figure(code, "number")}`}`;
  const of = data.runs.length > 1 ? `${data.runs[run].name}: ` : "";
  return `${of}${card.concept === null ? card.objective : `concept ${card.id}`} ${where}${picture[7] ? `, ${picture[7]}` : ""}${picture[1] === "coupled" ? ", coupled" : ""}${outcome}`;
}

/** What a picture's strength is: of a concept its code, of a class the probability. */
const strengthWord = (card) => (card.of_class ? "probability" : "code");

/** The mark of a picture that is not to be believed without a second look; strong ones need none. */
const mark = (picture) => (picture[4] === "weak" || picture[4] === "failed") && h("span", { class: `badge ${picture[4]}` }, picture[4]);

function tile(data, card, run, picture) {
  if (!picture) return h("div", { class: "tile empty", "aria-hidden": "true" });
  return h("div", { class: `tile ${picture[4] ?? ""}` },
    h("img", { src: thumb(run, picture), alt: described(data, card, run, picture), title: described(data, card, run, picture), loading: "lazy", decoding: "async" }),
    mark(picture));
}

/** Image x backbone in small: how dark a cell is says how strong the code is. */
function smallMatrix(data, card, view) {
  const pictures = card.drawn.filter(({ run }) => view.run === "all" || String(run) === view.run)
    .flatMap((drawing) => drawing.pictures).filter((picture) => picture[5]).slice(0, 8);
  if (!pictures.length) return h("div", { class: "matrix none", "aria-hidden": "true" });
  const most = Math.max(1e-6, ...pictures.flatMap((picture) => picture[5].map((code) => code ?? 0)));
  const words = pictures.map((picture) => `${picture[2]} picture: ${data.backbones.map((name, at) => `${figure(picture[5][at], "number")} through ${name}`).join(", ")}`);
  return h("div", { class: "matrix", role: "img", "aria-label": `Transfer. ${words.join(". ")}`, title: words.join("\n"), style: { "--n": data.backbones.length } },
    pictures.flatMap((picture) => picture[5].map((code, at) =>
      h("i", { class: picture[2] === data.backbones[at] || picture[2] === "shared" ? "own" : null, style: { "--strength": `${Math.round(100 * (code ?? 0) / most)}%` } }))));
}

/** A strip of top-activating patches; the arrow keys go along it. */
function strip(data, card, row) {
  const count = card.natural[row] || 0;
  const rows = Math.max(1, data.backbones.length - 1), columns = Math.max(1, data.natural - 1);
  const show = (event) => glimpse.show(data, card, row, Number(event.currentTarget.dataset.rank), event.currentTarget);
  const hide = (event) => glimpse.hide(event.currentTarget);
  return h("div", { class: "strip", role: "group", "aria-label": `top-activating patches, ${data.backbones[row]}`, style: { "--n": data.natural } },
    Array.from({ length: data.natural }, (_, rank) => rank >= count ? h("span", { class: "patch empty" }) : h("button", {
      class: "patch", "data-rank": rank, tabindex: rank ? "-1" : "0", "aria-label": `top-activating patch ${rank + 1} through ${data.backbones[row]}: show the picture and its heat maps`,
      style: {
        "background-image": `url("${address("explorer/patches/", card.id, ".webp")}")`,
        "background-size": `${100 * data.natural}% ${100 * data.backbones.length}%`,
        "background-position": `${(100 * rank) / columns}% ${(100 * row) / rows}%`,
      },
      onpointerenter: show, onfocus: show, onclick: show, onpointerleave: hide, onblur: hide,
    })));
}

function stat(data, key, at) {
  const column = data.column.get(key);
  if (!column) return null;
  const value = column.values[at];
  return h("div", { class: "stat", title: column.about }, h("dt", {}, column.label), h("dd", {}, figure(value, column.kind)),
    column.kind === "share" && h("div", { class: "bar", "aria-hidden": "true" }, h("i", { style: { width: `${100 * (value ?? 0)}%` } })));
}

/** The heading of a card and of a sheet: number, the reader's own name, what it follows. */
function heading(data, at, labels) {
  const card = data.cards[at], own = labels.of(card.id).name;
  const auroc = data.column.get("auroc")?.values[at];
  const followed = card.follows && h("span", { class: auroc >= FOLLOWS ? "follows sure" : "follows", title: auroc >= FOLLOWS ? `follows its label: AUROC ${figure(auroc, "share")}` : `nearest to; AUROC ${figure(auroc, "share")}` },
    auroc >= FOLLOWS ? "" : "≈ ", card.follows, " ", h("small", {}, figure(auroc, "share")));
  return { number: card.concept === null ? null : card.id, words: own || (card.concept === null ? card.objective : ""), followed, own };
}

/**
 * One card.
 * @param {object} page {data, view, labels, layout, open(id), compare(id), order}
 * @param {number} at its place in the data; `place` is its place on the page
 */
function makeCard(page, at, place, total) {
  const { data, labels, view, layout } = page;
  const card = data.cards[at];
  const label = labels.of(card.id);
  const { number, words, followed } = heading(data, at, labels);
  const open = h("a", { class: "open", href: `#${new URLSearchParams({ concept: card.id })}`, id: `title-${at}`, onclick: (event) => { event.preventDefault(); page.open(card.id); } },
    number !== null && h("b", {}, number), words && h("span", { class: "name", title: words }, words));
  const favourite = h("button", {
    class: "icon star", "aria-pressed": String(label.favourite), "aria-label": `favourite ${card.id}`, title: "Favourite (f)",
    onclick: () => labels.set(card.id, { favourite: !labels.of(card.id).favourite }),
  }, label.favourite ? "★" : "☆");
  const chosen = view.compare.includes(card.id);
  const compare = h("button", { class: "icon compare", "aria-pressed": String(chosen), "aria-label": `compare ${card.id}`, title: "Compare (c)", onclick: () => page.compare(card.id) }, chosen ? "☑" : "☐");
  const rows = layout.rows.map((row, nth) => [(nth > 0 || data.runs.length > 1 || row.variant) && h("p", { class: "row-name" }, [data.runs.length > 1 && data.runs[row.run].name, row.variant, row.mode === "coupled" && "coupled"].filter(Boolean).join(", ") || row.mode), h("div", { class: "pictures", style: { "--n": data.backbones.length + layout.shared } },
    slots(data, card, row, layout.shared).map((picture) => tile(data, card, row.run, picture)))]);
  const names = layout.rows.length > 0 && h("div", { class: "pictures names", "aria-hidden": "true", style: { "--n": data.backbones.length + layout.shared } },
    data.backbones.map((_, row) => backboneName(data, row)), layout.shared && h("span", { class: "backbone" }, "shared"));
  const natural = data.natural > 0 && h("div", { class: "naturals" }, data.backbones.map((name, row) => {
    const share = data.column.get(`co_firing.${name}`)?.values[at];
    return [backboneName(data, row), strip(data, card, row),
      h("span", { class: "co", title: `co-firing: of its fires in ${name}, the share at which all backbones fire` }, h("span", { class: "hidden" }, "co-firing "), share === undefined ? "" : figure(share, "share"))];
  }));
  const element = h("article", { class: "card", tabindex: "-1", "aria-labelledby": `title-${at}`, "aria-posinset": place + 1, "aria-setsize": total, "data-id": card.id, "data-at": at },
    h("header", {}, open, h("span", { class: "gap" }), followed, compare, favourite),
    names, rows,
    layout.rows.length > 0 && !card.drawn.length && h("p", { class: "undrawn" }, "not drawn"),
    natural,
    h("footer", {}, h("dl", { class: "stats" }, stat(data, "universality", at), stat(data, "entropy", at), stat(data, "energy", at)), layout.rows.length > 0 && smallMatrix(data, card, view)));
  element.addEventListener("click", (event) => { if (!event.target.closest("button, a, input")) page.open(card.id); });
  return element;
}
