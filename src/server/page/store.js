// What the browser keeps: conversations and settings, in localStorage.
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
      return true;
    } catch {
      return false;  // full, or not allowed: the page goes on without
    }
  },
  chats() {
    return this.read('chats', []).filter((chat) => chat && chat.id).sort((a, b) => b.changed - a.changed);
  },
  load(id) {
    return this.read('chat.' + id, null);
  },
  save(chat) {
    chat.changed = Date.now();
    let chats = this.chats().filter((other) => other.id !== chat.id);
    chats.unshift({id: chat.id, title: chat.title, changed: chat.changed});
    while (!this.write('chat.' + chat.id, chat) && chats.length > 1) this.forget(chats.pop().id);
    this.write('chats', chats);
  },
  forget(id) {
    localStorage.removeItem('ultramoe.chat.' + id);
  },
  remove(id) {
    this.forget(id);
    this.write('chats', this.chats().filter((chat) => chat.id !== id));
  },
};
