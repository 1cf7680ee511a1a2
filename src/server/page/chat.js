// The page: conversations, messages, the message box.
const $ = (id) => document.getElementById(id);
const kIcons = {
  menu: 'M4 7h16M4 12h16M4 17h16', close: 'M6 6l12 12M18 6L6 18', send: 'M12 19V5M6 11l6-6 6 6', down: 'M12 5v14M6 13l6 6 6-6',
  copy: 'M9 9h10v11H9zM15 9V4H5v11h4', retry: 'M4 12a8 8 0 1 1 2.5 5.8M4 20v-4.5h4.5', edit: 'M4 20l1-4L16 5l3 3L8 19zM13.5 7.5l3 3',
  remove: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13', chevron: 'M9 6l6 6-6 6', check: 'M5 12.5l4.5 4.5L19 7.5',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M13 7a2 2 0 1 0 4 0a2 2 0 1 0-4 0M7 17a2 2 0 1 0 4 0a2 2 0 1 0-4 0',
  theme: 'M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18',
};

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'i');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', kIcons[name]);
  if (name === 'stop') path.setAttribute('fill', 'currentColor');
  svg.append(path);
  return svg;
}
kIcons.stop = 'M7 7h10v10H7z';

const iconButton = (name, title, action) => {
  const button = make('button', {type: 'button', className: 'icon', title, ariaLabel: title, onclick: action});
  button.append(icon(name));
  return button;
};

let settings = store.read('settings', {});  // what the user chose; the rest is the server's
let chat = null;      // the conversation shown
let running = null;   // {abort, chat, message}
let serverModel = null;
const views = new Map();  // message → its node's parts

// ---- conversations ----

function newChat() {
  opening = null;
  chat = {id: Date.now().toString(36) + Math.random().toString(36).slice(2, 8), title: 'New chat', messages: []};
  showChat();
}

let opening = null;
async function openChat(id) {
  opening = id;
  const found = running && running.chat.id === id ? running.chat : await store.load(id);
  if (opening !== id) return;  // another one was chosen meanwhile
  if (!found) {
    showNotice('This conversation could not be read.');
    return chat || newChat();
  }
  chat = found;
  store.write('open', id);
  showChat();
}

/** Keeps a conversation, and says so if the browser does not. */
async function saveChat(kept) {
  const problem = await store.save(kept);
  if (problem) showNotice(`“${kept.title}” is not saved: ${problem}. It is lost when this page is closed. Delete conversations that you do not need, or copy what you want to keep.`);
  else if (!store.unsaved.size) showNotice('');
  showList();
}

function showNotice(text) {
  $('notice').hidden = !text;
  $('notice').firstElementChild.textContent = text;
}

async function removeChat(id) {
  if (running && running.chat.id === id) running.abort.abort();
  await store.remove(id);
  for (const other of store.unsaved.values()) await saveChat(other);  // there may be room now
  if (chat.id === id) {
    const next = store.chats()[0];
    next ? await openChat(next.id) : newChat();
  } else {
    showList();
  }
}

function dayOf(time) {
  const start = new Date().setHours(0, 0, 0, 0);
  if (time >= start) return 'Today';
  if (time >= start - 864e5) return 'Yesterday';
  return time >= start - 6 * 864e5 ? 'This week' : 'Earlier';
}

function showList() {
  const rows = [];
  let day = '';
  for (const entry of store.chats()) {
    if (dayOf(entry.changed) !== day) rows.push(make('li', {className: 'day', textContent: day = dayOf(entry.changed)}));
    const row = make('li', {className: 'row'});
    if (entry.id === chat.id) row.setAttribute('aria-current', 'true');
    row.append(
      make('button', {type: 'button', className: 'open', textContent: entry.title, title: entry.title, onclick: () => { openChat(entry.id); closeSide(); }}),
      iconButton('remove', 'Delete', () => removeChat(entry.id)));
    row.lastChild.classList.add('remove');
    rows.push(row);
  }
  $('chats').replaceChildren(...rows);
}

// ---- messages ----

function showChat() {
  views.clear();
  document.title = chat.messages.length ? chat.title + ' – ultramoe' : 'ultramoe';
  $('messages').replaceChildren(...(chat.messages.length ? chat.messages.map(messageNode) : [emptyNode()]));
  showList();
  showRunning();
  follow = true;
  toEnd();
}

