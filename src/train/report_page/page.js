// Puts the report together: headline, charts, samples, model card. All text from the run goes in as
// text nodes, never as markup.

window.onerror = (message) => { document.body.dataset.error = String(message); };

const data = JSON.parse(document.getElementById('data').textContent);
const run = data.metrics;
const card = data.card;
const totals = run.totals;
const main = document.getElementById('main');

// What the reader chose survives the reloads of a live page.
const state = {
  get(key) {
    try { return JSON.parse(sessionStorage.getItem('report:' + key)) ?? undefined; } catch (error) { return undefined; }
  },
  set(key, value) {
    try { sessionStorage.setItem('report:' + key, JSON.stringify(value)); } catch (error) { /* private mode */ }
  },
};

/** A row of buttons of which one is on. Returns the function that shows a choice. */
function pick(parent, choices, value, onPick) {
  const box = html('span', 'pick', parent);
  const buttons = choices.map(([name, choice]) => {
    const button = html('button', '', box, name);
    button.type = 'button';
    button.onclick = () => { show(choice); onPick(choice); };
    return [button, choice];
  });
  const show = (current) => buttons.forEach(([button, choice]) => button.setAttribute('aria-pressed', String(choice === current)));
  show(value);
  return show;
}

const many = (count, noun) => grouped(count) + ' ' + noun + (count === 1 ? '' : 's');
const has = (series) => !!series && series.y.length > 0;

// --- headline --------------------------------------------------------------------------------

function statusText() {
  if (totals.steps === 0) return data.live ? 'The first step is under way.' : 'No step has been recorded.';
  const planned = card.planned_steps;
  const parts = ['Step ' + grouped(totals.last_step) + (planned ? ' of ' + grouped(planned) : '')];
  parts.push(scaled(totals.tokens) + ' tokens');
  if (totals.time_s > 0) parts.push(duration(totals.time_s));
  if (data.live && planned > totals.last_step && totals.time_s > 0) {
    parts.push('about ' + duration(totals.time_s / totals.last_step * (planned - totals.last_step)) + ' to go');
  }
  return parts.join(' · ');
}

function tile(list, name, value, unit, note) {
  const box = html('div', 'tile', list);
  html('dt', '', box, name);
  const dd = html('dd', '', box, value);
  if (unit) html('small', '', dd, unit);
  html('p', '', box, note || '');
}

function addHead() {
  const head = document.getElementById('head');
  const over = ['Training report', card.architecture].filter(Boolean).join(' · ');
  html('p', 'over', head, over);
  html('h1', '', head, card.name);
  const status = html('p', 'status', head);
  if (data.live) html('span', 'live', status, 'Training');
  status.append(statusText());
  if (card.planned_steps > 0 && (data.live || totals.last_step < card.planned_steps)) {
    const fill = html('i', '', html('div', 'progress', head));
    fill.style.width = clamp(100 * totals.last_step / card.planned_steps, 0, 100) + '%';
  }
  if (totals.steps > 0) addTiles(head);
  const notes = [];
  if (totals.not_finite > 0) notes.push(many(totals.not_finite, 'step') + ' had a loss that is not a number (a gap in the curves).');
  if (totals.skipped > 0) notes.push('Updates skipped: ' + grouped(totals.skipped) + '.');
  if (totals.unreadable > 0) notes.push(many(totals.unreadable, 'line') + ' of metrics.jsonl could not be read.');
  if (notes.length) html('p', 'notice', head, notes.join(' '));
}

const spikeRate = () => trimmed(100 * totals.spikes / totals.steps, 2) + '%';

