// Draws the report of a quantisation from its JSON (quant/report.h).
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const number = (value, digits = 3) => Number(value).toLocaleString("en", { maximumSignificantDigits: digits });
const whole = (value) => Number(value).toLocaleString("en");
const percent = (share) => (share === null ? "–" : number(100 * share) + " %");
const bytes = (count) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(count, 1)) / 3)));
  return number(count / 1000 ** step) + " " + units[step];
};
const median = (sorted) => sorted[Math.floor(sorted.length / 2)];

function tile(label, value, note) {
  return el("div", { class: "tile" }, el("dt", {}, label), el("dd", {}, value), el("p", {}, note));
}

function tiles() {
  const { totals, quality } = data;
  const list = [
    tile("Size", bytes(totals.bytes), number(totals.bytes / totals.source_bytes) + " of the original's " + bytes(totals.source_bytes)),
    tile("Bits per weight", number(totals.whole_bits), number(totals.bits) + " of the quantised matrices, with scales"),
  ];
  if (quality)
    list.push(
      tile("KL divergence", number(quality.kl.mean.value), "nats from the original, ± " + number(quality.kl.mean.uncertainty, 2)),
      tile("Perplexity", number(quality.perplexity.value, 4),
        "the original's " + number(quality.base_perplexity.value, 4) + ", " + (quality.ratio.value >= 1 ? "+" : "") + number(100 * (quality.ratio.value - 1)) + " %"),
      tile("Same first choice", percent(quality.same_top.value), "over " + whole(quality.tokens) + " tokens"),
      tile("RMS Δp", percent(quality.rms_delta_p.value), "change of the right token's probability"));
  return el("dl", { class: "tiles" + (list.length > 4 ? " six" : "") }, ...list);
}

// A matrix's kind: its name without layer and expert.
const kind = (name) => name.replace(/^model\.layers\.\d+\./, "").replace(/experts\.\d+\./, "experts.").replace(/\.weight$/, "");
const short = (name) => name.replace(/^(self_attn|mlp)\./, "").replace("shared_experts", "shared").replace(/_proj(_with_mqa)?$/, "");

function errorMap() {
  const kinds = [...new Set(data.matrices.map((m) => kind(m.name)))];
  const layers = new Map();
  for (const matrix of data.matrices) {
    if (!layers.has(matrix.layer)) layers.set(matrix.layer, new Map());
    const row = layers.get(matrix.layer);
    const error = matrix.output_error ?? matrix.weight_error;
    const at = kind(matrix.name);
    const known = row.get(at) ?? { error: 0, bits: 0 };
    row.set(at, { error: Math.max(known.error, error), bits: Math.max(known.bits, matrix.bits) });
  }
  const all = [...layers.values()].flatMap((row) => [...row.values()].map((cell) => cell.error)).filter((e) => e > 0);
  const low = Math.log(Math.min(...all)), high = Math.log(Math.max(...all));
  const cell = (found) => {
    if (found === undefined) return el("td", {}, "");
    const { error, bits } = found;
    const part = error > 0 && high > low ? (Math.log(error) - low) / (high - low) : 0;
    const shade = `background: color-mix(in srgb, var(--high) ${Math.round(70 * part)}%, transparent)`;
    const more = chosen && bits > 8 ? el("sup", {}, "8") : null;
    return el("td", { style: shade, title: number(bits) + " bits" }, number(100 * error, 2), ...(more ? [more] : []));
  };
  const head = el("tr", {}, el("th", {}, "layer"), ...kinds.map((k) => el("th", {}, short(k))));
  const rows = [...layers].map(([layer, row]) => el("tr", {}, el("td", {}, String(layer)), ...kinds.map((k) => cell(row.get(k)))));
  return el("div", { class: "scroll" }, el("table", { class: "map" }, head, ...rows));
}

function coverage() {
  const experts = data.matrices.filter((m) => /experts\.\d+\.gate_proj\.weight$/.test(m.name));
  if (experts.length === 0 || !data.settings.calibration_tokens) return [];
  const layers = new Map();
  for (const m of experts) layers.set(m.layer, [...(layers.get(m.layer) ?? []), m.inputs]);
  const head = ["layer", "experts", "fewest tokens", "median", "most", "never"];
  const rows = [...layers].map(([layer, counts]) => {
    counts.sort((a, b) => a - b);
    const never = counts.filter((c) => c === 0).length;
    return [layer, counts.length, counts[0], median(counts), counts[counts.length - 1], never];
  });
  return [el("h2", {}, "Tokens that each expert saw"),
    el("p", { class: "lead" }, "An expert with few tokens is rounded without them, and listed below."),
    el("div", { class: "scroll" }, table(head, rows.map((r) => r.map(whole))))];
}

function table(head, rows) {
  return el("table", {}, el("tr", {}, ...head.map((h) => el("th", {}, h))),
    ...rows.map((row) => el("tr", {}, ...row.map((value, i) => el("td", i === 0 ? { class: "name" } : {}, value)))));
}

function matrices(list) {
  const loss = (m) => (chosen ? [m.loss === null ? "–" : number(m.loss, 2)] : []);
  return el("div", { class: "scroll" }, table(
    ["matrix", "method", "bits", "inputs", "error of products", "of weights", ...(chosen ? ["expected KL"] : []), ""],
    list.map((m) => [m.name, m.method, number(m.bits), whole(m.inputs), percent(m.output_error), percent(m.weight_error), ...loss(m), m.note])));
}

// Where it was chosen which matrices have 8 bits.
function choice() {
  const eight = data.matrices.filter((m) => m.bits > 8);
  const expected = data.matrices.reduce((sum, m) => sum + (m.loss ?? 0), 0);
  const costly = data.matrices.filter((m) => m.loss !== null).sort((a, b) => b.loss - a.loss).slice(0, 20);
  return [el("h2", {}, "Where bits count"),
    el("p", { class: "lead" }, `${whole(eight.length)} of ${whole(data.matrices.length)} matrices have 8 bits (marked above), by the gradients of the text's loss. ` +
      `They expect a divergence of ${number(expected, 2)} nats in all with scales of least error; most of it from these:`),
    matrices(costly)];
}

const { settings } = data;
const chosen = settings.scheme === "auto";
const noted = data.matrices.filter((m) => m.note);
const worst = [...data.matrices].sort((a, b) => b.output_error - a.output_error || b.weight_error - a.weight_error).slice(0, 20);
document.getElementById("head").append(
  el("p", { class: "over" }, "ultramoe · quantisation"), el("h1", {}, data.name),
  el("p", { class: "status" }, `${settings.scheme}, ${settings.method}` +
    (settings.calibration_tokens ? `, ${whole(settings.calibration_tokens)} tokens of calibration` : "") +
    `, ${number(data.seconds)} s`));
const kept = data.kept.length === 0 ? "" : el("details", {}, el("summary", {}, `${data.kept.length} matrices as they were`),
  el("pre", {}, data.kept.join("\n")));
document.getElementById("main").append(tiles(),
  data.quality_note ? el("p", { class: "notice" }, data.quality_note) : "",
  el("h2", {}, "Errors by layer"),
  el("p", { class: "lead" }, "What rounding takes from each matrix's products, in % of their squares (of its weights, where no inputs are known); of several experts the largest."),
  errorMap(), ...(chosen ? choice() : []), ...coverage(),
  ...(noted.length ? [el("h2", {}, "Not as asked"), matrices(noted)] : []),
  el("h2", {}, "Largest errors"), matrices(worst), kept);