function emptyNode() {
  if (base())
    return make('div', {className: 'empty'},
      make('h2', {textContent: 'Write the beginning of a text'}),
      make('p', {textContent: serverModel.id + ' is a base model: it continues text and does not answer questions. Nothing leaves this server.'}));
  const starts = ['Explain how a mixture of experts works', 'Write a short poem about rivers', 'Plan a weekend in Shanghai'];
  return make('div', {className: 'empty'},
    make('h2', {textContent: 'What shall we talk about?'}),
    make('p', {textContent: serverModel ? serverModel.id + ' runs on this server. Nothing leaves it.' : 'The model runs on this server. Nothing leaves it.'}),
    make('div', {className: 'starts'}, ...starts.map((text) => make('button', {type: 'button', textContent: text, onclick: () => send(text)}))));
}

function messageNode(message) {
  const node = make('div', {className: 'message ' + message.role});
  const view = {node};
  views.set(message, view);
  if (message.role === 'user') {
    node.append(make('div', {className: 'text', textContent: message.content}));
    node.append(make('div', {className: 'foot'}, iconButton('edit', 'Edit and ask again', () => edit(message)), copyButton(() => message.content)));
    return node;
  }
  view.think = make('details', {className: 'think', hidden: true}, make('summary', {}, icon('chevron'), view.label = make('span')), view.thought = make('div', {className: 'inner md'}));
  view.text = make('div', {className: base() ? 'continued' : 'md'});
  view.wait = make('div', {className: 'wait', hidden: true, ariaLabel: 'The model is working'}, make('i'), make('i'), make('i'));
  view.note = make('div', {className: 'note', hidden: true});
  view.older = make('div', {className: 'older', hidden: true});
  view.stats = make('span', {className: 'stats'});
  view.more = make('button', {type: 'button', className: 'more', textContent: 'Go on', title: 'Continue this text', onclick: () => goOn(message)});
  view.foot = make('div', {className: 'foot'}, copyButton(() => message.content), iconButton('retry', 'Answer again (Alt R)', () => retry(message)), view.more, view.stats);
  node.append(view.older, view.think, view.text, view.wait, view.note, view.foot);
  showMessage(message);
  return node;
}

