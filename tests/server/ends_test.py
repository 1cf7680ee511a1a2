# What ends an answer, and what a model is for, over HTTP: ends that stand in one file only, base models,
# counters of the prefix cache. Usage: ends_test.py [ULTRAMOE]; exit code 77: skipped.
import json
import os
import shutil
import subprocess
import unittest

from harness import Server, Workplace, program_or_skip

PROGRAM = program_or_skip()
WORK = None


def setUpModule():
    global WORK
    WORK = Workplace(PROGRAM)


def tearDownModule():
    WORK.close()


def read(model, name):
    with open(os.path.join(model, name), encoding="utf-8") as file:
        return json.load(file)


def change(model, name, **fields):
    """Sets fields of a JSON file; None removes one."""
    content = {key: value for key, value in {**read(model, name), **fields}.items() if value is not None}
    with open(os.path.join(model, name), "w", encoding="utf-8") as file:
        json.dump(content, file)


class Model:
    """A copy of the workplace's model, and a server for it."""

    def __init__(self, name, **config):
        self.program = PROGRAM
        self.model = WORK.path(name)
        shutil.copytree(WORK.model, self.model)
        change(self.model, "config.json", **config)

    def path(self, name):
        return WORK.path(name)

    def serve(self, test, *flags):
        server = Server(self, *flags)
        test.addCleanup(server.terminate)
        return server


class Ends(unittest.TestCase):
    def test_init_takes_the_ids_of_the_tokenizer(self):
        end = read(WORK.model, "tokenizer_config.json")["eos_token"]
        added = read(WORK.model, "tokenizer_config.json")["added_tokens_decoder"]
        self.assertEqual(added[str(read(WORK.model, "config.json")["eos_token_id"])]["content"], end)
        self.assertEqual(read(WORK.model, "config.json")["eos_token_id"], read(WORK.model, "generation_config.json")["eos_token_id"])

    def test_an_end_that_only_the_tokenizer_knows(self):
        model = Model("of-tokenizer", eos_token_id=None)
        os.remove(os.path.join(model.model, "generation_config.json"))
        server = model.serve(self)
        for path, prompt in (("/v1/completions", {"prompt": "the river"}),
                             ("/v1/chat/completions", {"messages": [{"role": "user", "content": "the river"}], "reasoning_effort": "none"})):
            status, answer = server.post(path, **prompt, structured_outputs={"choice": ["bridge", "river"]}, max_tokens=200)
            self.assertEqual(status, 200, answer)
            choice = answer["choices"][0]
            self.assertIn((choice.get("text") or choice["message"]["content"]).strip(), ("bridge", "river"))
            self.assertEqual(choice["finish_reason"], "stop")

    def test_an_end_that_only_generation_config_knows(self):
        model = Model("of-generation", eos_token_id=None)
        server = model.serve(self)
        # A token that the model is made to write, as the end.
        token = server.post("/tokenize", prompt="bridge", add_special_tokens=False)[1]["tokens"][0]
        ask = {"prompt": "the", "logit_bias": {str(token): 100}, "max_tokens": 5, "temperature": 0}
        self.assertEqual(server.post("/v1/completions", **ask)[1]["choices"][0]["finish_reason"], "length")
        change(model.model, "generation_config.json", eos_token_id=[7, token])
        choice = model.serve(self).post("/v1/completions", **ask)[1]["choices"][0]
        self.assertEqual((choice["finish_reason"], choice["text"]), ("stop", ""))

    def test_stop_strings_of_generation_config(self):
        model = Model("stops")
        server = model.serve(self)
        token = server.post("/tokenize", prompt="bridge", add_special_tokens=False)[1]["tokens"][-1]
        text = server.post("/detokenize", tokens=[token])[1]["prompt"].strip()
        change(model.model, "generation_config.json", stop_strings=[text])
        server = model.serve(self)
        ask = {"logit_bias": {str(token): 100}, "max_tokens": 5, "temperature": 0}
        choice = server.post("/v1/completions", prompt="the", include_stop_str_in_output=True, **ask)[1]["choices"][0]
        self.assertEqual((choice["finish_reason"], choice["text"].strip()), ("stop", ""))
        self.assertFalse(choice.get("stop_reason"), choice)  # that is for what the request asked for
        hello = [{"role": "user", "content": "the river"}]
        choice = server.post("/v1/chat/completions", messages=hello, reasoning_effort="none", **ask)[1]["choices"][0]
        self.assertEqual((choice["finish_reason"], choice["message"]["content"].strip()), ("stop", ""))
        choice = server.post("/v1/completions", prompt="the", ignore_eos=True, **ask)[1]["choices"][0]
        self.assertEqual((choice["finish_reason"], text in choice["text"]), ("length", True))
        said = server.post("/v1/completions", prompt="the", temperature=0, max_tokens=12, ignore_eos=True)[1]["choices"][0]["text"]
        end = said.strip()[2:4]
        change(model.model, "generation_config.json", stop_strings=end)
        generate = [PROGRAM, "generate", "--model", model.model, "--prompt", "the", "--temperature", "0", "--max-tokens", "12", "--json"]
        done = subprocess.run(generate, capture_output=True, text=True)
        self.assertEqual(json.loads(done.stdout)["finish_reason"], "stop", done.stderr)
        self.assertEqual(json.loads(done.stdout)["text"], said[:said.index(end)])
        for bad in (3, [3], {"a": 1}):
            change(model.model, "generation_config.json", stop_strings=bad)
            for command in (["generate", "--prompt", "the"], ["chat"]):
                done = subprocess.run([PROGRAM, *command, "--model", model.model], input="", capture_output=True, text=True)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn('"stop_strings": expected', done.stderr)


