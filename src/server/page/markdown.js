'use strict';
// Markdown → DOM nodes. Text only ever becomes text nodes, so nothing a model writes is markup. Time is linear in the text: no
// expression has two repetitions side by side that could share its characters in many ways, and none looks further than 4,000.

/** A node with its children; lists of them may be long, so they are not spread. */
const make = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  for (const child of children.flat()) node.append(child);
  return node;
};

/** The mark and what follows it, if the line opens a block of code. */
function fenceOf(line) {
  const mark = line.match(/^ *(`{3,}|~{3,})/);
  const rest = mark && line.slice(mark[0].length);
  return mark && !rest.includes('`') ? {mark: mark[1], language: rest.trim().split(/\s/)[0]} : null;
}
const kItem = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;

// Cuts a text into its blocks; a block's text tells all about it, so unchanged ones can stay.
function splitBlocks(text) {
  const blocks = [];
  let lines = [], fence = '', list = false;
  const flush = () => {
    while (lines.length && !lines[lines.length - 1].trim()) lines.pop();
    if (lines.length) blocks.push(lines.join('\n'));
    lines = [];
    list = false;
  };
  for (const line of text.split('\n')) {
    if (fence) {
      lines.push(line);
      if (line.trim().startsWith(fence) && !line.trim().slice(fence.length).trim()) {
        fence = '';
        if (!list) flush();
      }
      continue;
    }
    const opened = fenceOf(line);
    if (opened && (list ? /^ {2,}/.test(line) : true)) {
      if (!list) flush();
      fence = opened.mark;
      lines.push(line);
    } else if (!line.trim()) {
      if (list) lines.push(line);
      else flush();
    } else if (kItem.test(line)) {
      if (!list) flush();
      list = true;
      lines.push(line);
    } else if (list && lines.length && !lines[lines.length - 1].trim() && !/^ {2,}/.test(line)) {
      flush();
      lines.push(line);
    } else if (/^#{1,6}\s/.test(line)) {
      flush();
      lines.push(line);
      flush();
    } else {
      lines.push(line);
    }
  }
  if (fence) {
    blocks.push(lines.join('\n'));
    lines = [];
  }
  flush();
  return blocks;
}

const kInline = [
  [/^`+/, (text, m) => {
    const end = text.indexOf(m[0], m[0].length);
    if (end < 0 || text[end + m[0].length] === '`') return null;
    return [end + m[0].length, make('code', {textContent: text.slice(m[0].length, end).trim() || ' '})];
  }],
  [/^\\([!-/:-@[-`{-~])/, (text, m) => [2, m[1]]],
  [/^\*\*(?=\S)([\s\S]*?\S)\*\*(?!\*)/, (text, m, depth) => [m[0].length, make('strong', {}, inline(m[1], depth))]],
  [/^__(?=\S)([\s\S]*?\S)__(?!\w)/, (text, m, depth) => [m[0].length, make('strong', {}, inline(m[1], depth))]],
  [/^\*(?=[^\s*])((?:[^*]|\*\*[^*]+\*\*)*?[^\s*])\*(?!\*)/, (text, m, depth) => [m[0].length, make('em', {}, inline(m[1], depth))]],
  [/^_(?=[^\s_])([^_]*[^\s_])_(?!\w)/, (text, m, depth) => [m[0].length, make('em', {}, inline(m[1], depth))]],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (text, m, depth) => [m[0].length, make('del', {}, inline(m[1], depth))]],
  [/^\[([^\][]{1,500})\]\(\s*<?([^\s()<>]{1,2000}(?:\([^\s()]*\))?)>?(?:\s+"[^"]*")?\s*\)/, (text, m, depth) => [m[0].length, link(m[2], inline(m[1], depth))]],
  [/^https?:\/\/[^\s<>"'`]{1,2000}[^\s<>"'`.,;:!?)\]}*_]/, (text, m) => [m[0].length, link(m[0], [m[0]])]],
];

// Only addresses that cannot run anything; others are shown as text.
function link(address, children) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return make('span', {}, children);
  return make('a', {href: address, target: '_blank', rel: 'noopener noreferrer'}, children);
}

function inline(text, depth = 0) {
  const nodes = [];
  let plain = '';  // of the last line
  let before = [];  // the lines before it
  const flush = () => {
    const all = before.join('') + plain;
    if (all) nodes.push(all);
    before = [];
    plain = '';
  };
  for (let i = 0; i < text.length;) {
    let hit = null;
    const c = text[i];
    if (depth < 8 && '`\\*_~[h'.includes(c) && !((c === '_' || c === 'h') && /\w/.test(text[i - 1] || ' '))) {
      const rest = text.slice(i, i + 4000);
      for (const [pattern, build] of kInline) {
        const match = rest.match(pattern);
        hit = match && build(rest, match, depth + 1);
        if (hit) break;
      }
    }
    if (hit) {
      if (typeof hit[1] === 'string') plain += hit[1];
      else {
        flush();
        nodes.push(hit[1]);
      }
      i += hit[0];
    } else if (c === '\n') {
      const hard = plain.endsWith('  ');
      plain = plain.trimEnd();
      if (hard) {
        flush();
        nodes.push(make('br'));
      } else {
        before.push(plain, '\n');
        plain = '';
      }
      i += 1;
    } else if (c === '`') {  // an opening that is not closed: not to be tried again one shorter
      const run = text.slice(i).match(/^`+/)[0];
      plain += run;
      i += run.length;
    } else {
      plain += c;
      i += 1;
    }
  }
  flush();
  return nodes;
}

function codeBlock(code, language) {
  const button = make('button', {type: 'button', textContent: 'Copy'});
  button.addEventListener('click', () => copyText(code, button));
  const bar = make('div', {className: 'bar'}, make('span', {textContent: language || 'text'}), button);
  return make('div', {className: 'block'}, bar, make('pre', {tabIndex: 0}, make('code', {textContent: code})));
}

function copyText(text, button) {
  const old = button.textContent;
  const done = (ok) => {
    if (!old) {
      button.classList.toggle('done', ok);
      return;
    }
    button.textContent = ok ? 'Copied' : 'Not copied';
    setTimeout(() => { button.textContent = old; }, 1500);
  };
  if (navigator.clipboard) {
    navigator.clipboard.writeText(text).then(() => done(true), () => done(false));
    return;
  }
  const box = make('textarea', {value: text});  // pages that are not HTTPS have no clipboard
  document.body.append(box);
  box.select();
  done(document.execCommand('copy'));
  box.remove();
}

const cellsOf = (line) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((c) => c.trim().replace(/\\\|/g, '|'));

function tableBlock(lines) {
  const aligns = cellsOf(lines[1]).map((c) => (/^:-+:$/.test(c) ? 'center' : /-:$/.test(c) ? 'right' : ''));
  const row = (line, tag) => make('tr', {}, cellsOf(line).slice(0, aligns.length).map((text, i) => {
    const cell = make(tag, {}, inline(text));
    if (aligns[i]) cell.style.textAlign = aligns[i];
    return cell;
  }));
  const body = make('tbody', {}, lines.slice(2).map((line) => row(line, 'td')));
  return make('div', {className: 'scroll'}, make('table', {}, make('thead', {}, row(lines[0], 'th')), body));
}

function listBlock(lines, depth) {
  const ordered = /^ *\d/.test(lines[0]);
  const list = make(ordered ? 'ol' : 'ul');
  if (ordered) list.start = parseInt(lines[0], 10) || 1;
  const base = lines[0].match(/^ */)[0].length;
  let item = null;
  const items = [];
  for (const line of lines) {
    const match = line.match(kItem);
    if (match && match[1].length <= base + 1) items.push(item = [line.slice(match[0].length)]);
    else item.push(line.replace(/^( {4}|\t| {2,3})/, ''));
  }
  for (const content of items) {
    const node = make('li');
    const box = content[0].match(/^\[([ xX])\] /);
    if (box) {
      node.append(make('input', {type: 'checkbox', disabled: true, checked: box[1] !== ' '}), ' ');
      content[0] = content[0].slice(4);
    }
    const blocks = splitBlocks(content.join('\n'));
    blocks.forEach((block, i) => {
      const child = renderBlock(block, depth + 1);
      if (child.tagName === 'P' && (i === 0 || blocks.length === 1)) while (child.firstChild) node.append(child.firstChild);
      else node.append(child);
    });
    list.append(node);
  }
  return list;
}

/** Without the marks that may close it. */
function headingText(line) {
  const text = line.trim();
  let end = text.length;
  while (text[end - 1] === '#') --end;
  return end === 0 || /\s/.test(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

function renderBlock(text, depth = 0) {
  const lines = text.split('\n');
  const fence = fenceOf(lines[0]);
  if (fence) {
    const closed = lines.length > 1 && lines[lines.length - 1].trim().startsWith(fence.mark);
    return codeBlock(lines.slice(1, closed ? -1 : undefined).join('\n'), fence.language);
  }
  const heading = lines[0].match(/^(#{1,6})\s/);
  if (heading) return make('h' + Math.min(heading[1].length, 4), {}, inline(headingText(lines[0].slice(heading[1].length))));
  if (lines.length === 1 && /^ {0,3}([-*_])( *\1){2,} *$/.test(lines[0])) return make('hr');
  if (depth < 6 && lines.every((line) => /^ {0,3}>/.test(line))) {
    const inner = splitBlocks(lines.map((line) => line.replace(/^ {0,3}> ?/, '')).join('\n'));
    return make('blockquote', {}, inner.map((block) => renderBlock(block, depth + 1)));
  }
  if (depth < 6 && kItem.test(lines[0])) return listBlock(lines, depth);
  if (lines.length > 1 && lines[0].includes('|') && cellsOf(lines[1]).every((cell) => /^:?-+:?$/.test(cell))) return tableBlock(lines);
  return make('p', {}, inline(text));
}

// Shows `text` in `parent`, touching only the blocks that have changed.
function showMarkdown(parent, text) {
  let old = parent.firstElementChild;  // not children[i], which counts from the start
  for (const block of splitBlocks(text)) {
    const next = old && old.nextElementSibling;
    if (!old || old.source !== block) {
      const node = renderBlock(block);
      node.source = block;
      if (old) old.replaceWith(node);
      else parent.append(node);
    }
    old = next;
  }
  while (old) {
    const next = old.nextElementSibling;
    old.remove();
    old = next;
  }
}
