"use strict";
/* Asks, remembers, exports. The page does not know which answer is right. */

const byId = (id) => document.getElementById(id);

/** A value of a CSV, quoted where it must be; a leading sign that a spreadsheet would take for a formula is held off. */
function csvValue(value) {
  const text = /^[=+\-@\t]/.test(String(value)) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Begin, with what study.py wrote: {study, trials, choices}. */
function usaeStudy({ study, trials, choices }) {
  const key = `usae-rating:${study}`;
  let state = { rater: "", answers: [] }; // answers: [choice, seconds] a question
  let shown = 0;
  try {
    state = JSON.parse(localStorage.getItem(key)) ?? state;
  } catch { /* a browser that keeps nothing: the answers live as long as the page */ }

  const keep = () => {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch { /* as above */ }
  };
  const picture = (trial, number) => `pictures/${trial + 1}-${number}.webp`;
  const show = (id) => ["welcome", "question", "end"].forEach((each) => (byId(each).hidden = each !== id));

  function ask() {
    const trial = state.answers.length;
    byId("progress").value = trial;
    byId("count").textContent = `${Math.min(trial + 1, trials)} of ${trials}`;
    if (trial === trials) {
      show("end");
      byId("thanks").focus();
      return;
    }
    show("question");
    byId("query").src = picture(trial, 0);
    byId("choices").style.setProperty("--n", choices);
    byId("choices").replaceChildren(...Array.from({ length: choices }, (_, at) => {
      const button = document.createElement("button");
      const image = Object.assign(new Image(), { src: picture(trial, at + 1), alt: `choice ${at + 1}` });
      const number = document.createElement("span");
      number.textContent = at + 1;
      button.append(image, number);
      button.addEventListener("click", () => answer(at + 1));
      return button;
    }));
    byId("back").hidden = trial === 0;
    byId("asked").focus();
    if (trial + 1 < trials) for (let at = 0; at <= choices; at++) new Image().src = picture(trial + 1, at);
    shown = performance.now();
  }

  function answer(choice) {
    state.answers.push([choice, Number(((performance.now() - shown) / 1000).toFixed(2))]);
    keep();
    ask();
  }

  byId("rater").value = state.rater;
  if (state.answers.length) byId("kept").textContent = `${state.answers.length} of ${trials} answered here before; it resumes from there.`;
  byId("begin").addEventListener("click", () => {
    state.rater = byId("rater").value.trim() || "anonymous";
    keep();
    ask();
  });
  byId("back").addEventListener("click", () => {
    state.answers.pop();
    keep();
    ask();
  });
  byId("again").addEventListener("click", () => {
    state = { rater: "", answers: [] };
    keep();
    byId("rater").value = byId("kept").textContent = "";
    show("welcome");
  });
  byId("export").addEventListener("click", () => {
    const rows = state.answers.map(([choice, seconds], at) => [study, state.rater, at + 1, choice, seconds]);
    const text = [["study", "rater", "trial", "choice", "seconds"], ...rows].map((row) => row.map(csvValue).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `answers-${study}-${state.rater.replace(/[^A-Za-z0-9_-]/g, "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  document.addEventListener("keydown", (event) => {
    if (byId("question").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (/^\d$/.test(event.key) && Number(event.key) >= 1 && Number(event.key) <= choices) answer(Number(event.key));
  });
  document.body.dataset.ready = "yes";
}
