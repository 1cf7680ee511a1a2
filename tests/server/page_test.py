# The chat page in headless Chromium against the real server. Usage: page_test.py [ULTRAMOE]; with
# UM_PAGE_PICTURES=DIR pictures stay there. Exit code 77: skipped.
import json
import os
import shutil
import sys
import tempfile
import unittest

from browser import Browser, find_browser
from harness import Server, Workplace, program_or_skip

PROGRAM = program_or_skip()
PICTURES = os.environ.get("UM_PAGE_PICTURES")
WORK = SERVER = PAGE = None

# A conversation as the page stores it: everything that markdown can be, and an attack.
SHOW = {"id": "show", "title": "How rivers freeze", "changed": 9e15, "messages": [
    {"role": "user", "content": "How does a river freeze?\nAnd show me some code, please."},
    {"role": "assistant", "reasoning": "The user asks two things.\n\n- physics\n- code", "content": """## From the edge inwards

A river freezes **from its banks**, because water there is *slow* and `shallow`. See [the ice page](https://ice.example/a_(b)).

1. Surface water cools to 0 °C
2. Needles of *frazil ice* form
   - they stick together
   - and rise

| Speed | Ice | Days |
|---|:-:|--:|
| slow | thick | 3 |
| fast | `thin` | 12 |

```python
def freeze(river, degrees):
    for reach in river:
        if reach.speed < 0.6 and degrees < 0:  # slow and cold enough
            yield reach.ice(thickness=0.01 * -degrees)
```

> Moving ice is never safe ice.

- [x] measured
- [ ] proven

门前大桥下，游过一群鸭。 5 * 3 * 2 = 30, snake_case_name, <b>not bold</b>""",
     "stats": {"tokens": 231, "speed": 42.3, "first": 0.21, "drafted": 90, "accepted": 64, "thinking": 2.4, "prompt": 31, "cached": 16}},
    {"role": "user", "content": "Thanks!"},
    {"role": "assistant", "content": "<img src=x onerror=\"document.body.dataset.hacked=1\"><script>document.body.dataset.hacked=1</script> [click](javascript:alert(1)) **and", "reasoning": "",
     "stats": {"tokens": 12, "speed": 9.31, "first": 1.3}}]}


def setUpModule():
    global WORK, SERVER, PAGE
    if not find_browser():
        print("SKIPPED: no chromium on this machine")
        sys.exit(77)
    WORK = Workplace(PROGRAM)
    SERVER = Server(WORK)
    PAGE = Browser()


def tearDownModule():
    PAGE.close()
    assert SERVER.terminate() == 0
    WORK.close()


class BaseWorkplace:
    """A copy of the model, as one that was trained on texts only."""
    program = PROGRAM

    def __init__(self, trained_for="text"):
        self.model = WORK.path("base" if trained_for == "text" else tempfile.mkdtemp(dir=WORK.path("")) + "/copy")
        shutil.copytree(WORK.model, self.model)
        config = os.path.join(self.model, "config.json")
        with open(config, encoding="utf-8") as file:
            content = json.load(file)
        with open(config, "w", encoding="utf-8") as file:
            json.dump({**content, "trained_for": trained_for}, file)

    def path(self, name):
        return WORK.path(name)


def picture(name):
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
        PAGE.picture(os.path.join(PICTURES, name + ".png"))


def fresh(**settings):
    """The page with empty storage and these settings."""
    PAGE.size(1280, 860)
    PAGE.open(SERVER.url + "/")
    PAGE.call("Storage.clearDataForOrigin", origin=SERVER.url, storageTypes="all")
    PAGE.run(f"localStorage.setItem('ultramoe.settings', {json.dumps(json.dumps(settings))})")
    PAGE.open(SERVER.url + "/")
    PAGE.wait("document.getElementById('model').textContent === 'tiny-model'")
    PAGE.problems.clear()


ANSWERS = "[...document.querySelectorAll('.message.assistant')]"
DONE = "!document.querySelector('.message.busy') && " + ANSWERS + ".length"


