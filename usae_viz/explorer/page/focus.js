// @ts-check
"use strict";
/* The keyboard's place on the page: never lost, whatever is hidden or made anew under it. */

/** Whether the focus is on something that can be seen. */
function hasFocus() {
  const at = document.activeElement;
  return at !== null && at !== document.body && at.getClientRects().length > 0;
}

/**
 * Change the page; what had the focus may be gone then, and the arrows go on from the concepts.
 * @param {() => void} change
 */
function preserveFocus(change) {
  const hadFocus = hasFocus();
  change();
  if (hadFocus && !hasFocus()) byId("cards").focus({ preventScroll: true });
}

/**
 * Make the children of something anew; of its buttons the one at the place of the one before gets the focus.
 * @param {HTMLElement} element
 * @param {(string | HTMLElement)[]} children
 */
function replacePreservingFocus(element, children) {
  const buttons = () => [...element.querySelectorAll("button")];
  const before = buttons().findIndex((button) => button === document.activeElement);
  element.replaceChildren(...children);
  const after = buttons().filter((button) => !button.disabled);
  if (before >= 0 && after.length) after[Math.min(before, after.length - 1)].focus({ preventScroll: true });
}

/**
 * Whether a click on a link is for another tab or window.
 * @param {MouseEvent} event
 */
const opensElsewhere = (event) => event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
