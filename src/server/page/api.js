// The server, by its public API.
const api = {
  headers() {
    const key = settings.api_key;
    return key ? {'Content-Type': 'application/json', Authorization: 'Bearer ' + key} : {'Content-Type': 'application/json'};
  },

  /** The error that a response tells of, with its `status` and `code`. */
  async error(response) {
    const {error} = await response.json().catch(() => ({}));
    const message = error ? error.message : `the server answered ${response.status}`;
    return Object.assign(new Error(message), {status: response.status, code: error && error.code});
  },

  async model() {
    const response = await fetch('v1/models', {headers: this.headers()});
    if (!response.ok) throw await this.error(response);
    return (await response.json()).data[0];
  },

  // Both stream an answer; `onChunk` gets each parsed chunk.
  chat(body, signal, onChunk) { return this.stream('v1/chat/completions', body, signal, onChunk); },
  complete(body, signal, onChunk) { return this.stream('v1/completions', body, signal, onChunk); },

  async stream(path, body, signal, onChunk) {
    const response = await fetch(path, {method: 'POST', headers: this.headers(), body: JSON.stringify(body), signal});
    if (!response.ok) throw await this.error(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = '';
    for (;;) {
      const {value, done} = await reader.read();
      if (done) throw new Error('the connection was lost');
      const lines = value.split('\n');  // only what is new: a long line may come in many pieces
      lines[0] = held + lines[0];
      held = lines.pop();
      for (const line of lines) {
        if (!line.startsWith('data:')) continue;
        const data = line.slice(5).trim();
        if (data === '[DONE]') return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(chunk.error.message);
        onChunk(chunk);
      }
    }
  },
};
