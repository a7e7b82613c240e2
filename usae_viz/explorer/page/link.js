// @ts-check
"use strict";
/* A link to what is shown, copied. */

/**
 * Copy the page's address.
 * @returns {Promise<string>} what to say of it
 */
async function copyAddress() {
  try {
    await navigator.clipboard.writeText(location.href);
    return "Link copied.";
  } catch {
    return copyBySelection(location.href)
      ? "Link copied."
      : "Not copied: this browser forbids it. Copy the address bar.";
  }
}

/**
 * Where a page may not write to the clipboard itself (one that was not served securely): as a person's own copying.
 * @param {string} text
 */
function copyBySelection(text) {
  const focused = document.activeElement;
  const field = h("textarea", { value: text, class: "visually-hidden", "aria-hidden": "true" });
  (document.querySelector("dialog[open]") ?? document.body).append(field); // beside a modal dialog nothing can be chosen
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return copied;
}

/**
 * Say something where it is seen and read out, for a few seconds.
 * @param {HTMLElement} place with the role `status`
 * @param {string} words
 */
function showStatus(place, words) {
  place.textContent = words;
  setTimeout(() => {
    if (place.textContent === words) place.textContent = "";
  }, STATUS_MILLISECONDS);
}

const STATUS_MILLISECONDS = 4000; // milliseconds
