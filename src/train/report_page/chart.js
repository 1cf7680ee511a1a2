'use strict';
// Line charts for the report: scales, ticks, number formats, one Chart class. No dependencies.
// Every x is stored as a step; `view` says in which unit it is shown, which part, and where the
// pointer is, for all charts at once.

const svgSpace = document.querySelector('svg').namespaceURI;

function svg(tag, attributes, parent) {
  const node = document.createElementNS(svgSpace, tag);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(node);
  return node;
}

function html(tag, className, parent, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

// --- numbers ---------------------------------------------------------------------------------

const finite = (v) => typeof v === 'number' && isFinite(v);
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

function grouped(v) {
  return Math.round(v).toLocaleString('en-US');
}

/** 1234567 → "1.23M"; `units` from thousand up. */
function scaled(v, digits = 3, units = ['k', 'M', 'B', 'T', 'P']) {
  if (!finite(v)) return '–';
  let i = -1;
  let size = Math.abs(v);
  while (size >= 999.5 && i + 1 < units.length) {
    size /= 1000;
    ++i;
  }
  const text = trimmed(Math.sign(v) * size, digits);
  return i < 0 ? text : text + units[i];
}
/** With the SI prefixes that FLOP/s are counted in; `space` goes before the prefix. */
const flops = (v, digits, space = '') => scaled(v, digits, ['k', 'M', 'G', 'T', 'P'].map((unit) => space + unit));

/** `digits` significant digits, plain where that is short, without trailing zeros. */
function trimmed(v, digits = 4) {
  if (!finite(v)) return '–';
  if (v === 0) return '0';
  const size = Math.abs(v);
  if (size < 1e-3 || size >= 1e6) {
    return v.toExponential(Math.max(0, digits - 1)).replace(/\.?0+e/, 'e').replace('e+', 'e').replace('-', '−');
  }
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  const text = v.toFixed(Math.min(places, 8));
  return (text.includes('.') ? text.replace(/\.?0+$/, '') : text).replace('-', '−');
}

/** 0.00075 → "7.5e−4": one form for all ticks of a learning rate. */
function exponential(v, digits = 3) {
  if (!finite(v)) return '–';
  return v === 0 ? '0' : v.toExponential(digits - 1).replace(/\.?0+e/, 'e').replace('e+', 'e').replace('e-', 'e−');
}

function duration(s) {
  if (!finite(s)) return '–';
  if (s < 60) return trimmed(s, 3) + ' s';
  const minutes = Math.round(s / 60);
  if (minutes < 60) {
    const rest = Math.round(s % 60);
    return s < 600 && rest > 0 && rest < 60 ? Math.floor(s / 60) + ' min ' + rest + ' s' : minutes + ' min';
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return hours + ' h ' + (minutes % 60) + ' min';
  return Math.floor(hours / 24) + ' d ' + (hours % 24) + ' h';
}

// --- ticks -----------------------------------------------------------------------------------

function linearTicks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / Math.max(1, count);
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.85);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) {
    ticks.push(Math.abs(k) < 1e-9 ? 0 : Number((k * step).toPrecision(12)));
  }
  return ticks;
}

function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks(low, high, count).filter((t) => t > 0);
  const ticks = [];
  const marks = decades <= 1.6 ? [1, 2, 3, 5] : decades <= 3 ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil(decades / count));
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); ++e) {
    if (marks.length === 1 && e % stride !== 0) continue;
    for (const m of marks) {
      const t = Number((m * Math.pow(10, e)).toPrecision(6));
      if (t >= low * 0.9999 && t <= high * 1.0001) ticks.push(t);
    }
  }
  return ticks;
}

// --- the shared x axis -------------------------------------------------------------------------

/** Piecewise linear map through (x[i], y[i]), both rising. */
function interpolate(x, y, v) {
  const n = x.length;
  if (n === 0) return v;
  if (n === 1) return y[0];
  let low = 0;
  let high = n - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle] <= v) low = middle;
    else high = middle;
  }
  const span = x[high] - x[low];
  return span > 0 ? y[low] + (y[high] - y[low]) * (v - x[low]) / span : y[low];
}

