# A real model (scripts/fetch_model.sh smollm2) in `ultramoe chat`, in the server and in the page: the same words in all
# three, and the tokens that llama.cpp gives (tests/models/real_weights_test.cc has how they were recorded).
# Usage: real_test.py [ULTRAMOE]; exit code 77: skipped. UM_MODELS: where the model lies, if not in models/;
# UM_PAGE_PICTURES=DIR: pictures stay there.
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

from browser import Browser, find_browser
from harness import ROOT, Server, program_or_skip

PROGRAM = program_or_skip()
MODEL = os.path.join(os.environ.get("UM_MODELS", os.path.join(ROOT, "models")), "SmolLM2-135M-Instruct.Q4_1.gguf")
SERVER = None
TALK = [("What is the capital of France?", "The capital of France is Paris."), ("And of Italy?", "The capital of Italy is Rome.")]
# "Name three primary colours." in a turn without a system message, and how llama.cpp goes on in F32.
PROMPT = [1, 4093, 198, 5820, 1296, 3003, 14797, 30, 2, 198, 1, 520, 9531, 198]
GREEDY = [33, 30, 3950, 731, 378, 768, 1273, 3003, 7302, 28, 527, 314, 260, 8964, 282, 260, 1296, 3003, 14797, 42, 2382, 365, 66, 643,
          10245, 365, 63, 643, 284, 5724, 365, 73, 595, 198, 34, 30, 10062, 731, 378, 1796]


class Place:
    """What Server wants to know."""

    def __init__(self, directory):
        self.program, self.model, self.directory = PROGRAM, MODEL, directory

    def path(self, name):
        return os.path.join(self.directory, name)


def setUpModule():
    global SERVER, FOLDER
    if not os.path.exists(MODEL):
        print(f"SKIPPED: {MODEL} is not here: scripts/fetch_model.sh smollm2 (or set UM_MODELS)")
        sys.exit(77)
    FOLDER = tempfile.TemporaryDirectory(prefix="um_real_")
    SERVER = Server(Place(FOLDER.name), "--dtype", "f32")


def tearDownModule():
    code = SERVER.terminate()
    FOLDER.cleanup()
    assert code == 0


def messages(turn):
    """The talk up to this question."""
    before = [{"role": role, "content": text} for pair in TALK[:turn] for role, text in zip(("user", "assistant"), pair)]
    return before + [{"role": "user", "content": TALK[turn][0]}]


def answer(turn, **fields):
    status, reply = SERVER.post("/v1/chat/completions", messages=messages(turn), temperature=0, **fields)
    assert status == 200, reply
    return reply["choices"][0]["message"]["content"]


class RealModel(unittest.TestCase):
    def test_chats_in_the_terminal(self):
        done = subprocess.run([PROGRAM, "chat", "--model", MODEL, "--dtype", "f32", "--temperature", "0"], capture_output=True, text=True,
                              input="".join(question + "\n" for question, _ in TALK), check=True)
        self.assertEqual([line for line in done.stdout.splitlines() if line], [text for _, text in TALK])

    def test_bytes_that_are_no_text_are_answered_too(self):
        done = subprocess.run([PROGRAM, "chat", "--model", MODEL, "--temperature", "0", "--max-tokens", "4"], capture_output=True, check=True,
                              input=b"\xff\xfe\n\n/reset\nhello\n")
        self.assertEqual(len([line for line in done.stdout.splitlines() if line]), 2, done.stdout)

    def test_chats_over_http(self):
        self.assertEqual([answer(turn) for turn in range(len(TALK))], [text for _, text in TALK])

    def test_gives_the_tokens_of_llama_cpp(self):
        status, reply = SERVER.post("/v1/completions", prompt=PROMPT, max_tokens=len(GREEDY), temperature=0, return_token_ids=True)
        self.assertEqual((status, reply["choices"][0]["token_ids"]), (200, GREEDY))

    def test_answers_do_not_depend_on_their_company(self):
        texts, company = [], []

        def ask(turn):
            texts.append((turn, answer(turn)))

        def disturb(seed):
            company.append(SERVER.post("/v1/chat/completions", messages=[{"role": "user", "content": "Tell me a story. " * seed}],
                                       seed=seed, max_tokens=24)[0])

        threads = [threading.Thread(target=disturb, args=(1 + i,)) for i in range(6)] + \
                  [threading.Thread(target=ask, args=(i % 2,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(company, [200] * 6)
        self.assertEqual(sorted(texts), sorted((i % 2, TALK[i % 2][1]) for i in range(4)))

    def test_calls_a_tool_that_it_must_call(self):
        tool = {"type": "function", "function": {"name": "weather", "description": "The weather of a city.", "parameters": {
            "type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}}}
        status, reply = SERVER.post("/v1/chat/completions", messages=[{"role": "user", "content": "How is the weather in Oslo?"}],
                                    tools=[tool], tool_choice="required", temperature=0, max_tokens=100)
        self.assertEqual(status, 200, reply)
        choice = reply["choices"][0]
        self.assertEqual((choice["finish_reason"], choice["message"]["content"]), ("tool_calls", None))
        for call in choice["message"]["tool_calls"]:
            self.assertEqual(call["function"]["name"], "weather")
            self.assertIn(json.loads(call["function"]["arguments"])["city"], ("Rome", "Oslo"))

    def test_chats_in_the_page(self):
        if not find_browser():
            self.skipTest("no chromium on this machine")
        page = Browser()
        self.addCleanup(page.close)
        page.size(1280, 860)
        page.open(SERVER.url + "/")
        page.run("localStorage.setItem('ultramoe.settings', JSON.stringify({temperature: 0})); 0")
        page.open(SERVER.url + "/")
        for turn, (question, text) in enumerate(TALK):
            page.run("document.getElementById('input').focus()")
            page.type(question)
            page.key("Enter")
            page.wait(f"!document.querySelector('.message.busy') && document.querySelectorAll('.message.assistant').length === {turn + 1}")
            self.assertEqual(page.run("[...document.querySelectorAll('.message.assistant > .md')].at(-1).textContent.trim()"), text)
        # This model does not think, so there is nothing to choose.
        self.assertFalse(page.run("requestBody().chat_template_kwargs || document.getElementById('modes').checkVisibility()"))
        self.assertEqual(page.problems, [])
        if pictures := os.environ.get("UM_PAGE_PICTURES"):
            page.picture(os.path.join(pictures, "real.png"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