function addTiles(head) {
  const list = html('dl', 'tiles', head);
  const val = totals.val_loss;
  const unigram = card.unigram_entropy_nats;
  if (finite(val)) {
    const below = finite(unigram) ? trimmed(Math.abs(unigram - val), 3) + (val < unigram ? ' below' : ' above') + ' the unigram entropy' : 'at step ' + grouped(totals.val_step);
    tile(list, 'Validation loss', val.toFixed(3), 'nats', below);
    const worse = finite(totals.best_val_loss) && totals.best_val_loss < val;
    tile(list, 'Validation perplexity', trimmed(Math.exp(val), 4), '', worse ?
      'best ' + trimmed(Math.exp(totals.best_val_loss), 4) + ' at step ' + grouped(totals.best_val_step) :
      data.live ? 'the best so far' : 'the best of the run');
  } else {
    tile(list, 'Validation loss', '–', '', 'not measured yet');
  }
  if (finite(val) && card.bytes_per_target > 0) {
    tile(list, 'Bits per byte', (val / Math.LN2 / card.bytes_per_target).toFixed(4), '', 'validation, ' + trimmed(card.bytes_per_target, 3) + ' bytes per predicted token');
  }
  tile(list, 'Training loss', finite(totals.train_loss) ? totals.train_loss.toFixed(3) : '–', 'nats',
    totals.train_loss_steps > 1 ? 'mean of the last ' + totals.train_loss_steps + ' steps' : 'one step');
  tile(list, 'Tokens seen', scaled(totals.tokens), '', 'in ' + many(totals.last_step, 'step'));
  tile(list, 'Speed', scaled(totals.tokens_per_s), 'tokens/s',
    finite(totals.model_flops_per_s) ? flops(totals.model_flops_per_s, 3, ' ') + 'FLOP/s of the model' : '');
  tile(list, 'Gradient spikes', spikeRate(), '', grouped(totals.spikes) + ' of ' + many(totals.steps, 'step'));
  if (card.total_params > 0) {
    tile(list, 'Parameters', scaled(card.total_params), '', card.active_params > 0 && card.active_params < card.total_params ?
      scaled(card.active_params) + ' active per token' : 'all active');
  }
  // Six or eight tiles, so that the last row is full.
  if (list.children.length % 2) tile(list, 'Training time', duration(totals.time_s), '', '');
  list.classList.toggle('six', list.children.length === 6);
}

// --- controls --------------------------------------------------------------------------------

function addBar() {
  const bar = html('div', 'bar', main);
  const units = [['step', 'step'], ['tokens', 'tokens'], ['time', 'time']].filter(([, unit]) =>
    unit === 'step' || (view.axes[unit] && view.axes[unit].x.length > 1));
  const axis = html('span', 'set', bar, '');
  html('span', '', axis, 'Axis');
  pick(axis, units, view.unit, (unit) => { view.unit = unit; state.set('unit', unit); view.draw(); });
  pick(axis, [['linear', false], ['log', true]], view.logX, (log) => { view.logX = log; state.set('logX', log); view.draw(); });
  const set = html('label', 'set', bar);
  html('span', '', set, 'Smoothing');
  const slider = html('input', '', set);
  Object.assign(slider, {type: 'range', min: 0, max: 100, value: Math.round(view.smoothing * 100)});
  slider.oninput = () => { view.smoothing = slider.value / 100; state.set('smoothing', view.smoothing); view.draw(); };
  const reset = html('button', 'plain', bar, 'Reset zoom');
  reset.type = 'button';
  reset.onclick = () => view.zoom(null);
  const where = html('span', 'where', bar);
  const hint = matchMedia('(hover: none)').matches ? 'Touch a chart to read it' : 'Drag across a chart to zoom';
  view.onPoint = (step) => {
    where.textContent = step === null ? hint : 'step ' + grouped(step) +
      (view.axes.tokens ? ' · ' + scaled(interpolate(view.axes.tokens.x, view.axes.tokens.y, step)) + ' tokens' : '') +
      (view.axes.time ? ' · ' + duration(interpolate(view.axes.time.x, view.axes.time.y, step)) : '');
  };
  view.onChange = () => { reset.hidden = !view.range; state.set('range', view.range); };
  view.onPoint(null);
  view.onChange();
}

// --- charts ----------------------------------------------------------------------------------

function section(title, lead) {
  html('h2', '', main, title);
  if (lead) html('p', 'lead', main, lead);
  else html('p', 'lead', main).style.margin = '0 0 8px';
  return html('div', 'grid', main);
}

function line(name, paint, series, more) {
  return Object.assign({name, color: paint, x: series.x, y: series.y, kind: 'line'}, more);
}