/** A measured quantity over steps, forced to rise so that it can serve as an axis. */
function risingAxis(series) {
  const x = [];
  const y = [];
  series.x.forEach((step, i) => {
    const v = series.y[i];
    if (!finite(v) || (x.length && step <= x[x.length - 1])) return;
    x.push(step);
    y.push(y.length ? Math.max(v, y[y.length - 1] * (1 + 1e-12) + 1e-12) : v);
  });
  return {x, y};
}

const view = {
  unit: 'step', logX: false, smoothing: 0.35, range: null, full: [0, 1], hover: null, axes: {}, charts: [],
  toUnit(step) {
    const axis = this.axes[this.unit];
    return axis ? interpolate(axis.x, axis.y, step) : step;
  },
  toStep(value) {
    const axis = this.axes[this.unit];
    return axis ? interpolate(axis.y, axis.x, value) : value;
  },
  /** [ticks in the unit, formatter] for a part of the axis. */
  ticks(low, high, count) {
    const pickTicks = this.logX && low > 0 ? logTicks : linearTicks;
    if (this.unit !== 'time') {
      const ticks = pickTicks(low, high, count).filter((t) => this.unit !== 'step' || t === Math.round(t));
      return [ticks, (t) => high - low < 2100 && this.unit === 'step' ? grouped(t) : scaled(t, 4)];
    }
    const [size, name] = high - low > 7200 ? [3600, ' h'] : high - low > 150 ? [60, ' min'] : [1, ' s'];
    return [pickTicks(low / size, high / size, count).map((t) => t * size), (t) => trimmed(t / size, 4) + name];
  },
  /** Maps [low, high] of the unit to 0..1 (`to`) and back (`from`). */
  scale(low, high) {
    const log = this.logX && low > 0;
    const span = log ? Math.log(high / low) : high - low;
    if (!(span > 0)) return {to: () => 0.5, from: () => low};
    return log ?
      {to: (v) => Math.log(Math.max(v, low * 1e-3) / low) / span, from: (t) => low * Math.exp(t * span)} :
      {to: (v) => (v - low) / span, from: (t) => low + t * span};
  },
  draw() {
    for (const chart of this.charts) chart.draw();
  },
  point(step, source) {
    this.hover = step;
    for (const chart of this.charts) chart.point(step, chart === source);
    if (this.onPoint) this.onPoint(step);
  },
  zoom(range) {
    this.range = range;
    if (this.onChange) this.onChange();
    this.draw();
  },
};

// --- curves ----------------------------------------------------------------------------------

function color(name) {
  return name.startsWith('--') ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : name;
}

const ramps = {
  light: ['#3b1f72', '#3d5a9e', '#1f8a8c', '#2fae6d', '#9cc23b'],
  dark: ['#8a7be0', '#4f9be0', '#2fc0b0', '#74d66a', '#f0e04a'],
};
/** Colours of an ordered set (layers by depth), t in 0..1; readable on the theme's ground. */
function ramp(t) {
  const stops = ramps[matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'];
  const at = clamp(t, 0, 1) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(at));
  return mix(stops[i], stops[i + 1], at - i);
}

function channels(hex) {
  const full = hex.length === 4 ? hex.replace(/[^#]/g, '$&$&') : hex;
  return [1, 3, 5].map((i) => parseInt(full.slice(i, i + 2), 16));
}
function mix(a, b, t) {
  const from = channels(a);
  const to = channels(b);
  return '#' + from.map((v, i) => Math.round(v + (to[i] - v) * t).toString(16).padStart(2, '0')).join('');
}

/** Gaussian mean over the points; unless `even`, narrower at the start: what is steep stays steep. */
function smooth(series, amount, even) {
  const n = series.y.length;
  const width = amount * amount * n * 0.05;
  if (width < 0.3) return series;
  const y = series.y.map((own, i) => {
    if (!finite(own)) return own;
    const sigma = even ? width : Math.min(width, i / 2 + 0.01);
    const reach = Math.ceil(3 * sigma);
    let sum = 0;
    let weight = 0;
    for (let k = Math.max(0, i - reach); k <= Math.min(n - 1, i + reach); ++k) {
      if (!finite(series.y[k])) continue;
      const w = Math.exp(-0.5 * ((k - i) / sigma) ** 2);
      sum += w * series.y[k];
      weight += w;
    }
    return sum / weight;
  });
  return {x: series.x, y};
}

/** Index of the point of `series` nearest to `step`. */
function nearest(series, step) {
  const x = series.x;
  let low = 0;
  let high = x.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle] <= step) low = middle;
    else high = middle;
  }
  return Math.abs(x[high] - step) < Math.abs(x[low] - step) ? high : low;
}