function copyButton(text) {
  const button = iconButton('copy', 'Copy', () => {
    copyText(text(), make('button'));
    button.replaceChildren(icon('check'));
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

// Brings a message's node up to date.
function showMessage(message) {
  const view = views.get(message);
  if (!view || !view.text) return;
  const busy = running && running.message === message;
  view.node.classList.toggle('busy', Boolean(busy));
  view.think.hidden = !message.reasoning;
  if (message.reasoning) {
    const seconds = message.stats && message.stats.thinking;
    view.label.textContent = busy && !message.content ? 'Thinking…' : seconds ? `Thought for ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s` : 'Thoughts';
    if (view.think.open || !view.thought.childNodes.length) showMarkdown(view.thought, message.reasoning);
    if (!view.listens) view.listens = view.think.ontoggle = () => showMarkdown(view.thought, message.reasoning);
  }
  view.more.hidden = !base();
  if (base()) view.text.textContent = message.content;
  else showMarkdown(view.text, message.content);
  view.wait.hidden = !busy || Boolean(message.content);
  view.note.hidden = !message.error && !message.ended;
  view.note.className = message.error ? 'note' : 'note mild';
  view.note.textContent = message.error || endingOf(message);
  view.older.hidden = !message.left;
  if (message.left) view.older.textContent = `Older messages no longer fit: the first ${message.left} of this conversation were left out.`;
  view.stats.textContent = statsText(message.stats);
  view.stats.title = message.stats && message.stats.prompt ? `${message.stats.prompt} tokens of prompt, ${message.stats.cached} of them cached` : '';
}

function endingOf(message) {
  if (!message.ended) return '';
  const what = base() ? 'The text' : 'The answer';
  return {length: `${what} was cut off: it reached the longest length.`, stopped: 'You stopped it.', end: 'The model ended the text here.'}[message.ended];
}

function statsText(stats) {
  if (!stats || !stats.tokens) return '';
  const parts = [`${stats.tokens} ${stats.tokens === 1 ? 'token' : 'tokens'}`];
  if (stats.speed) parts.unshift(`${stats.speed < 10 ? stats.speed.toFixed(1) : Math.round(stats.speed)} tokens/s`);
  if (stats.first) parts.push(`first after ${stats.first.toFixed(2)} s`);
  if (stats.drafted) parts.push(`${Math.round(100 * stats.accepted / stats.drafted)}% of drafts accepted`);
  return parts.join(' · ');
}

// ---- asking ----

function send(text) {
  text = text.trim();
  if (!text || running) return;
  if (!chat.messages.length) chat.title = text.replace(/\s+/g, ' ').slice(0, 60);
  chat.messages.push({role: 'user', content: text});
  answer();
}

function retry(message) {
  if (running) return;
  const at = chat.messages.indexOf(message);
  chat.messages.splice(at < 0 ? chat.messages.length : at);
  if (chat.messages.length) answer();
}

function edit(message) {
  if (running) return;
  chat.messages.splice(chat.messages.indexOf(message));
  $('input').value = message.content;
  grow();
  showChat();
  $('input').focus();
}

// A base model's text goes on where it ended.
function goOn(message) {
  if (!running && message === chat.messages[chat.messages.length - 1]) answer(message);
}

/** Whether the server's model can think; then there is a longest thinking. */
const thinks = () => Boolean(serverModel?.meta?.thinking);
/** Whether the user chooses if it does; then there are modes. */
const switches = () => Boolean(serverModel?.meta?.thinking_switch);
/** Whether it only continues text; then a message is the beginning of one. */
const base = () => Boolean(serverModel?.meta?.base);

/** What a setting is where the user says nothing; nothing: not known here. */
const defaultOf = (name) => (name === 'max_tokens' ? ownLength() : serverModel?.meta?.sampling?.[name]);
/** The longest answer that the page asks for by itself; nothing: the server's. */
const ownLength = () => (base() ? 256 : undefined);

/** The messages to send, the question last. Turns without an answer (it failed, or was stopped) are left out, and so are the oldest
    ones where not all fit. */
function sentMessages(of) {
  const pending = running && running.chat === of ? running.message : null;
  const all = of.messages.slice(of.from || 0).filter((m) => m !== pending);
  return all.filter((m, i) => (m.role === 'user' ? !all[i + 1] || all[i + 1].content : m.content));
}

/** Leaves out the oldest turns, at least a quarter of the text; false where there is only the question. */
function leaveOut(of) {
  const sent = sentMessages(of), size = (m) => m.content.length + 1;
  const goal = sent.reduce((sum, m) => sum + size(m), 0) / 4;
  let left = 0, count = 0;
  while (count < sent.length - 1 && (left < goal || sent[count].role !== 'user')) left += size(sent[count++]);
  if (!count) return false;
  of.from = of.messages.indexOf(sent[count]);
  return true;
}

function requestBody(of = chat) {
  const body = {model: serverModel ? serverModel.id : 'default', stream: true, stream_options: {include_usage: true}};
  if (base()) {
    const begin = of.messages.findLastIndex((m) => m.role === 'user');
    body.prompt = of.messages.slice(begin).map((m) => m.content).join('');
  } else {
    body.messages = sentMessages(of).map((m) => ({role: m.role, content: m.content}));
    if (settings.system) body.messages.unshift({role: 'system', content: settings.system});
    if (switches() && settings.mode) body.chat_template_kwargs = {mode: settings.mode};
  }
  for (const name of ['temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'seed', 'max_tokens', 'thinking_token_budget']) {
    const value = Number.isFinite(settings[name]) ? settings[name] : name === 'max_tokens' ? ownLength() : undefined;
    if (value !== undefined && (thinks() || name !== 'thinking_token_budget')) body[name] = value;
  }
  return body;
}

// Fills `message`, which is a new answer unless a text goes on.
async function answer(message) {
  const own = chat;
  if ((own.from || 0) >= own.messages.length) own.from = 0;
  if (!message) {
    message = {role: 'assistant', content: '', reasoning: ''};
    own.messages.push(message);
  }
  delete message.ended;
  delete message.error;
  running = {abort: new AbortController(), chat: own, message};
  saveChat(own);
  store.write('open', own.id);
  showChat();
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  const stats = message.stats = {tokens: 0};
  const ask = base() ? 'complete' : 'chat';
  const attempt = () => api[ask](requestBody(own), running.abort.signal, (chunk) => take(chunk, message, stats, since));
  try {
    for (let whole = false; !whole;) {
      whole = await attempt().then(() => true, (error) => {
        if (base() || error.code !== 'context_length_exceeded' || !leaveOut(own)) throw error;
        message.left = own.from;
        return false;
      });
    }
  } catch (error) {
    if (error.name === 'AbortError') message.ended = 'stopped';
    else message.error = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
  }
  if (!stats.speed && stats.tokens > 1) stats.speed = (stats.tokens - 1) / (since() - stats.first);
  running = null;
  if (store.chats().some((other) => other.id === own.id)) saveChat(own);
  showRunning();
  showMessage(message);
  showList();
  keepEnd();
  checkServer();
}

function take(chunk, message, stats, since) {
  if (chunk.usage) {
    stats.tokens = chunk.usage.completion_tokens;
    stats.prompt = chunk.usage.prompt_tokens;
    stats.cached = chunk.usage.prompt_tokens_details ? chunk.usage.prompt_tokens_details.cached_tokens : 0;
  }
  if (chunk.timings) {
    stats.speed = chunk.timings.predicted_per_second;
    stats.drafted = chunk.timings.draft_n;
    stats.accepted = chunk.timings.draft_n_accepted;
  }
  const choice = chunk.choices[0];
  if (!choice) return;
  const delta = choice.delta || {content: choice.text};
  const thought = delta.reasoning_content || delta.reasoning;
  if (thought) message.reasoning += thought;
  if (delta.content) {
    if (message.reasoning && !message.content) stats.thinking = since();
    message.content += delta.content;
  }
  if (thought || delta.content) {
    stats.first = stats.first || since();
    stats.tokens += 1;  // the server's own count comes at the end
    soon(message);
  }
  if (choice.finish_reason === 'length') message.ended = 'length';
  else if (choice.finish_reason && base()) message.ended = 'end';
}

let drawn = 0;
// At most one redraw a frame, however fast the chunks come.
function soon(message) {
  if (drawn) return;
  drawn = requestAnimationFrame(() => {
    drawn = 0;
    showMessage(message);
    keepEnd();
  });
}

const stop = () => running && running.abort.abort();

function showRunning() {
  const busy = Boolean(running);
  const button = $('send');
  button.replaceChildren(icon(busy ? 'stop' : 'send'));
  button.title = busy ? 'Stop (Esc)' : 'Send (Enter)';
  button.ariaLabel = button.title;
  button.disabled = !busy && !$('input').value.trim();
  $('log').setAttribute('aria-busy', String(busy));
  if (running) showMessage(running.message);
}

// ---- scrolling ----

let follow = true;
const log = $('log');
const toEnd = () => { log.scrollTop = log.scrollHeight; };
const keepEnd = () => { if (follow) toEnd(); };
log.addEventListener('scroll', () => {
  const left = log.scrollHeight - log.scrollTop - log.clientHeight;
  follow = left < 60;
  $('down').hidden = left < 240;
}, {passive: true});
$('down').append(icon('down'));
$('down').onclick = () => { follow = true; toEnd(); };

// ---- message box ----

const input = $('input');
function grow() {
  input.style.height = 'auto';
  input.style.height = input.scrollHeight + 'px';
  showRunning();
}
input.addEventListener('input', grow);
input.addEventListener('keydown', (event) => {
  const narrow = matchMedia('(max-width: 820px) and (pointer: coarse)').matches;
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && !narrow) {
    event.preventDefault();
    submit();
  } else if (event.key === 'ArrowUp' && !input.value && !running) {
    const last = chat.messages.filter((m) => m.role === 'user').pop();
    if (last) {
      event.preventDefault();
      edit(last);
    }
  }
});
function submit() {
  if (running || !input.value.trim()) return;
  const text = input.value;
  input.value = '';
  grow();
  send(text);
}
$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  running ? stop() : submit();
});

// ---- settings, theme, side ----

/** The mode that is chosen, else the server's; 'default' is none of the buttons. */
function showMode() {
  const mode = settings.mode || serverModel?.meta?.mode;
  for (const button of $('modes').children) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
}
function setMode(mode) {
  if (settings.mode === mode) delete settings.mode;  // chosen again: back to the server's
  else settings.mode = mode;
  store.write('settings', settings);
  showMode();
}
for (const button of $('modes').children) button.onclick = () => setMode(button.dataset.mode);

const settingsForm = $('settings').querySelector('form');
function openSettings() {
  for (const field of settingsForm.elements) {
    if (!field.name) continue;
    field.value = settings[field.name] ?? '';
    const value = defaultOf(field.name);  // what is sent where the field is empty
    if (value !== undefined) field.placeholder = value;
  }
  $('settings').showModal();
}
$('settings').addEventListener('close', () => {
  for (const field of settingsForm.elements) {
    if (!field.name) continue;
    const value = field.type === 'number' ? field.valueAsNumber : field.value.trim();
    if (value === '' || Number.isNaN(value)) delete settings[field.name];
    else settings[field.name] = value;
  }
  store.write('settings', settings);
  checkServer();
});
$('reset').onclick = () => { for (const field of settingsForm.elements) if (field.name && field.name !== 'api_key') field.value = ''; };
$('open-settings').append(icon('settings'));
$('open-settings').onclick = openSettings;
for (const button of document.querySelectorAll('[data-icon]')) button.append(icon(button.dataset.icon));

const darkSystem = matchMedia('(prefers-color-scheme: dark)');
function showTheme() {
  document.documentElement.dataset.theme = settings.theme || (darkSystem.matches ? 'dark' : 'light');
}
darkSystem.addEventListener('change', showTheme);
$('theme').append(icon('theme'));
$('theme').onclick = () => {
  settings.theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  store.write('settings', settings);
  showTheme();
};

function openSide() {
  document.body.classList.add('side');
  $('veil').hidden = false;
  $('menu').setAttribute('aria-expanded', 'true');
  $('new').focus();
}
function closeSide() {
  document.body.classList.remove('side');
  $('veil').hidden = true;
  $('menu').setAttribute('aria-expanded', 'false');
}
$('menu').append(icon('menu'));
$('menu').onclick = openSide;
$('veil').onclick = closeSide;
$('new').onclick = () => { newChat(); closeSide(); input.focus(); };

// ---- keys ----

function otherChat(step) {
  const ids = store.chats().map((entry) => entry.id);
  const at = ids.indexOf(chat.id) + step;
  if (at >= 0 && at < ids.length) openChat(ids[at]);
}

document.addEventListener('keydown', (event) => {
  const typing = /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName);
  const modal = document.querySelector('dialog[open]');
  if (event.key === 'Escape' && !modal) {
    closeSide();
    stop();
  } else if ((event.ctrlKey || event.metaKey) && event.key === ',') {
    event.preventDefault();
    modal ? modal.close() : openSettings();
  } else if (event.altKey && !modal && !event.ctrlKey && !event.metaKey) {
    const actions = {
      KeyN: () => $('new').click(), KeyR: () => retry(chat.messages[chat.messages.length - 1]),
      ArrowUp: () => otherChat(-1), ArrowDown: () => otherChat(1),
      Digit1: () => setMode('fast'), Digit2: () => setMode('auto'), Digit3: () => setMode('slow'),
    };
    if (actions[event.code] && (event.code !== 'KeyR' || (chat.messages.length && chat.messages[chat.messages.length - 1].role === 'assistant'))) {
      event.preventDefault();
      actions[event.code]();
    }
  } else if (!typing && !modal && event.key === '/') {
    event.preventDefault();
    input.focus();
  } else if (!modal && event.key === '?' && (!typing || (document.activeElement === input && !input.value))) {
    event.preventDefault();
    $('keys').showModal();
  }
});

