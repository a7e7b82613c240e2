// @ts-check
"use strict";
/** @implements {Scene} */
class Atlas {
  /** @param {Page} page @param {AtlasData} data */
  constructor(page, data) {
    this.page = page;
    this.data = data;
  }
  measure() {}
  redraw() {}
  /** @param {number} place */
  focus(place) {
    void place;
  }
}