function addLoss() {
  const grid = section('Loss');
  const mtpColors = ['--c3', '--c4', '--c5'];
  const training = line('training', '--c1', run.loss_mean, {smooth: true});
  const series = [
    line('each step', '--c1', run.loss, {kind: 'raw', soft: true, with: training}),
    training,
    ...run.mtp.map((head, i) => line(run.mtp.length > 1 ? 'MTP head ' + (i + 1) : 'MTP head', mtpColors[i % 3], head, {kind: 'dashed', smooth: true, width: 1.5})),
    line('validation', '--c2', run.val, {kind: 'points', width: 1.6}),
  ].filter(has);
  const unigram = card.unigram_entropy_nats;
  const refs = finite(unigram) ? [{value: unigram, label: 'unigram entropy ' + trimmed(unigram, 3)}] : [];
  new Chart({title: 'Cross-entropy', unit: 'nats per token', size: 'wide', height: 360, log: false, series, refs,
    format: (v) => finite(v) ? trimmed(v, 4) : '–'}, grid);
}

function addOptimisation() {
  const grid = section('Optimisation and speed');
  if (has(run.grad_norm)) {
    new Chart({title: 'Gradient norm', unit: 'before clipping', log: true, series: [
      line('norm', '--c1', run.grad_norm, {kind: 'line', width: 1}),
      line('spike limit', '--c5', run.spike_limit, {kind: 'dashed', width: 1.3}),
      line('spikes', '--c2', run.spikes, {kind: 'marks', count: grouped(totals.spikes)}),
    ].filter(has), note: `Spike rate ${spikeRate()}: norm above twice the running median of the last 100 steps.`}, grid);
  }
  if (has(run.lr)) {
    new Chart({title: 'Learning rate', unit: '', zero: true, log: false, format: exponential,
      series: [line('rate', '--c1', run.lr)]}, grid);
  }
  if (has(run.tokens_per_s)) {
    new Chart({title: 'Throughput', unit: 'tokens per second', zero: true, format: scaled,
      series: [line('tokens/s', '--c3', run.tokens_per_s, {smooth: true, even: true})]}, grid);
  }
  if (has(run.flops_per_s)) {
    new Chart({title: 'Model FLOP/s', unit: 'useful arithmetic only', zero: true, format: flops,
      series: [line('FLOP/s', '--c4', run.flops_per_s, {smooth: true, even: true})]}, grid);
  }
  if (has(run.balance)) {
    new Chart({title: 'Balance loss', unit: 'before its weight', log: false, series: [line('balance', '--c3', run.balance, {smooth: true})]}, grid);
  }
  if (has(run.z)) {
    new Chart({title: 'z-loss', unit: 'before its weight', log: false, series: [line('z', '--c4', run.z, {smooth: true})]}, grid);
  }
  if (!grid.children.length) grid.replaceWith(html('p', 'empty', null, 'Nothing measured.'));
}

/** One curve per layer, coloured by depth. */
function byLayer(curves, names) {
  return curves.y.map((y, i) => ({name: 'layer ' + names[i], t: names.length > 1 ? i / (names.length - 1) : 0.4,
    x: curves.x, y, kind: 'line', width: names.length > 12 ? 1.1 : 1.6}));
}

function addExperts() {
  if (!run.experts && !run.heat) return;
  const grid = section('Experts', 'How the router spreads tokens: a perfect balance is a load of 1× the mean everywhere.');
  if (run.heat) {
    const fold = run.heat.fold;
    new HeatMap({title: 'Expert load', unit: 'rows are experts by layer', data: run.heat,
      note: fold > 1 ? `Each row shows the most unbalanced of ${fold} neighbouring experts.` : ''}, grid);
  }
  if (!run.experts) return;
  const layers = run.experts.layers;
  const key = {name: 'layer', first: layers[0], last: layers.length > 1 ? layers[layers.length - 1] : ''};
  const charts = [
    {title: 'Busiest expert', unit: 'load / mean', curves: run.experts.max_over_mean, refs: [{value: 1, label: ''}], log: false},
    {title: 'Load entropy', unit: '1 = uniform', curves: run.experts.entropy, refs: [{value: 1, label: ''}], ceiling: 1.02},
    {title: 'Dead experts', unit: 'without a token', curves: run.experts.dead, zero: true},
  ];
  for (const chart of charts) {
    if (!chart.curves.y.flat().some(finite)) continue;
    new Chart(Object.assign(chart, {size: 'third', height: 190, ramp: key, series: byLayer(chart.curves, layers)}), grid);
  }
}

