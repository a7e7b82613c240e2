// @ts-check
"use strict";
/* A spotlight over a picture, patch by patch: what a concept fires at keeps its light, the rest is dimmed. */

/**
 * Bytes of a base64 text.
 * @param {string} text
 */
const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

/**
 * @param {HTMLCanvasElement} canvas laid over the picture; becomes one pixel per patch
 * @param {ArrayLike<number>} light of each patch, 0 to 1
 * @param {[number, number]} grid rows, columns
 * @param {number} shade opacity, 0 to 255, of the dark over a patch without light
 */
function spotlight(canvas, light, [rows, columns], shade) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  if (!context) return; // a browser that draws nothing shows the picture as it is
  const pixels = context.createImageData(columns, rows);
  for (let patch = 0; patch < rows * columns; patch++)
    pixels.data.set([8, 10, 16, Math.round(shade * (1 - light[patch]))], 4 * patch);
  context.putImageData(pixels, 0, 0);
}