// ---- the server's state ----

function showModel() {
  $('model').textContent = serverModel.id;
  document.body.classList.toggle('no-thinking', !thinks());
  document.body.classList.toggle('no-switch', !switches());
  showMode();
  const changed = document.body.classList.contains('base') !== base();
  document.body.classList.toggle('base', base());
  $('input').placeholder = base() ? 'Begin a text' : 'Ask something';
  $('state').className = '';
  $('state').textContent = (base() ? serverModel.meta.description + ' · ' : '') + `${serverModel.max_model_len.toLocaleString('en')} tokens of context`;
  if (changed || !chat.messages.length) showChat();
}

let checking = 0;
let checks = 0;
async function checkServer() {
  clearTimeout(checking);
  const check = ++checks;
  const state = $('state');
  try {
    const model = await api.model();
    if (check !== checks) return;  // a later check, perhaps with another key, has asked since
    serverModel = model;
    showModel();
  } catch (error) {
    if (check !== checks) return;
    state.className = 'bad';
    state.textContent = error.status === 503 ? 'loading the model…' : error.status === 401 ? 'needs an API key (settings)' : error.status ? error.message : 'cannot be reached';
    if (error.status === 503) state.className = '';
    $('model').textContent = serverModel ? serverModel.id : 'ultramoe';
    checking = setTimeout(checkServer, error.status === 503 ? 1000 : 5000);
  }
}

addEventListener('focus', async () => {
  await store.refresh();
  showList();
});
addEventListener('beforeunload', (event) => { if (store.unsaved.size) event.preventDefault(); });
$('notice').lastElementChild.onclick = () => showNotice('');

async function begin() {
  showTheme();
  showMode();
  newChat();
  await store.open();
  const last = store.read('open', null);
  if (store.chats().some((entry) => entry.id === last)) await openChat(last);
  showList();
  grow();
  checkServer();
  document.body.dataset.ready = '1';
}
begin();