function addActivations() {
  if (!run.activation) return;
  const depth = run.activation.y.length;
  const names = run.activation.y.map((_, i) => i);
  const grid = section('Activations', 'Root mean square of the residual stream after each layer.');
  new Chart({title: 'RMS over time', unit: 'by layer', log: true, ramp: {name: 'layer', first: 0, last: depth - 1},
    series: byLayer(run.activation, names), height: 230}, grid);
  const columns = run.activation.x.length;
  const picks = [...new Set([0, 0.25, 0.5, 0.75, 1].map((q) => Math.round(q * (columns - 1))))];
  new Chart({title: 'RMS over depth', unit: 'early to late in training', log: true, height: 230,
    own: {label: 'layer', format: String},
    series: picks.map((column, k) => ({name: 'step ' + grouped(run.activation.x[column]), kind: 'line', x: names,
      t: picks.length > 1 ? k / (picks.length - 1) : 0.4, y: run.activation.y.map((row) => row[column])}))}, grid);
}

// --- samples ---------------------------------------------------------------------------------

function addSamples() {
  if (!run.samples.length) return;
  html('h2', '', main, 'Samples');
  html('p', 'lead', main, 'What the model writes, newest first. The prompt is in colour.');
  const box = html('div', 'samples', main);
  const steps = [...new Set(run.samples.map((sample) => sample.step))].sort((a, b) => b - a);
  const rows = steps.map((step) => addSampleRow(box, step));
  const visible = 5;
  if (rows.length <= visible) return;
  // Folded: the newest few and the very first, so that the way from noise to text is seen.
  const folded = rows.slice(visible - 1, -1);
  folded.forEach((row) => { row.hidden = true; row.style.display = 'none'; });
  const more = html('button', 'more', null, `Show ${folded.length} more between`);
  more.type = 'button';
  box.insertBefore(more, rows[rows.length - 1]);
  more.onclick = () => { folded.forEach((row) => { row.hidden = false; row.style.display = ''; }); more.remove(); };
}

function addSampleRow(box, step) {
  const row = html('div', 'sample', box);
  const when = html('div', 'when', row);
  html('b', '', when, step === 0 ? 'before training' : 'step ' + grouped(step));
  if (has(run.val)) {
    const at = nearest(run.val, step);
    if (Math.abs(run.val.x[at] - step) <= 0.02 * Math.max(totals.last_step, 1) && finite(run.val.y[at])) when.append('val loss ' + trimmed(run.val.y[at], 4));
  }
  const texts = html('div', '', row);
  for (const sample of run.samples.filter((s) => s.step === step)) {
    const quote = html('blockquote', 'clip', texts);
    const text = sample.text.startsWith(sample.prompt) ? sample.text.slice(sample.prompt.length) : sample.text;
    html('span', 'prompt', quote, sample.prompt);
    quote.append(text);
    quote.onclick = () => { if (!String(getSelection())) quote.classList.toggle('clip'); };
    quote.title = 'Click to unfold';
  }
  return row;
}

// --- model card ------------------------------------------------------------------------------

function addParameters(grid) {
  const panel = html('div', 'panel', grid);
  html('h3', '', panel, 'Parameters');
  const table = html('table', '', panel);
  const head = html('tr', '', html('thead', '', table));
  ['Part', 'Total', 'Active', ''].forEach((name, i) => html('th', i === 3 ? 'share' : '', head, name));
  const body = html('tbody', '', table);
  const most = Math.max(1, ...card.parts.map((part) => part.total || 0));
  for (const part of card.parts) {
    const row = html('tr', '', body);
    html('td', '', row, part.name);
    html('td', '', row, finite(part.total) ? grouped(part.total) : '–');
    html('td', '', row, finite(part.active) ? grouped(part.active) : '–');
    const bar = html('i', '', html('td', 'share', row));
    bar.style.width = 100 * (part.total || 0) / most + '%';
    html('i', '', bar).style.width = 100 * (part.active || 0) / Math.max(1, part.total || 0) + '%';
  }
  const row = html('tr', 'sum', body);
  const sum = (field) => card.parts.reduce((total, part) => total + (part[field] || 0), 0);
  html('td', '', row, 'All');
  html('td', '', row, grouped(card.total_params || sum('total')));
  html('td', '', row, grouped(card.active_params || sum('active')));
  html('td', 'share', row);
  return panel;
}

function addFacts(panel, title, facts) {
  if (!facts.length) return;
  html('h3', '', panel, title);
  const list = html('dl', 'facts', panel);
  for (const [name, value] of facts) {
    html('dt', '', list, name);
    html('dd', '', list, value);
  }
}

