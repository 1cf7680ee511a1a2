// Draws the report of an evaluation on tasks from its JSON (tasks/report.h).
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const percent = (share) => (100 * share).toFixed(1) + " %";
const cells = (tag, texts) => texts.map((text) => el(tag, {}, text));

// The interval as a line from 0 to 100 %, the share as a mark on it.
function range(row) {
  const [low, high] = row.interval;
  const line = el("i", { style: `left:${100 * low}%;width:${100 * (high - low)}%` });
  const mark = el("b", { style: `left:calc(${100 * row.exact}% - 1px)` });
  return el("div", { class: "range", title: `${percent(low)} to ${percent(high)}` }, line, mark);
}

function resultTable() {
  const ks = [...new Set(data.rows.flatMap((row) => Object.keys(row.pass)))].filter((k) => k !== "1");
  const head = el("tr", {}, ...cells("th", ["Task", "Level", "Mode", "Problems", "Exact", "95% interval", ...ks.map((k) => "pass@" + k), "Tokens", "Cut"]));
  const rows = data.rows.map((row) =>
    el("tr", {}, ...cells("td", [row.task, String(row.level ?? "all"), row.mode, String(row.problems), percent(row.exact)]), el("td", {}, range(row)),
      ...cells("td", [...ks.map((k) => (k in row.pass ? percent(row.pass[k]) : "–")), row.tokens.toFixed(1), percent(row.cut)])));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}

function sampleTable() {
  const text = (value) => el("pre", { class: "text" }, typeof value === "string" ? value : JSON.stringify(value));
  const said = (sample) => [sample.reasoning ? "[" + sample.reasoning + "]\n" : "", sample.text ?? "", sample.calls ? "\n" + JSON.stringify(sample.calls) : ""].join("");
  const head = el("tr", {}, ...cells("th", ["Task", "Mode", "Question", "Answer", "Said", "Verdict"]));
  const rows = data.samples.map((sample) =>
    el("tr", {}, ...cells("td", [sample.task + " " + (sample.level || ""), sample.mode]), el("td", {}, text(sample.question)), el("td", {}, text(sample.answer)),
      el("td", {}, text(said(sample))), el("td", {}, sample.reason)));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}

document.getElementById("head").append(
  el("h1", {}, data.model),
  el("p", {}, `${data.tasks}; ${data.form}; ${Object.entries(data.settings).map(([key, value]) => key + " " + value).join(", ")}`));
document.getElementById("main").append(el("h2", {}, "Results"), resultTable());
if (data.samples.length > 0) document.getElementById("main").append(el("h2", {}, "Samples"), sampleTable());
