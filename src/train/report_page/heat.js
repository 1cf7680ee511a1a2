// The heat map of expert load: rows are experts grouped by layer, columns are time, colour is
// log2(load / mean). Drawn on a canvas, with the axes and the cross of the other charts on top.

class HeatMap extends Chart {
  constructor(spec, parent) {
    super(Object.assign({series: [], size: 'wide'}, spec), parent);
    const data = spec.data;
    const raw = atob(data.cells);
    this.columns = data.x.length - 1;
    this.cells = Uint8Array.from(raw, (c) => c.charCodeAt(0));
    this.blocks = [];
    let row = 0;
    for (const layer of data.layers) {
      const rows = Math.ceil(layer.experts / data.fold);
      if (rows > 0) this.blocks.push({layer: layer.layer, experts: layer.experts, row, rows});
      row += rows;
    }
    this.rows = row;
    this.reach = this.pickReach();
    this.addLegend();
  }

  octaves(cell) {
    return (cell - 128) / 126 * this.spec.data.octaves;
  }

  /** The scale fits the data: the smallest of ±½, ±1, ±2, ±3 octaves that holds 98% of the cells. */
  pickReach() {
    const counts = new Array(256).fill(0);
    for (const cell of this.cells) if (cell > 1) ++counts[Math.abs(cell - 128)];
    const total = counts.reduce((a, b) => a + b, 0);
    let seen = 0;
    let edge = 0;
    while (edge < 127 && seen < 0.98 * total) seen += counts[edge++];
    const limit = this.octaves(128 + edge);
    return [0.5, 1, 2].find((r) => r >= limit) || 3;
  }

  addLegend() {
    this.legend = html('span', '', this.key);
    this.near = html('span', '', this.key);
  }

  drawLegend() {
    this.legend.replaceChildren();
    const names = {0.5: ['0.71×', '1.41×'], 1: ['½×', '2×'], 2: ['¼×', '4×'], 3: ['⅛×', '8×']}[this.reach];
    html('span', '', this.legend, names[0]);
    const bar = html('span', 'ramp', this.legend);
    bar.style.width = '130px';
    bar.style.background = `linear-gradient(90deg, ${color('--low')}, ${color('--mid')}, ${color('--high')})`;
    html('span', '', this.legend, names[1] + ' the mean load');
    const box = html('span', 'ramp', this.legend);
    box.style.cssText = `width:10px;height:10px;border-radius:2px;margin-left:10px;background:${color('--dead')}`;
    html('span', '', this.legend, 'no token');
  }

  palette() {
    const [low, mid, high] = ['--low', '--mid', '--high'].map(color);
    const list = [];
    for (let cell = 0; cell < 256; ++cell) {
      const t = clamp(this.octaves(cell) / this.reach, -1, 1);
      list.push(channels(t < 0 ? mix(mid, low, Math.pow(-t, 0.85)) : mix(mid, high, Math.pow(t, 0.85))));
    }
    list[0] = channels(color('--none'));
    list[1] = channels(color('--dead'));
    return list;
  }

  layout() {
    const width = Math.max(160, this.plot.clientWidth);
    const row = clamp(Math.floor(560 / this.rows), 1, 12);
    const gap = this.blocks.length > 40 ? 1 : row > 3 ? 6 : 3;
    const height = this.rows * row + (this.blocks.length - 1) * gap;
    return {width, row, gap, left: 66, right: width - 10, top: 4, bottom: 4 + height, height: height + 30};
  }

  draw() {
    const box = this.box = this.layout();
    this.placeX(box, ...this.xDomain());
    this.plot.replaceChildren();
    this.drawCells(box);
    const root = this.root = svg('svg', {viewBox: `0 0 ${box.width} ${box.height}`, height: box.height, role: 'img',
      'aria-label': this.spec.title, style: 'position:relative'}, this.plot);
    this.drawLabels(root, box);
    this.overlay = svg('g', {}, root);
    this.drawLegend();
    this.point(view.hover, false);
  }

  drawCells(box) {
    const canvas = html('canvas', '', this.plot);
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    canvas.style.width = box.width + 'px';
    canvas.style.height = box.height + 'px';
    const image = new ImageData(this.columns, this.rows);
    const palette = this.palette();
    this.cells.forEach((cell, i) => image.data.set([...palette[cell], 255], 4 * i));
    const source = document.createElement('canvas');
    source.width = this.columns;
    source.height = this.rows;
    source.getContext('2d').putImageData(image, 0, 0);
    const paint = canvas.getContext('2d');
    paint.scale(ratio, ratio);
    paint.imageSmoothingEnabled = false;
    paint.beginPath();
    paint.rect(box.left, 0, box.right - box.left, box.height);
    paint.clip();
    const edges = this.spec.data.x.map((step) => Math.round(box.x(step) * ratio) / ratio);
    this.blocks.forEach((block, i) => {
      block.y = box.top + block.row * box.row + i * box.gap;
      for (let column = 0; column < this.columns; ++column) {
        const width = Math.max(edges[column + 1] - edges[column], 1 / ratio);
        paint.drawImage(source, column, block.row, 1, block.rows, edges[column], block.y, width, block.rows * box.row);
      }
    });
  }

  drawLabels(root, box) {
    let free = -Infinity;
    for (const block of this.blocks) {
      const y = block.y + block.rows * box.row / 2 + 4;
      if (y < free) continue;
      svg('text', {x: box.left - 8, y, 'text-anchor': 'end'}, root).textContent = 'layer ' + block.layer;
      free = y + 13;
    }
    this.drawXAxis(root, box, box.bottom + 2);
  }

  point(step, active) {
    if (!this.overlay) return;
    this.overlay.replaceChildren();
    this.near.textContent = '';
    this.cross(step);
    const block = active && this.blocks.find((b) => this.pointerY >= b.y && this.pointerY < b.y + b.rows * this.box.row);
    if (!block || step === null) return;
    const row = Math.floor((this.pointerY - block.y) / this.box.row);
    let column = this.spec.data.x.findIndex((edge) => edge > step) - 1;
    if (column < 0) column = this.columns - 1;
    const cell = this.cells[(block.row + row) * this.columns + column];
    const fold = this.spec.data.fold;
    const first = row * fold;
    const name = fold > 1 ? `experts ${first}–${Math.min(first + fold, block.experts) - 1}` : `expert ${first}`;
    const load = cell === 0 ? 'not measured' : cell === 1 ? 'no token' : trimmed(Math.pow(2, this.octaves(cell)), 3) + '× mean';
    this.near.append(`layer ${block.layer}, ${name} `);
    html('b', '', this.near, load);
    svg('rect', {x: this.box.left, y: block.y + row * this.box.row - 0.5, width: this.box.right - this.box.left, height: this.box.row + 1,
      fill: 'none', stroke: color('--ink'), 'stroke-opacity': 0.55, 'stroke-width': 1}, this.overlay);
  }
}
