// What the browser keeps: settings in localStorage, conversations in IndexedDB, which holds far more. A conversation that cannot be
// written stays in memory, and the page says so; no other one is touched for it.
const store = {
  read(key, fallback) {
    try {
      return JSON.parse(localStorage.getItem('ultramoe.' + key)) ?? fallback;
    } catch {
      return fallback;
    }
  },
  write(key, value) {
    try {
      localStorage.setItem('ultramoe.' + key, JSON.stringify(value));
    } catch {
      // full, or not allowed: the page goes on without
    }
  },

  db: null,          // null: nothing is kept
  index: [],         // {id, title, changed} of each conversation, the newest first
  unsaved: new Map(),  // id → a conversation that is in memory only

  async open() {
    try {
      this.db = await new Promise((done, failed) => {
        const request = indexedDB.open('ultramoe', 1);
        request.onupgradeneeded = () => ['chats', 'index'].forEach((name) => request.result.createObjectStore(name, {keyPath: 'id'}));
        request.onsuccess = () => done(request.result);
        request.onerror = request.onblocked = () => failed(request.error);
      });
      this.db.onversionchange = () => this.db.close();
      await this.takeOld();
    } catch {
      this.db = null;
    }
    await this.refresh();
  },
  /** Runs requests on both tables as one: all of it is written, or nothing. */
  run(mode, work) {
    if (!this.db) return Promise.reject(new Error('this browser keeps nothing for this page'));
    return new Promise((done, failed) => {
      const transaction = this.db.transaction(['chats', 'index'], mode);
      const request = work(transaction.objectStore('chats'), transaction.objectStore('index'));
      transaction.oncomplete = () => done(request && request.result);
      transaction.onabort = transaction.onerror = () => failed(transaction.error || new Error('the browser refused'));
    });
  },
  /** Conversations that an older page left in localStorage. */
  async takeOld() {
    for (const {id} of this.read('chats', [])) {
      const chat = this.read('chat.' + id, null);
      if (chat) await this.put(chat);
      localStorage.removeItem('ultramoe.chat.' + id);
    }
    localStorage.removeItem('ultramoe.chats');
  },
  /** Other windows may have changed the list. */
  async refresh() {
    const kept = await this.run('readonly', (chats, index) => index.getAll()).catch(() => []);
    const entries = new Map([...kept, ...[...this.unsaved.values()].map(this.entry)].map((entry) => [entry.id, entry]));
    this.index = [...entries.values()].sort((a, b) => b.changed - a.changed);
  },
  chats() {
    return this.index;
  },
  async load(id) {
    return this.unsaved.get(id) || (await this.run('readonly', (chats) => chats.get(id)).catch(() => null)) || null;
  },
  entry: ({id, title, changed}) => ({id, title, changed}),
  put(chat) {
    return this.run('readwrite', (chats, index) => {
      chats.put(chat);
      index.put(this.entry(chat));
    });
  },
  /** Null, or why the conversation is in memory only. */
  async save(chat) {
    chat.changed = Math.max(Date.now(), chat.changed || 0);
    this.unsaved.set(chat.id, chat);
    this.index = [this.entry(chat), ...this.index.filter((other) => other.id !== chat.id)];
    try {
      await this.put(chat);
      this.unsaved.delete(chat.id);
      return null;
    } catch (error) {
      return error.name === 'QuotaExceededError' ? 'the browser has no more room for this page' : error.message;
    }
  },
  async remove(id) {
    this.unsaved.delete(id);
    this.index = this.index.filter((other) => other.id !== id);
    await this.run('readwrite', (chats, index) => {
      chats.delete(id);
      index.delete(id);
    }).catch(() => {});
  },
};