function lastFinite(series) {
  let i = series.y.length - 1;
  while (i > 0 && !finite(series.y[i])) --i;
  return i;
}

function quantile(values, q) {
  if (!values.length) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[clamp(Math.round(q * (sorted.length - 1)), 0, sorted.length - 1)];
}

// --- Chart -----------------------------------------------------------------------------------
// spec: {title, unit, format, height, size: 'wide'|'third'|'', log: start value or undefined (no
// toggle), zero: y starts at 0, ceiling, series: [...], refs: [{value, label}], ramp: {first, last,
// name}, note}. A series: {name, color or t (place on the ramp), x, y, kind: 'line' | 'raw' |
// 'points' | 'dashed' | 'marks', smooth, even (see smooth), with: the
// series it is hidden with, soft: outliers may leave the frame}.
// With `own` the chart has an x axis of its own: {label, format}.

class Chart {
  constructor(spec, parent) {
    this.spec = spec;
    this.log = !!spec.log;
    this.hidden = new Set();
    this.panel = html('figure', 'panel ' + (spec.size || ''), parent);
    const header = html('header', '', this.panel);
    html('h3', '', header, spec.title);
    html('span', 'unit', header, spec.unit || '');
    if (spec.log !== undefined) this.addScalePick(header);
    this.key = html('div', 'key', this.panel);
    this.plot = html('div', 'plot', this.panel);
    if (spec.note) html('figcaption', 'note', this.panel, spec.note);
    this.addKey();
    if (!spec.own) this.addPointer();
    view.charts.push(this);
  }

  addScalePick(header) {
    const saved = state.get('scale:' + this.spec.title);
    if (saved !== undefined) this.log = saved;
    const update = pick(header, [['linear', false], ['log', true]], this.log, (log) => {
      this.log = log;
      state.set('scale:' + this.spec.title, log);
      this.draw();
    });
    update(this.log);
  }

  paint(series) {
    return series.t !== undefined ? ramp(series.t) : color(series.color);
  }

  addKey() {
    const ramped = this.spec.ramp;
    if (ramped) {
      const item = html('span', '', this.key);
      html('span', '', item, ramped.name + ' ' + ramped.first);
      this.rampBar = html('span', 'ramp', item);
      html('span', '', item, ramped.last);
      this.near = html('span', '', this.key);
    }
    this.items = this.spec.series.map((series) => ramped ? null : this.addKeyItem(series));
  }

  addKeyItem(series) {
    if (series.with) return null;
    const item = html('button', '', this.key);
    item.type = 'button';
    item.setAttribute('aria-pressed', 'true');
    item.title = 'Show or hide';
    const swatch = svg('svg', {width: 18, height: 10}, item);
    html('span', '', item, series.name);
    const value = this.spec.own ? null : html('b', '', item);
    item.onclick = () => {
      const hide = !this.hidden.has(series);
      if (hide) this.hidden.add(series);
      else this.hidden.delete(series);
      item.setAttribute('aria-pressed', String(!hide));
      this.draw();
    };
    return {swatch, value};
  }

  drawSwatch(series, node) {
    node.replaceChildren();
    const paint = this.paint(series);
    if (series.kind === 'points' || series.kind === 'marks') {
      this.mark(series, 9, 5, paint, node);
    } else {
      svg('line', {x1: 1, x2: 17, y1: 5, y2: 5, stroke: paint, 'stroke-width': series.kind === 'raw' ? 5 : 2,
        'stroke-opacity': series.kind === 'raw' ? 0.3 : 1,
        'stroke-dasharray': series.kind === 'dashed' ? '4 3' : 'none'}, node);
    }
  }

  mark(series, x, y, paint, parent) {
    if (series.kind === 'marks') {
      return svg('path', {d: `M${x - 4} ${y - 3.5}h8l-4 7z`, fill: paint, stroke: color('--card'), 'stroke-width': 1}, parent);
    }
    return svg('circle', {cx: x, cy: y, r: 3.2, fill: paint, stroke: color('--card'), 'stroke-width': 1.2}, parent);
  }

