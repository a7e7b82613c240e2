"use strict";
/* Making elements. Text is always set as text: a label of "<script>" stays what it is. */

/** An element: h("button", {class: "icon", onclick: f, "aria-label": "..."}, "text" or elements...). */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, set] of Object.entries(value)) element.style.setProperty(name, set);
    else if (key === "value" || key === "checked") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const byId = (id) => document.getElementById(id);

/** A path of ours as an address: what a file name may hold, an address may not. */
const address = (...parts) => parts.join("").split("/").map(encodeURIComponent).join("/");

/** A figure as a person reads it. */
function figure(value, kind) {
  if (value === null || value === undefined) return "–";
  if (kind === "share") return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(0) : value.toFixed(value < 0.1 ? 3 : 2);
  if (kind === "percent") return `p${value.toFixed(1)}`;
  if (kind === "count") return value.toLocaleString("en");
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 0.001 ? value.toExponential(1) : value.toFixed(size < 0.1 ? 4 : size < 1 ? 3 : size < 100 ? 2 : 0);
}

/** Run a function once the calls have ceased for a while. */
function later(run, milliseconds) {
  let waiting;
  return (...given) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => run(...given), milliseconds);
  };
}

/** Hand the reader a file. */
function download(name, text, type) {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