function copyText(text, button) {
  const done = () => { button.textContent = 'Copied'; setTimeout(() => { button.textContent = 'Copy'; }, 1500); };
  const fallback = () => {
    const area = html('textarea', '', document.body);
    area.value = text;
    area.select();
    document.execCommand('copy');
    area.remove();
    done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, fallback);
  else fallback();
}

function addConfig(grid) {
  const panel = html('details', 'panel wide', grid);
  panel.open = state.get('config') ?? data.config.split('\n').length <= 60;
  panel.ontoggle = () => state.set('config', panel.open);
  html('summary', '', panel, 'Configuration (run.toml)');
  const pre = html('pre', '', panel);
  for (const text of data.config.replace(/\s+$/, '').split('\n')) {
    const match = /^(\s*[\w."-]+)(\s*=.*)$/.exec(text);
    if (/^\s*\[/.test(text)) html('span', 'toml-section', pre, text);
    else if (/^\s*#/.test(text)) html('span', 'toml-comment', pre, text);
    else if (match) { html('span', 'toml-key', pre, match[1]); pre.append(match[2]); }
    else pre.append(text);
    pre.append('\n');
  }
}

function addCard() {
  const dataFacts = [...card.data];
  if (finite(card.unigram_entropy_nats)) dataFacts.push(['Unigram entropy', trimmed(card.unigram_entropy_nats, 5) + ' nats per token']);
  if (card.bytes_per_token > 0) dataFacts.push(['Bytes per token', trimmed(card.bytes_per_token, 4)]);
  const facts = [['Architecture', card.architecture], ['Machine', card.machine]].filter(([, value]) => value).concat(card.facts);
  if (!card.parts.length && !dataFacts.length && !facts.length && !card.command && !data.config) return;
  const grid = section('Model card');
  const both = card.parts.length > 0 && dataFacts.length + facts.length > 0;
  if (card.parts.length) addParameters(grid).classList.toggle('wide', !both);
  if (dataFacts.length + facts.length > 0) {
    const panel = html('div', both ? 'panel' : 'panel wide', grid);
    addFacts(panel, 'Data', dataFacts);
    addFacts(panel, 'Run', facts);
  }
  if (card.command) {
    const panel = html('div', 'panel wide', grid);
    html('h3', '', panel, 'Repeat this run');
    const box = html('div', 'command', panel);
    html('code', '', box, card.command);
    const button = html('button', 'plain', box, 'Copy');
    button.type = 'button';
    button.onclick = () => copyText(card.command, button);
  }
  if (data.config) addConfig(grid);
}

// --- go --------------------------------------------------------------------------------------

function restoreView() {
  for (const unit of ['tokens', 'time']) {
    const axis = risingAxis(run[unit]);
    if (axis.x.length) view.axes[unit] = axis;
  }
  const steps = run.loss_mean.x.length ? run.loss_mean.x : run.grad_norm.x;
  const first = Math.min(...steps, ...run.val.x);
  view.full = [finite(first) ? Math.min(first, totals.last_step) : 0, totals.last_step];
  const unit = state.get('unit');
  if (unit === 'step' || view.axes[unit]) view.unit = unit;
  view.smoothing = state.get('smoothing') ?? view.smoothing;
  view.logX = state.get('logX') ?? view.logX;
  const range = state.get('range');
  if (Array.isArray(range) && range[0] < range[1] && range[1] <= view.full[1]) view.range = range;
}

function watchLayout() {
  let width = main.clientWidth;
  new ResizeObserver(() => {
    if (main.clientWidth === width) return;
    width = main.clientWidth;
    requestAnimationFrame(() => view.draw());
  }).observe(main);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => view.draw());
}

function start() {
  addHead();
  if (totals.steps > 0) {
    restoreView();
    addBar();
    addLoss();
    addOptimisation();
    addExperts();
    addActivations();
  } else {
    html('p', 'empty', main, 'Charts appear here after the first step.');
  }
  addSamples();
  addCard();
  view.draw();
  watchLayout();
  const when = new Date(data.updated * 1000);
  document.getElementById('foot').textContent = 'Written ' + when.toLocaleString() + ' by ultramoe. This file is complete in itself: keep it, mail it, open it offline.';
  document.body.dataset.charts = view.charts.length;
}

start();
if (!document.body.dataset.error) document.body.dataset.ready = '1';