  shown() {
    return this.spec.series.filter((series) => !this.hidden.has(series) && !this.hidden.has(series.with));
  }

  xDomain() {
    if (!this.spec.own) return (view.range || view.full).map((step) => view.toUnit(step));
    const x = this.spec.series.flatMap((series) => series.x);
    return [Math.min(...x), Math.max(...x)];
  }

  yDomain() {
    const [low, high] = this.spec.own ? [-Infinity, Infinity] : view.range || view.full;
    const usable = (v) => finite(v) && (!this.log || v > 0);
    let bottom = Infinity;
    let top = -Infinity;
    const take = (v) => {
      bottom = Math.min(bottom, v);
      top = Math.max(top, v);
    };
    for (const series of this.shown()) {
      const inside = this.curve(series).y.filter((v, i) => usable(v) && series.x[i] >= low && series.x[i] <= high);
      if (series.soft && inside.length > 20) {
        take(quantile(inside, 0.005));
        take(quantile(inside, 0.995));
      } else {
        inside.forEach(take);
      }
    }
    for (const ref of this.spec.refs || []) if (usable(ref.value) && !view.range) take(ref.value);
    if (bottom > top) return this.log ? [0.1, 1] : [0, 1];
    if (this.log) {
      const pad = Math.max(Math.pow(top / bottom, 0.05), 1.02);
      return [bottom / pad, top * pad];
    }
    if (this.spec.zero && bottom >= 0) return [0, top > 0 ? top * 1.08 : 1];
    const pad = top > bottom ? (top - bottom) * 0.06 : Math.abs(top) * 0.1 || 1;
    return [bottom - pad, Math.min(top + pad, finite(this.spec.ceiling) ? Math.max(this.spec.ceiling, top) : Infinity)];
  }

  curve(series) {
    if (!series.smooth) return series;
    if (series.cachedAt !== view.smoothing) {
      series.cached = smooth(series, view.smoothing, series.even);
      series.cachedAt = view.smoothing;
    }
    return series.cached;
  }

  scales() {
    const width = Math.max(160, this.plot.clientWidth);
    const height = this.spec.height || 210;
    const box = {right: width - 10, top: 8, bottom: height - 24, width, height};
    const [y0, y1] = this.yDomain();
    const format = this.spec.format || trimmed;
    const count = clamp(Math.round((box.bottom - box.top) / 38), 2, 8);
    box.ticks = (this.log ? logTicks(y0, y1, count) : linearTicks(y0, y1, count)).map((t) => [t, format(t, 4)]);
    box.left = Math.max(50, 14 + 6.4 * Math.max(0, ...box.ticks.map(([, text]) => text.length)));
    this.placeX(box, ...this.xDomain());
    const map = this.log ? Math.log : (v) => v;
    box.y = (v) => box.bottom - (map(v) - map(y0)) / (map(y1) - map(y0)) * (box.bottom - box.top);
    return Object.assign(box, {y0, y1});
  }

  /** Gives `box` its x scale: unitX (unit → pixel), x (step → pixel), step (pixel → step). */
  placeX(box, x0, x1) {
    const own = this.spec.own;
    const scale = own ? {to: (v) => x1 > x0 ? (v - x0) / (x1 - x0) : 0.5} : view.scale(x0, x1);
    const width = box.right - box.left;
    box.unitX = (v) => box.left + scale.to(v) * width;
    box.x = own ? box.unitX : (step) => box.unitX(view.toUnit(step));
    box.step = (px) => view.toStep(scale.from(clamp((px - box.left) / width, 0, 1)));
    Object.assign(box, {x0, x1});
  }

  /** Tick marks, labels and the name of the x axis below `y`. */
  drawXAxis(root, box, y) {
    const own = this.spec.own;
    const wanted = clamp(Math.floor((box.right - box.left) / (own ? 30 : 84)), 2, own ? 24 : 10);
    const [ticks, format] = own ?
        [linearTicks(box.x0, box.x1, wanted).filter((t) => t === Math.round(t)), own.format] :
        view.ticks(box.x0, box.x1, wanted);
    let free = -Infinity;
    for (const t of ticks) {
      const x = box.unitX(t);
      const text = format(t);
      svg('line', {class: 'axis', x1: x, x2: x, y1: y, y2: y + 4}, root);
      if (x - text.length * 3.2 < free) continue;
      free = x + text.length * 3.2 + 8;
      const anchor = x - box.left < 16 ? 'start' : box.right - x < 16 ? 'end' : 'middle';
      svg('text', {x, y: y + 17, 'text-anchor': anchor}, root).textContent = text;
    }
    svg('text', {x: box.left - 8, y: y + 17, 'text-anchor': 'end'}, root).textContent = own ? own.label : view.unit;
  }