class Page(unittest.TestCase):
    def tearDown(self):
        self.assertEqual(PAGE.problems, [])

    def ask(self, text):
        PAGE.run("document.getElementById('input').focus()")
        PAGE.type(text)
        PAGE.key("Enter")

    def test_asks_streams_and_remembers(self):
        fresh(max_tokens=60, temperature=1, seed=5)
        self.assertTrue(PAGE.run("document.getElementById('modes').checkVisibility()"))
        picture("empty")
        self.ask("the river")
        PAGE.wait(DONE)
        self.assertEqual(PAGE.run(ANSWERS + ".length"), 1)
        stats = PAGE.run("document.querySelector('.stats').textContent")
        self.assertRegex(stats, r"tokens/s · \d+ tokens · first after")
        text = PAGE.run("chat.messages[1].content + chat.messages[1].reasoning")
        self.assertTrue(text)
        self.ask("and the geese")
        PAGE.wait(DONE + " === 2")
        PAGE.open(SERVER.url + "/")  # again: all is still there
        self.assertEqual(PAGE.run(ANSWERS + ".length"), 2)
        self.assertEqual(PAGE.run("document.querySelector('#chats .open').textContent"), "the river")
        picture("answered")

    def test_stop_retry_edit(self):
        fresh(max_tokens=1900, temperature=1)
        # A model of random weights may end its answer before anybody could stop it.
        PAGE.run("const body = requestBody; requestBody = (...given) => ({...body(...given), ignore_eos: true}); 0")
        self.ask("the bridge")
        PAGE.wait("document.querySelector('.message.busy') && chat.messages[1].stats.tokens > 3")
        picture("busy")
        PAGE.key("Escape")
        PAGE.wait(DONE)
        self.assertIn("stopped", PAGE.run("document.querySelector('.note').textContent"))
        PAGE.run("settings.max_tokens = 5")
        PAGE.key("r", "KeyR", 1)
        PAGE.wait(DONE + " && chat.messages[1].ended !== 'stopped'")
        self.assertEqual(PAGE.run("chat.messages.length"), 2)
        PAGE.run("document.getElementById('input').focus()")
        PAGE.key("ArrowUp")
        self.assertEqual(PAGE.run("document.getElementById('input').value"), "the bridge")
        SERVER.idle()

    def test_settings_modes_and_keys(self):
        fresh()
        PAGE.key("1", "Digit1", 1)
        self.assertEqual(PAGE.run("settings.mode + JSON.parse(localStorage.getItem('ultramoe.settings')).mode"), "fastfast")
        self.assertEqual(PAGE.run("requestBody().chat_template_kwargs.mode"), "fast")
        PAGE.key("1", "Digit1", 1)  # again: back to the server's
        self.assertEqual(PAGE.run("[settings.mode, requestBody().chat_template_kwargs].join()"), ",")
        PAGE.key(",", "Comma", 2)
        PAGE.wait("document.getElementById('settings').open")
        PAGE.run("document.querySelector('[name=temperature]').value = '0.3'; document.querySelector('[name=system]').value = ' be brief '")
        picture("settings")
        PAGE.key("Escape")
        # The dialog says that it has closed a moment after it did; then the settings are read.
        PAGE.wait("!document.getElementById('settings').open && settings.system")
        PAGE.run("chat.messages = [{role: 'user', content: 'x'}]")
        self.assertEqual(PAGE.run("JSON.stringify([requestBody().temperature, requestBody().messages[0].content])"), '[0.3,"be brief"]')
        PAGE.run("document.activeElement.blur()")
        PAGE.key("?", "Slash", 8)
        PAGE.wait("document.getElementById('keys').open")
        picture("keys")
        PAGE.key("Escape")
        PAGE.wait("!document.getElementById('keys').open")
        # A model that always thinks: there is nothing to choose but for how long.
        # Of two questions to the server the later one counts, whichever is answered last.
        PAGE.run("""(async () => {
            let answer;
            const earlier = structuredClone(serverModel), later = structuredClone(serverModel);
            later.meta.thinking_switch = false;
            api.model = () => new Promise((resolve) => { answer = resolve; });
            const first = checkServer();
            api.model = async () => later;
            await checkServer();
            answer(earlier);
            await first;
            openSettings();
        })()""")
        self.assertEqual(PAGE.run("['modes', 'settings'].map((id) => document.getElementById(id).checkVisibility()).join()"), "false,true")
        self.assertTrue(PAGE.run("document.querySelector('[name=thinking_token_budget]').checkVisibility()"))
        self.assertFalse(PAGE.run("'chat_template_kwargs' in requestBody()"))
        PAGE.key("Escape")

    def test_what_nobody_chose_is_the_servers(self):
        for flags, pressed in ((["--mode", "fast"], "fast"), (["--mode", "auto"], "auto"), ([], "")):
            model = BaseWorkplace(trained_for="chat")
            with open(os.path.join(model.model, "generation_config.json"), "w", encoding="utf-8") as file:
                json.dump({"do_sample": True, "temperature": 0.3, "top_k": 7}, file)
            server = Server(model, *flags)
            self.addCleanup(server.terminate)
            PAGE.open(server.url + "/")
            PAGE.wait("document.getElementById('modes').checkVisibility()")
            self.assertEqual(PAGE.run("[...document.querySelectorAll('#modes [aria-pressed=true]')].map((b) => b.dataset.mode).join()"), pressed)
            asked = json.loads(PAGE.run("JSON.stringify(requestBody())"))
            self.assertEqual(sorted(asked), ["messages", "model", "stream", "stream_options"])
            PAGE.run("openSettings()")
            shown = PAGE.run("['temperature', 'top_k'].map((name) => settingsForm.elements[name].placeholder).join()")
            self.assertEqual(shown, "0.3,7")

    def show(self, scheme):
        fresh()
        PAGE.scheme(scheme)
        PAGE.run(f"store.save({json.dumps(SHOW)}).then(() => store.save({{id: 'b', title: 'A poem about winter', messages: []}})).then(() => openChat('show'))")

    def test_markdown(self):
        self.show("light")
        count = lambda query: PAGE.run(f"document.querySelectorAll('.md {query}').length")
        self.assertEqual([count(q) for q in ("h2", "strong", "table", ".block", "blockquote", "ol > li", "ol ul > li", "input[type=checkbox]")],
                         [1, 1, 1, 1, 1, 2, 2, 2])
        self.assertEqual(PAGE.run("document.querySelector('.md a').href"), "https://ice.example/a_(b)")
        self.assertIn("    for reach in river:", PAGE.run("document.querySelector('.block code').textContent"))
        last = PAGE.run("document.querySelector('.message:last-child > .md').textContent")
        self.assertIn("<img src=x", last)
        self.assertIn("5 * 3 * 2 = 30, snake_case_name, <b>not bold</b>", PAGE.run("document.body.textContent"))
        self.assertIsNone(PAGE.run("document.body.dataset.hacked"))
        self.assertEqual(PAGE.run("[...document.querySelectorAll('.md a')].filter((a) => !/^https?:/.test(a.href)).length"), 0)
        PAGE.run("document.querySelector('.think').open = true")
        PAGE.wait("document.querySelector('.think li')")

    def test_streaming_markdown_is_the_same_as_at_once(self):
        fresh()
        same = PAGE.run(f"""(() => {{
          const text = {json.dumps(SHOW["messages"][1]["content"])};
          const a = make('div'), b = make('div');
          for (let i = 0; i <= text.length; i += 3) showMarkdown(a, text.slice(0, i));
          showMarkdown(a, text);
          showMarkdown(b, text);
          return a.innerHTML === b.innerHTML;
        }})()""")
        self.assertTrue(same)

    def test_markdown_takes_time_linear_in_the_text(self):
        fresh()
        slow = PAGE.run("""(() => {
          const many = {
            separatorSpaces: (n) => 'a|b\\n|' + ' '.repeat(n) + '-x', separatorCells: (n) => 'a|b\\n' + '| - '.repeat(n) + 'x',
            separatorDashes: (n) => 'a|b\\n' + '-'.repeat(n) + 'x', table: (n) => 'a|b\\n-|-\\n' + 'x|y\\n'.repeat(n),
            headingSpaces: (n) => '# a' + ' '.repeat(n) + 'b', headingMarks: (n) => '# ' + '#'.repeat(n) + 'x', headings: (n) => '# a\\n'.repeat(n),
            fenceSpaces: (n) => '```' + ' '.repeat(n) + '`', fenceMarks: (n) => '~'.repeat(n) + '`', fences: (n) => '```\\n'.repeat(n),
            rule: (n) => '-' + ' -'.repeat(n) + 'x', list: (n) => '- a\\n'.repeat(n), blankItems: (n) => '- a' + '\\n'.repeat(n) + 'b',
            quote: (n) => '> a\\n'.repeat(n), nested: (n) => '>'.repeat(n), strong: (n) => '**a '.repeat(n), em: (n) => '*a '.repeat(n),
            spans: (n) => '*a**b**'.repeat(n), underlines: (n) => '_a __b '.repeat(n), deleted: (n) => '~~a '.repeat(n), stars: (n) => '*'.repeat(n),
            brackets: (n) => '['.repeat(n), links: (n) => '[a]('.repeat(n), titles: (n) => '[a](b "'.repeat(n), addresses: (n) => ' http://.'.repeat(n),
            ticks: (n) => '`a '.repeat(n), backslashes: (n) => '\\\\'.repeat(n), lines: (n) => 'a\\n'.repeat(n), breaks: (n) => 'a  \\n'.repeat(n),
            blanks: (n) => 'a' + ' '.repeat(n) + 'b', mixed: (n) => '[*_`'.repeat(n)};
          const time = (text) => { const t = performance.now(); showMarkdown(make('div'), text); return performance.now() - t; };
          const least = (text) => Math.min(time(text), time(text), time(text));
          // Quadratic work takes four times as long, in each attempt.
          const linear = (text) => [1, 2, 3, 4].some(() => { const once = least(text(4000)), twice = least(text(8000)); return twice < 40 || twice < 3 * once; });
          return Object.keys(many).filter((name) => !linear(many[name]));
        })()""")
        self.assertEqual(slow, [])
        # More parts than a call can have arguments.
        self.assertEqual(PAGE.run("(() => { const box = make('div'); showMarkdown(box, '`a` '.repeat(150000)); return box.querySelectorAll('code').length; })()"), 150000)

    def test_what_has_come_of_an_answer_is_not_looked_at_again(self):
        fresh()
        looked = PAGE.run("""(async () => {
          const size = 200000, line = 'data: ' + JSON.stringify({text: 'x'.repeat(size)}) + '\\n\\ndata: [DONE]\\n\\n';
          const bytes = new TextEncoder().encode(line);
          let at = 0, read = 0, looked = 0;
          const body = new ReadableStream({pull: (c) => { at < bytes.length ? c.enqueue(bytes.subarray(at, at += 64)) : c.close(); }});
          const {fetch} = window, {split} = String.prototype;
          window.fetch = async () => new Response(body);
          String.prototype.split = function (...by) { looked += this.length; return split.apply(this, by); };
          try {
            await api.stream('x', {}, undefined, (chunk) => { read = chunk.text.length; });
          } finally {
            window.fetch = fetch;
            String.prototype.split = split;
          }
          return read === size && looked / line.length;
        })()""")
        self.assertEqual(looked, 1)

    def test_a_conversation_that_is_too_large_costs_no_other_one(self):
        fresh(max_tokens=5)
        # First where the browser has no room: the page says so, and all others stay.
        PAGE.call("Storage.overrideQuotaForOrigin", origin=SERVER.url, quotaSize=200000)
        PAGE.run("store.save({id: 'small', title: 'small', messages: [{role: 'user', content: 'keep me'}]})")
        PAGE.run("saveChat({id: 'large', title: 'large', messages: [{role: 'user', content: 'x'.repeat(6e6)}]})")  # more than localStorage could hold
        self.assertFalse(PAGE.run("document.getElementById('notice').hidden"))
        self.assertRegex(PAGE.run("document.getElementById('notice').textContent"), "“large” is not saved: the browser has no more room")
        picture("notice")
        self.assertEqual(PAGE.run("openChat('small').then(() => chat.messages[0].content)"), "keep me")
        self.assertEqual(PAGE.run("store.load('large').then((found) => found.messages[0].content.length)"), 6e6)  # in memory
        # Then there is room again.
        PAGE.call("Storage.overrideQuotaForOrigin", origin=SERVER.url)
        PAGE.run("store.save({id: 'third', title: 'third', messages: []}).then(() => removeChat('third'))")
        self.assertTrue(PAGE.run("document.getElementById('notice').hidden && !store.unsaved.size"))
        PAGE.open(SERVER.url + "/")
        self.assertEqual(PAGE.run("store.load('large').then((found) => found.messages[0].content.length)"), 6e6)
        self.assertEqual(PAGE.run("store.load('small').then((found) => found.messages[0].content)"), "keep me")

    def test_conversations_of_the_older_page_are_taken_over(self):
        fresh()
        PAGE.run("""localStorage.setItem('ultramoe.chats', JSON.stringify([{id: 'old', title: 'old', changed: 5}]));
                    localStorage.setItem('ultramoe.chat.old', JSON.stringify({id: 'old', title: 'old', changed: 5, messages: [{role: 'user', content: 'x'}]}))""")
        PAGE.open(SERVER.url + "/")
        self.assertEqual(PAGE.run("store.load('old').then((found) => found.messages.length + store.chats()[0].title)"), "1old")
        self.assertIsNone(PAGE.run("localStorage.getItem('ultramoe.chat.old')"))

    def test_a_failed_turn_is_not_sent_again(self):
        fresh(max_tokens=5, seed=1)
        self.ask("geese " * 3000)  # more than the context holds
        PAGE.wait(DONE)
        self.assertIn("maximum context length", PAGE.run("document.querySelector('.note:not(.mild)').textContent"))
        self.ask("the river")
        PAGE.wait(DONE + " === 2")
        self.assertFalse(PAGE.run("chat.messages[3].error"))
        self.assertEqual(PAGE.run("requestBody().messages.filter((m) => m.role === 'user').length"), 1)
        picture("failed-turn")
        PAGE.problems.clear()  # the browser notes the 400

    def test_oldest_turns_are_left_out_where_not_all_fit(self):
        fresh(max_tokens=5, seed=1)
        turns = [{"role": role, "content": f"{i} geese " * 60} for i in range(12) for role in ("user", "assistant")]
        PAGE.run(f"store.save({json.dumps({'id': 'long', 'title': 'long', 'messages': turns})}).then(() => openChat('long'))")
        self.ask("the river")
        PAGE.wait("!document.querySelector('.message.busy') && chat.messages.length === 26")
        self.assertFalse(PAGE.run("chat.messages[25].error"))
        left = PAGE.run("chat.messages[25].left")
        self.assertTrue(0 < left < 24 and left % 2 == 0, left)
        self.assertIn(f"the first {left} of this conversation", PAGE.run("document.querySelector('.message:last-child .older').textContent"))
        self.assertEqual(PAGE.run("requestBody().messages[0].role"), "user")
        picture("left-out")
        PAGE.problems.clear()

    def test_pictures_in_both_lights_and_on_a_phone(self):
        for scheme in ("light", "dark"):
            self.show(scheme)
            PAGE.run("document.querySelector('.think').open = true; log.scrollTop = 0")
            picture("show-" + scheme)
            PAGE.size(390, 844, True)
            PAGE.open(SERVER.url + "/")
            PAGE.run("openChat('show').then(() => { log.scrollTop = 300; })")
            self.assertLessEqual(PAGE.run("document.documentElement.scrollWidth"), 390)
            picture("phone-" + scheme)
            PAGE.run("openSide()")
            PAGE.run("new Promise((done) => setTimeout(done, 300))")
            picture("phone-side-" + scheme)
        PAGE.scheme("light")

    def test_a_base_model_continues_texts(self):
        server = Server(BaseWorkplace())
        self.addCleanup(server.terminate)
        PAGE.size(1280, 860)
        PAGE.open(server.url + "/")
        settings = json.dumps(json.dumps({"max_tokens": 40, "seed": 3}))
        PAGE.run(f"localStorage.clear(); localStorage.setItem('ultramoe.settings', {settings})")
        PAGE.open(server.url + "/")
        PAGE.wait("document.getElementById('model').textContent === 'base'")
        PAGE.problems.clear()
        self.assertIn("base model: it continues text", PAGE.run("document.getElementById('state').textContent"))
        self.assertFalse(PAGE.run("document.getElementById('modes').checkVisibility()"))
        self.assertEqual(PAGE.run("document.querySelectorAll('.starts button').length"), 0)
        picture("base-empty")
        self.ask("the river")
        PAGE.wait(DONE)
        begun = PAGE.run("chat.messages[1].content")
        PAGE.wait("document.querySelector('.more').checkVisibility()")
        self.assertEqual(PAGE.run("document.querySelector('.continued').textContent"), begun)
        picture("base-begun")
        PAGE.run("settings.seed = 4; document.querySelector('.more').click()")
        PAGE.wait("running === null && " + DONE)
        self.assertEqual(PAGE.run("chat.messages.length"), 2)
        self.assertTrue(PAGE.run("chat.messages[1].content").startswith(begun))
        self.assertEqual(PAGE.run("requestBody().prompt"), PAGE.run("'the river' + chat.messages[1].content"))
        PAGE.run("openSettings()")
        shown = PAGE.run("[...settingsForm.elements].filter((f) => f.checkVisibility() && f.name).map((f) => f.name + '=' + f.placeholder).join(' ')")
        self.assertNotIn("system", shown)
        self.assertNotIn("thinking_token_budget", shown)
        self.assertIn("temperature=1 top_p=1", shown)
        picture("base-settings")
        PAGE.key("Escape")
        self.assertEqual(PAGE.run("JSON.stringify([requestBody().temperature, requestBody().top_p, requestBody().max_tokens])"), "[null,null,40]")

    def test_says_when_the_server_is_gone(self):
        fresh()
        PAGE.run("settings.api_key = 'x'; api.chat = () => Promise.reject(new TypeError('x'))")
        self.ask("hello")
        PAGE.wait(DONE)
        self.assertIn("cannot be reached", PAGE.run("document.querySelector('.note').textContent"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