class Kinds(unittest.TestCase):
    def meta(self, server):
        return server.request("GET", "/v1/models")[2]["data"][0]["meta"]

    def test_models_say_what_they_are_for(self):
        chat = Model("chat").serve(self)
        meta = self.meta(chat)
        self.assertEqual((meta["base"], meta["thinking"]), (False, True))
        self.assertNotIn("description", meta)
        self.assertNotIn("base model", chat.text())
        base = Model("base", trained_for="text").serve(self)
        meta = self.meta(base)
        self.assertEqual((meta["base"], meta["thinking"]), (True, False))
        self.assertEqual(meta["description"], "base model: it continues text")
        self.assertIn("base model: it continues text", base.text())
        self.assertNotIn("no chat", base.text())

    def test_a_broken_template_is_told_whatever_the_model_is_for(self):
        for trained_for in ("chat", "text"):
            model = Model(f"broken_{trained_for}", trained_for=trained_for)
            with open(os.path.join(model.model, "chat_template.jinja"), "w") as file:
                file.write("{% macro f(a, *args) %}{% endmacro %}")
            self.assertIn("no chat: ", model.serve(self).text())

    def test_models_say_how_they_want_to_be_sampled(self):
        model = Model("sampled")
        sampling = self.meta(model.serve(self))["sampling"]
        self.assertEqual((sampling["temperature"], sampling["top_k"], sampling["top_p"]), (1.0, 0, 1.0))
        change(model.model, "generation_config.json", do_sample=True, temperature=0.6, top_k=20)
        sampling = self.meta(model.serve(self))["sampling"]
        self.assertEqual((sampling["temperature"], sampling["top_k"], sampling["top_p"]), (0.6, 20, 1.0))

    def test_chat_on_the_terminal_says_so(self):
        model = Model("terminal", trained_for="text")
        done = subprocess.run([PROGRAM, "chat", "--model", model.model, "--max-tokens", "4"], input="the river", capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("base model: it continues text", done.stderr)
        done = subprocess.run([PROGRAM, "chat", "--model", WORK.model, "--max-tokens", "4"], input="the river", capture_output=True, text=True)
        self.assertNotIn("base model", done.stderr)


THINKING = """{%- for m in messages %}<|{{ m.role }}|>
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>
<think>
{% endif %}"""


class PlainThinking(unittest.TestCase):
    def test_what_is_held_to_a_form_stands_behind_it(self):
        model = Model("plain-thinking")
        with open(os.path.join(model.model, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write(THINKING)
        server = model.serve(self)
        hello = [{"role": "user", "content": "the river"}]
        said = lambda **fields: server.post("/v1/chat/completions", messages=hello, **{"max_tokens": 200, "seed": 2, **fields})[1]["choices"][0]["message"]
        message = said(max_tokens=20)
        self.assertTrue(message["reasoning"] and not message["content"], message)
        message = said(structured_outputs={"choice": ["bridge", "river"]})
        self.assertIn(message["content"].strip(), ("bridge", "river"))
        self.assertFalse(message.get("reasoning"), message)
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"], "additionalProperties": False}}}
        message = said(tools=[tool], tool_choice="required")
        self.assertIn(json.loads(message["tool_calls"][0]["function"]["arguments"])["city"], ("Rome", "Oslo"))


class Counters(unittest.TestCase):
    def test_hits_are_some_of_the_queries(self):
        server = Model("counted").serve(self)
        prompt = "the river and the bridge, " * 20
        tokens = 0
        for _ in range(3):
            tokens += server.post("/v1/completions", prompt=prompt, max_tokens=1)[1]["usage"]["prompt_tokens"]
        hits = server.metric("vllm:prefix_cache_hits")
        self.assertGreater(hits, tokens / 3)
        for name in ("vllm:prefix_cache_queries", "vllm:prefix_cache_queries_total", "vllm:prompt_tokens_total"):
            self.assertEqual(server.metric(name), tokens, name)
        self.assertLessEqual(hits, tokens)
        self.assertEqual(server.metric("vllm:prefix_cache_hits_total"), hits)


if __name__ == "__main__":
    import sys
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
