// @ts-check
"use strict";
/* The verification as a table: each picture through each backbone. */

/**
 * @param {PageData} data
 * @param {PictureData[]} pictures
 * @param {Record<string, PictureDetailData>} pictureDetails by file
 * @param {string} where what the pictures are of, in words
 */
function transferTable(data, pictures, pictureDetails, where) {
  const scored = pictures.flatMap((picture) => {
    const scores = pictureDetails[picture.file]?.scores;
    return scores ? [{ picture, scores }] : [];
  });
  if (!scored.length) return null;
  const strengths = scored.flatMap(({ scores }) => Object.values(scores.backbones)).map(strengthOf);
  const largest = Math.max(1e-6, ...strengths);
  const { backbones } = scored[0].scores;
  const through = data.backbones.find((name) => backbones[name]); // a class has no figure where there is no classifier
  const first = through === undefined ? undefined : backbones[through];
  const what = first?.probability === undefined ? "code" : "probability of the class";
  const caption = `Transfer: ${what} of each picture through each backbone, under views it was not optimized on`;
  const rows = scored.map(({ picture, scores }) =>
    h(
      "tr",
      {},
      transferHead(picture),
      data.backbones.map((name) => transferCell(scores, name, largest)),
    ),
  );
  return h(
    "div",
    { class: "scrollable", tabindex: "0", role: "region", "aria-label": `transfer of ${where}` },
    h(
      "table",
      { class: "transfer" },
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "picture"), backboneHeads(data))),
      h("tbody", {}, rows),
    ),
    first && chance(first, through ?? ""),
  );
}

/** @param {PictureData} picture */
function transferHead({ variant, backbone, mode, seed, verdict }) {
  const name = `${variant ? `${variant}, ` : ""}${backbone}${mode === "coupled" ? " (coupled)" : ""}${seed ? ` s${seed}` : ""}`;
  const doubt = verdict && verdict !== "strong";
  const words = verdict === "failed" ? " ✕ failed" : " weak";
  return h("th", { scope: "row" }, name, doubt && h("span", { class: `verdict ${verdict}` }, words));
}

/**
 * @param {ScoresData} scores
 * @param {string} name the backbone's
 * @param {number} largest the largest strength of the table
 */
function transferCell(scores, name, largest) {
  const score = scores.backbones[name];
  if (!score) return h("td", {}, "–");
  const { verdict, short, rank, share } = score;
  const prediction = `read as ${score.read_name ?? score.read_as}`;
  const how = share === undefined ? prediction : `fires in ${(100 * share).toFixed(0)}% of the tokens`;
  const cell = {
    class: scores.drawn_for.includes(name) ? "target" : null,
    style: { "--strength": `${Math.round((100 * strengthOf(score)) / largest)}%` },
    title: `${verdict}${short && `: ${short}`}; rank ${rank}, ${how}`,
  };
  return h("td", cell, figure(strengthOf(score), "number"), h("small", {}, ` #${rank}`));
}

/**
 * What chance reaches, in words.
 * @param {ScoreData} first of the first picture
 * @param {string} through which backbone
 */
function chance({ probability, noise, others }, through) {
  if (typeof noise !== "number") return null;
  const start = `Chance, through ${through}:`;
  if (probability !== undefined)
    return h(
      "p",
      { class: "note" },
      `${start} in pictures of noise the class has a probability of ${figure(noise, "number")}.`,
    );
  if (typeof others !== "number") return null;
  const concept = `random other concepts reach ${others.toFixed(2)} in the first picture`;
  return h("p", { class: "note" }, `${start} ${concept}, and this concept ${noise.toFixed(2)} in pictures of noise.`);
}
