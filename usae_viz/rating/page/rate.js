// @ts-check
"use strict";
/* Asks, remembers, exports. The page does not know which answer is right. */

const COLUMNS = ["study", "rater", "trial", "choice", "seconds"]; // of the file that a rater sends back
const SECTIONS = ["welcome", "question", "end"];

/**
 * A value of a CSV, quoted where it must be; a leading sign that a spreadsheet would take for a formula is held off.
 * @param {string | number} value
 */
function csvValue(value) {
  const text = /^[=+\-@\t]/.test(String(value)) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Begin, with what study.py wrote.
 * @param {StudyData} data
 */
function usaeStudy(data) {
  new Rating(data).begin();
  document.body.dataset.ready = "yes";
}

class Rating {
  /** @type {{rater: string, answers: Answer[]}} */
  state = { rater: "", answers: [] };
  shownAt = 0; // milliseconds: when the question was
  exported = false; // whether the answers were, or may be lost

  /** @param {StudyData} data */
  constructor({ study, trials, choices }) {
    this.study = study;
    this.trials = trials;
    this.choices = choices;
    this.key = `usae-rating:${study}`;
    this.rater = byId("rater", HTMLInputElement);
    try {
      const state = storedJson(this.key);
      if (Array.isArray(state?.answers)) this.state = state;
    } catch {
      this.#showStored(false);
    }
  }

  /** @param {boolean} stored whether the browser keeps the answers; else they live as long as the page */
  #showStored(stored) {
    byId("storage-warning").textContent = stored
      ? ""
      : "This browser does not store answers: export them before you close this page.";
    byId("stored-note").hidden = !stored;
  }

  begin() {
    const answered = this.state.answers.length;
    this.rater.value = this.state.rater;
    if (answered)
      byId("resume-note").textContent =
        `${answered} of ${this.trials} answered on this device before; you continue from there.`;
    const clicks = {
      begin: () => this.#start(),
      back: () => this.#change(() => this.state.answers.pop()),
      restart: () => this.#restart(),
      export: () => this.#export(),
    };
    for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
    this.rater.addEventListener("keydown", (event) => void (event.key === "Enter" && this.#start()));
    document.addEventListener("keydown", (event) => {
      if (byId("question").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      const choice = /^\d$/.test(event.key) ? Number(event.key) : 0;
      if (choice >= 1 && choice <= this.choices) this.#answer(choice);
    });
  }

  #store() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.state));
      this.#showStored(true);
    } catch {
      this.#showStored(false);
    }
  }

  /** @param {() => unknown} change of the state; then the next question is asked */
  #change(change) {
    change();
    this.#store();
    this.#ask();
  }

  #start() {
    this.#change(() => (this.state.rater = this.rater.value.trim() || "anonymous"));
  }

  #restart() {
    if (!this.exported) {
      this.exported = true; // or meant to be lost: a second press goes on
      byId("unsaved-warning").textContent = "These answers are not exported yet. Press again to start without them.";
      return;
    }
    this.state = { rater: "", answers: [] };
    this.#store();
    this.rater.value = byId("resume-note").textContent = "";
    this.#show("welcome");
    this.rater.focus();
  }

  /** @param {number} choice 1 is the first */
  #answer(choice) {
    const seconds = Number(((performance.now() - this.shownAt) / 1000).toFixed(2));
    this.#change(() => this.state.answers.push([choice, seconds]));
  }

  /** @param {string} section */
  #show(section) {
    for (const each of SECTIONS) byId(each).hidden = each !== section;
  }

  #ask() {
    const trial = this.state.answers.length;
    byId("progress", HTMLProgressElement).value = trial;
    byId("progress-count").textContent = `${Math.min(trial + 1, this.trials)} of ${this.trials}`;
    this.#show(trial === this.trials ? "end" : "question");
    if (trial === this.trials) {
      this.exported = false;
      byId("unsaved-warning").textContent = "";
      byId("end-heading").focus();
      return;
    }
    byId("question-picture", HTMLImageElement).src = picture(trial, 0);
    byId("choices").style.setProperty("--n", String(this.choices));
    byId("choices").replaceChildren(...Array.from({ length: this.choices }, (_, at) => this.#choice(trial, at + 1)));
    byId("back").hidden = trial === 0;
    byId("question-heading").focus();
    if (trial + 1 < this.trials) for (let at = 0; at <= this.choices; at++) new Image().src = picture(trial + 1, at);
    this.shownAt = performance.now();
  }

  /**
   * @param {number} trial
   * @param {number} number of the choice, 1 is the first
   */
  #choice(trial, number) {
    const image = h("img", { src: picture(trial, number), alt: `choice ${number}` });
    return h("button", { onclick: () => this.#answer(number) }, image, h("span", { "aria-hidden": "true" }, number));
  }

  #export() {
    this.exported = true;
    byId("unsaved-warning").textContent = "";
    const { study, state } = this;
    const rows = state.answers.map(([choice, seconds], at) => [study, state.rater, at + 1, choice, seconds]);
    const text = [COLUMNS, ...rows].map((row) => row.map(csvValue).join(",")).join("\n") + "\n";
    download(`answers-${study}-${state.rater.replace(/[^A-Za-z0-9_-]/g, "_")}.csv`, text, "text/csv");
  }
}

/**
 * Where a picture is.
 * @param {number} trial
 * @param {number} number 0 is the one in question, then the choices
 */
const picture = (trial, number) => `pictures/${trial + 1}-${number}.webp`;