  draw() {
    const box = this.box = this.scales();
    this.plot.replaceChildren();
    const root = this.root = svg('svg', {viewBox: `0 0 ${box.width} ${box.height}`, height: box.height, role: 'img',
      'aria-label': this.spec.title + ', ' + (this.spec.unit || '')}, this.plot);
    this.drawAxes(root, box);
    const id = 'clip' + view.charts.indexOf(this);
    const clip = svg('clipPath', {id}, svg('defs', {}, root));
    svg('rect', {x: box.left, y: box.top - 4, width: box.right - box.left + 6, height: box.bottom - box.top + 4}, clip);
    const layer = svg('g', {'clip-path': `url(#${id})`}, root);
    const below = {raw: 0, dashed: 1, line: 2, points: 3, marks: 4};
    const order = [...this.shown()].sort((a, b) => below[a.kind] - below[b.kind]);
    for (const series of order) this.drawSeries(series, layer, box);
    for (const ref of this.spec.refs || []) this.drawRef(ref, root, box);
    this.overlay = svg('g', {}, root);
    this.items.forEach((item, i) => item && this.drawSwatch(this.spec.series[i], item.swatch));
    if (this.rampBar) {
      this.rampBar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(', ')})`;
    }
    this.point(view.hover, false);
  }

  drawAxes(root, box) {
    for (const [t, label] of box.ticks) {
      const y = Math.round(box.y(t)) + 0.5;
      svg('line', {class: 'gridline', x1: box.left, x2: box.right, y1: y, y2: y}, root);
      svg('text', {x: box.left - 8, y: y + 3.5, 'text-anchor': 'end'}, root).textContent = label;
    }
    svg('line', {class: 'axis', x1: box.left, x2: box.right, y1: box.bottom + 0.5, y2: box.bottom + 0.5}, root);
    this.drawXAxis(root, box, box.bottom);
  }

  drawSeries(series, layer, box) {
    const curve = this.curve(series);
    const paint = this.paint(series);
    const usable = (v) => finite(v) && (!this.log || v > 0);
    if (series.kind === 'points' || series.kind === 'marks') {
      const few = curve.x.length <= 60 || series.kind === 'marks';
      if (series.kind === 'points' && curve.x.length > 1) this.drawLine(series, curve, paint, layer, box, usable);
      if (few || series.kind === 'marks') {
        curve.x.forEach((x, i) => usable(curve.y[i]) && this.mark(series, box.x(x), box.y(curve.y[i]), paint, layer));
      }
      return;
    }
    this.drawLine(series, curve, paint, layer, box, usable);
  }

  drawLine(series, curve, paint, layer, box, usable) {
    let d = '';
    let pen = false;
    let alone = null;
    const dots = [];
    curve.x.forEach((step, i) => {
      if (!usable(curve.y[i])) {
        if (alone) dots.push(alone);
        alone = null;
        pen = false;
        return;
      }
      const at = [box.x(step).toFixed(1), box.y(curve.y[i]).toFixed(1)];
      d += (pen ? 'L' : 'M') + at[0] + ' ' + at[1];
      alone = pen ? null : at;
      pen = true;
    });
    if (alone) dots.push(alone);
    const raw = series.kind === 'raw';
    svg('path', {class: 'curve', d, stroke: paint, 'stroke-width': raw ? 1 : series.width || 1.9, 'stroke-opacity': raw ? 0.3 : 1,
      'stroke-dasharray': series.kind === 'dashed' ? '5 4' : 'none'}, layer);
    for (const [cx, cy] of dots) svg('circle', {cx, cy, r: 2.6, fill: paint}, layer);
  }

  drawRef(ref, root, box) {
    if (!(ref.value >= box.y0 && ref.value <= box.y1)) return;
    const y = box.y(ref.value);
    svg('line', {class: 'ref', x1: box.left, x2: box.right, y1: y, y2: y}, root);
    const above = y - box.top > 18;
    svg('text', {class: 'reflabel', x: box.right - 2, y: above ? y - 6 : y + 14, 'text-anchor': 'end'}, root).textContent = ref.label;
  }

  addPointer() {
    let from = null;
    let band = null;
    const where = (event) => event.clientX - this.plot.getBoundingClientRect().left;
    this.plot.onpointermove = (event) => {
      this.pointerY = event.clientY - this.plot.getBoundingClientRect().top;
      view.point(this.box.step(where(event)), this);
      if (from === null) return;
      const [a, b] = [from, where(event)].sort((p, q) => p - q).map((px) => clamp(px, this.box.left, this.box.right));
      if (!band) band = svg('rect', {class: 'brush'}, this.root);
      for (const [key, v] of Object.entries({x: a, y: this.box.top, width: b - a, height: this.box.bottom - this.box.top})) band.setAttribute(key, v);
    };
    this.plot.onpointerdown = (event) => {
      if (event.pointerType !== 'mouse' || event.button !== 0) return;
      from = where(event);
      this.plot.setPointerCapture(event.pointerId);
      this.plot.classList.add('drag');
    };
    this.plot.onpointerup = (event) => {
      const start = from;
      from = null;
      this.plot.classList.remove('drag');
      if (band) band.remove();
      band = null;
      if (start === null || Math.abs(where(event) - start) < 6) return;
      view.zoom([start, where(event)].map((px) => this.box.step(px)).sort((p, q) => p - q));
    };
    this.plot.onpointerleave = () => view.point(null, null);
    this.plot.ondblclick = () => view.zoom(null);
  }

  /** Shows the values at `step` (null: the last ones); `active`: the pointer is on this chart. */
  point(step, active) {
    if (!this.overlay) return;
    this.overlay.replaceChildren();
    const format = this.spec.format || trimmed;
    if (this.spec.ramp) return this.pointRamp(step, active, format);
    this.spec.series.forEach((series, i) => {
      const item = this.items[i];
      const curve = this.curve(series);
      if (!item || !curve.x.length || this.spec.own) return;
      if (series.kind === 'marks') {
        item.value.textContent = series.count;
        return;
      }
      const at = step === null ? lastFinite(curve) : nearest(curve, step);
      item.value.textContent = format(curve.y[at], 4);
      if (step !== null && series.kind !== 'raw' && !this.hidden.has(series)) this.dot(curve, at, this.paint(series));
    });
    this.cross(step);
  }

  cross(step) {
    if (step === null || this.spec.own) return;
    const x = Math.round(this.box.x(step)) + 0.5;
    if (x < this.box.left || x > this.box.right + 1) return;
    svg('line', {class: 'cross', x1: x, x2: x, y1: this.box.top, y2: this.box.bottom}, this.overlay);
  }

  dot(curve, at, paint) {
    const v = curve.y[at];
    const x = this.box.x(curve.x[at]);
    if (!finite(v) || (this.log && v <= 0) || x < this.box.left - 1) return;
    svg('circle', {cx: x, cy: this.box.y(v), r: 3.4, fill: paint, stroke: color('--card'), 'stroke-width': 1.5}, this.overlay);
  }

  /** Many curves: names the one nearest to the pointer, or the extremes at that step. */
  pointRamp(step, active, format) {
    const series = this.spec.series;
    const values = series.map((s) => s.y[step === null ? lastFinite(s) : nearest(s, step)]);
    const usable = values.map((v, i) => [v, i]).filter(([v]) => finite(v));
    this.near.textContent = '';
    if (!usable.length) return;
    if (active) {
      const [v, i] = usable.reduce((a, b) =>
        Math.abs(this.box.y(b[0]) - this.pointerY) < Math.abs(this.box.y(a[0]) - this.pointerY) ? b : a);
      this.near.append(series[i].name + ' ');
      html('b', '', this.near, format(v, 4));
      this.dot(series[i], nearest(series[i], step), this.paint(series[i]));
    } else {
      const sorted = usable.map(([v]) => v).sort((a, b) => a - b);
      html('b', '', this.near, format(sorted[0], 3) + ' … ' + format(sorted[sorted.length - 1], 3));
    }
    this.cross(step);
  }
}
