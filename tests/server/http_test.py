# The server's protocol against the real program: every endpoint, errors, limits, keys, TLS, drain.
# Usage: http_test.py [ULTRAMOE]; exit code 77: skipped.
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import unittest

from harness import ROOT, Server, Workplace, events, program_or_skip

PROGRAM = program_or_skip()
WORK = None
SERVER = None
HELLO = [{"role": "user", "content": "the river"}]
CHAT = "/v1/chat/completions"


def setUpModule():
    global WORK, SERVER
    WORK = Workplace(PROGRAM)
    SERVER = Server(WORK, "--ping", "0.5")


def tearDownModule():
    SERVER.terminate()
    WORK.close()


def chat(**fields):
    body = {"messages": HELLO, "max_tokens": 8, "temperature": 0, **fields}
    return SERVER.request("POST", CHAT, body)


def stream(**fields):
    return stream_of(CHAT, {"messages": HELLO, "max_tokens": 8, "temperature": 0, **fields})


def stream_of(path, body):
    connection = SERVER.connect()
    connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.getheader("Content-Type") == "text/event-stream"
    data = list(events(response))
    connection.close()
    assert data[-1] == "[DONE]", data[-1]
    return [json.loads(line) for line in data[:-1]]


class Endpoints(unittest.TestCase):
    def test_health_models_version(self):
        self.assertEqual(SERVER.request("GET", "/health")[0], 200)
        models = SERVER.request("GET", "/v1/models")[2]
        self.assertEqual(models["data"][0]["id"], "tiny-model")
        self.assertEqual(models["data"][0]["max_model_len"], 2048)
        self.assertEqual(SERVER.request("GET", "/v1/models/tiny-model")[2]["object"], "model")
        self.assertEqual(SERVER.request("GET", "/v1/models/other")[0], 404)
        self.assertIn("version", SERVER.request("GET", "/version")[2])

    def test_chat(self):
        status, _, answer = chat()
        self.assertEqual(status, 200, answer)
        choice = answer["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertIn(choice["finish_reason"], ("length", "stop"))
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertEqual(chat()[2]["choices"][0]["message"], choice["message"])

    def test_stream_has_the_same_text(self):
        whole = chat(max_tokens=40)[2]
        chunks = stream(max_tokens=40, stream_options={"include_usage": True})
        self.assertEqual(chunks[0]["choices"][0]["delta"]["role"], "assistant")
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        self.assertEqual(text, whole["choices"][0]["message"]["content"])
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])
        self.assertEqual(len({c["id"] for c in chunks}), 1)

    def test_compression_does_not_hold_a_stream_back(self):
        connection = SERVER.connect()
        connection.request("POST", CHAT, json.dumps({"messages": HELLO, "max_tokens": 5, "stream": True}),
                           {"Content-Type": "application/json", "Accept-Encoding": "gzip, br"})
        response = connection.getresponse()
        self.assertIsNone(response.getheader("Content-Encoding"))
        self.assertTrue(response.read().startswith(b"data: "))

    def test_n_answers_differ_by_seed_and_repeat(self):
        fields = dict(n=3, temperature=1, seed=11, max_tokens=12)
        first, second = chat(**fields)[2], chat(**fields)[2]
        texts = [c["message"]["content"] for c in first["choices"]]
        self.assertEqual(texts, [c["message"]["content"] for c in second["choices"]])
        self.assertEqual(len(set(texts)), 3)
        alone = chat(temperature=1, seed=12, max_tokens=12)[2]["choices"][0]["message"]["content"]
        self.assertEqual(alone, texts[1])

    def test_echo_gives_the_logprobs_of_the_prompt(self):
        def complete(**fields):
            status, answer = SERVER.post("/v1/completions", **{"temperature": 0, **fields})
            self.assertEqual(status, 200, answer)
            return answer
        text = "the river runs under é"
        answer = complete(prompt=text, max_tokens=5, logprobs=2, echo=True)
        prompt, n = answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]
        choice = answer["choices"][0]
        logprobs = choice["logprobs"]
        self.assertTrue(choice["text"].startswith(text))
        self.assertEqual({key: len(value) for key, value in logprobs.items()},
                         dict.fromkeys(("tokens", "token_logprobs", "top_logprobs", "text_offset"), prompt + n))
        self.assertEqual((logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]), (None, None))
        self.assertTrue(all(value <= 0 for value in logprobs["token_logprobs"][1:]))
        self.assertEqual(logprobs["text_offset"][prompt], len(text))
        marked = complete(prompt="the river[unused9]", max_tokens=1, logprobs=0, echo=True)["choices"][0]["logprobs"]
        self.assertEqual(marked["text_offset"][marked["tokens"].index("[unused9]")], len("the river"))
        # What is generated as a prompt again: the same tokens with the same logprobs.
        ids = SERVER.post("/tokenize", prompt=text)[1]["tokens"]
        made = complete(prompt=ids, max_tokens=5, logprobs=0, return_token_ids=True)["choices"][0]
        again = complete(prompt=ids + made["token_ids"], max_tokens=0, logprobs=0, echo=True)
        self.assertEqual(again["usage"]["completion_tokens"], 0)
        self.assertEqual(again["choices"][0]["finish_reason"], "length")
        scores = again["choices"][0]["logprobs"]["token_logprobs"]
        self.assertEqual(len(scores), len(ids) + len(made["token_ids"]))
        for a, b in zip(scores[len(ids):], made["logprobs"]["token_logprobs"]):
            self.assertAlmostEqual(a, b, places=3)
        self.assertEqual(again["choices"][0]["text"], SERVER.post("/detokenize", tokens=ids + made["token_ids"])[1]["prompt"].removeprefix("<s>"))
        self.assertEqual(SERVER.post("/v1/completions", prompt="a", max_tokens=0)[0], 400)
        # The token that ends the text has its place too: clients take the last one for generated.
        end = SERVER.post("/tokenize", prompt=SERVER.request("GET", "/tokenizer_info")[2]["eos_token"], add_special_tokens=False)[1]["tokens"][0]
        ask = {"prompt": [ids, ids[:3]], "logprobs": 1, "echo": True, "max_tokens": 1, "temperature": 0, "logit_bias": {str(end): 100}}
        choices = complete(**ask)["choices"]
        self.assertEqual({choice["finish_reason"] for choice in choices}, {"stop"})
        streamed = [[], []]
        for event in stream_of("/v1/completions", ask):
            for choice in event["choices"]:
                streamed[choice["index"]] += choice["logprobs"]["token_logprobs"] if choice["logprobs"] else []
        for choice, scores, prompt in zip(choices, streamed, (ids, ids[:3])):
            self.assertEqual(choice["logprobs"]["token_logprobs"], scores)
            self.assertEqual(len(scores), len(prompt) + 1)
            self.assertNotIn(None, scores[1:])

    def test_bad_words_and_allowed_tokens(self):
        said = chat(max_tokens=12, return_token_ids=True)[2]["choices"][0]
        first = said["token_ids"][0]
        others = chat(max_tokens=12, return_token_ids=True, allowed_token_ids=[first + 1, first + 2])[2]["choices"][0]
        self.assertLessEqual(set(others["token_ids"]), {first + 1, first + 2})
        word = max(re.findall(r"[a-z]+", said["message"]["content"] + " river"), key=len)
        text = chat(max_tokens=12, bad_words=[word])[2]["choices"][0]["message"]["content"]
        self.assertNotIn(word, text)

    def test_logprobs(self):
        answer = chat(logprobs=True, top_logprobs=3)[2]
        content = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), answer["usage"]["completion_tokens"])
        for entry in content:
            self.assertLessEqual(entry["logprob"], 0)
            self.assertEqual(len(entry["top_logprobs"]), 3)
            self.assertAlmostEqual(entry["logprob"], entry["top_logprobs"][0]["logprob"], places=4)  # greedy
        streamed = []
        for chunk in stream(logprobs=True, top_logprobs=3):
            if chunk["choices"] and chunk["choices"][0]["logprobs"]:
                streamed += chunk["choices"][0]["logprobs"]["content"]
        self.assertEqual(streamed, content)

    def test_stop_strings(self):
        whole = chat(max_tokens=40)[2]["choices"][0]["message"]["content"]
        self.assertGreater(len(whole), 12)
        stop = whole[6:9]
        cut = chat(max_tokens=40, stop=stop)[2]["choices"][0]
        self.assertEqual(cut["message"]["content"], whole[:whole.index(stop)])
        self.assertEqual((cut["finish_reason"], cut["stop_reason"]), ("stop", stop))
        kept = chat(max_tokens=40, stop=stop, include_stop_str_in_output=True)[2]["choices"][0]
        self.assertEqual(kept["message"]["content"], whole[:whole.index(stop) + len(stop)])

    def test_stop_token_ids(self):
        ids = chat(max_tokens=20, return_token_ids=True)[2]["choices"][0]["token_ids"]
        stop = ids[5]
        cut = chat(max_tokens=20, return_token_ids=True, stop_token_ids=[stop])[2]["choices"][0]
        self.assertEqual(cut["token_ids"], ids[:ids.index(stop)])
        self.assertEqual(cut["finish_reason"], "stop")

    def test_completions(self):
        status, answer = SERVER.post("/v1/completions", prompt=["the", [5, 6]], max_tokens=6, temperature=0, echo=True, n=2, seed=1)
        self.assertEqual(status, 200, answer)
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2, 3])
        self.assertTrue(answer["choices"][0]["text"].startswith("the"))
        answer = SERVER.post("/v1/completions", prompt="the", max_tokens=6, logprobs=2, temperature=0)[1]
        logprobs = answer["choices"][0]["logprobs"]
        self.assertEqual(len(logprobs["tokens"]), len(logprobs["token_logprobs"]))
        self.assertEqual(len(logprobs["tokens"]), len(logprobs["text_offset"]))

    def test_tokens_there_and_back(self):
        text = "the river 门前 ☃"
        tokens = SERVER.post("/tokenize", prompt=text)[1]
        self.assertEqual(tokens["count"], len(tokens["tokens"]))
        plain = SERVER.post("/tokenize", content=text)[1]["tokens"]
        self.assertEqual(SERVER.post("/detokenize", tokens=plain)[1]["content"], text)
        prompt = SERVER.post("/apply-template", messages=HELLO)[1]["prompt"]
        self.assertIn("the river", prompt)
        ids = SERVER.post("/tokenize", messages=HELLO)[1]["tokens"]
        self.assertEqual(chat(max_tokens=1)[2]["usage"]["prompt_tokens"], len(ids))

    def test_special_tokens_of_raw_prompts(self):
        marks = [SERVER.post("/tokenize", content=mark)[1]["tokens"] for mark in ("[unused9]", "[unused10]")]
        self.assertEqual([len(ids) for ids in marks], [1, 1])
        text = "[unused9]the river[unused10]"
        counted = {special: SERVER.post("/v1/completions", prompt=text, max_tokens=1, parse_special=special)[1]["usage"]["prompt_tokens"]
                   for special in (True, False)}
        default = SERVER.post("/v1/completions", prompt=text, max_tokens=1)[1]["usage"]["prompt_tokens"]
        self.assertEqual(default, SERVER.post("/tokenize", prompt=text)[1]["count"])
        self.assertEqual(default, counted[True])
        self.assertGreater(counted[False], default)
        bare = SERVER.post("/v1/completions", prompt=text, max_tokens=1, add_special_tokens=False)[1]["usage"]["prompt_tokens"]
        self.assertEqual(bare, default - 1)  # without BOS
        # What a chat says is never a special token.
        said = SERVER.post("/tokenize", messages=[{"role": "user", "content": text}])[1]["tokens"]
        plain = SERVER.post("/tokenize", messages=[{"role": "user", "content": "the river"}])[1]["tokens"]
        self.assertEqual([said.count(ids[0]) for ids in marks], [plain.count(ids[0]) for ids in marks])

    def test_tokenizer_info(self):
        status, _, info = SERVER.request("GET", "/tokenizer_info")
        self.assertEqual(status, 200)
        self.assertEqual((info["bos_token"], info["pad_token"], info["unk_token"]), ("<s>", None, "<unk>"))
        for role in ("bos_token", "eos_token"):  # what lm-eval does to get their ids
            ids = SERVER.post("/tokenize", prompt=info[role], add_special_tokens=False)[1]["tokens"]
            self.assertEqual(len(ids), 1)
        self.assertIn("chat_template", info)
        self.assertEqual((info["add_bos_token"], info["model_max_length"]), (True, 2048))

    def test_prompts_longer_than_the_context_end_early(self):
        text = "the river runs by the geese " * 200_000  # 5.6 MB
        for path, body in (("/v1/completions", {"prompt": text}), ("/v1/embeddings", {"input": text}),
                           (CHAT, {"messages": [{"role": "user", "content": text}]})):
            start = time.monotonic()
            status, _, answer = SERVER.request("POST", path, body)
            self.assertEqual((status, answer["error"]["code"]), (400, "context_length_exceeded"), path)
            self.assertLess(time.monotonic() - start, 10)

    def test_invalid_text_is_replaced(self):
        for raw in (b'"a \xff b"', b'"a \\ud800 b"', b'"a \\udc00 b"'):
            body = b'{"content": ' + raw + b"}"
            connection = SERVER.connect()
            connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
            ids = json.loads(connection.getresponse().read())["tokens"]
            connection.close()
            self.assertEqual(SERVER.post("/detokenize", tokens=ids)[1]["content"], "a \ufffd b")

    def test_embeddings(self):
        status, answer = SERVER.post("/v1/embeddings", input=["the river", "the river", "winter"], model="x")
        self.assertEqual(status, 200, answer)
        a, b, c = (entry["embedding"] for entry in answer["data"])
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)
        self.assertAlmostEqual(sum(x * x for x in a), 1, places=4)
        self.assertIsInstance(SERVER.post("/v1/embeddings", input="x", encoding_format="base64")[1]["data"][0]["embedding"], str)

    def test_many_texts_are_read_together(self):
        texts = [[5 + i, 7, 9] for i in range(32)]
        alone = [SERVER.post("/v1/embeddings", input=text)[1]["data"][0]["embedding"] for text in texts]
        before = SERVER.metric("ultramoe:engine_steps_total")
        answer = SERVER.post("/v1/embeddings", input=texts)[1]
        self.assertEqual([entry["embedding"] for entry in answer["data"]], alone)
        scores = SERVER.post("/v1/completions", prompt=texts, echo=True, logprobs=0, max_tokens=0)[1]
        self.assertEqual(len(scores["choices"]), len(texts))
        self.assertLess(SERVER.metric("ultramoe:engine_steps_total") - before, 20)
        many = SERVER.post("/v1/embeddings", input=[[5 + i % 200] for i in range(300)])[1]  # more than a batch
        self.assertEqual(len(many["data"]), 300)

    def test_routed_experts(self):
        answer = chat(routed_experts=True)[2]
        data = base64.b64decode(answer["choices"][0]["routed_experts"])
        self.assertTrue(data.startswith(b"\x93NUMPY\x01\x00"))
        length = int.from_bytes(data[8:10], "little")
        self.assertEqual((length + 10) % 64, 0)
        shape = [int(n) for n in re.search(rb"\((\d+), (\d+), (\d+)\)", data[:10 + length]).groups()]
        self.assertEqual(shape[1:], [2, 2])
        self.assertEqual(len(data), 10 + length + 2 * shape[0] * shape[1] * shape[2])
        self.assertGreaterEqual(shape[0], answer["usage"]["prompt_tokens"])
        self.assertNotIn("routed_experts", chat()[2]["choices"][0])

    def test_metrics(self):
        chat()
        text = SERVER.request("GET", "/metrics")[2]
        for name in ("vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:prompt_tokens_total",
                     "vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_sum",
                     "vllm:e2e_request_latency_seconds_count", "vllm:request_success_total"):
            self.assertIn(name + "{", text)
        self.assertGreater(SERVER.metric("vllm:generation_tokens_total"), 0)

    def test_page(self):
        status, headers, page = SERVER.request("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("<!doctype html>", page)
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertNotRegex(page, r'(src|href)="https?://')


class Formats(unittest.TestCase):
    def content(self, **fields):
        status, _, answer = chat(**{"max_tokens": 300, "temperature": 1, "seed": 5, "reasoning_effort": "none", **fields})
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]

    def test_json_schema(self):
        schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "cold": {"type": "boolean"}},
                  "required": ["city", "cold"], "additionalProperties": False}
        choice = self.content(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
        value = json.loads(choice["message"]["content"])
        self.assertIn(value["city"], ("Rome", "Oslo"))
        self.assertIsInstance(value["cold"], bool)
        self.assertEqual(choice["finish_reason"], "stop")

    def test_choice_and_regex(self):
        self.assertIn(self.content(structured_outputs={"choice": ["yes", "no"]})["message"]["content"], ("yes", "no"))
        self.assertRegex(self.content(guided_regex="[ab]{3}-[0-9]")["message"]["content"], r"^[ab]{3}-[0-9]$")

    def test_thinking_comes_before_the_format(self):
        opened = SERVER.post("/tokenize", content="[unused16]")[1]["tokens"]
        prompt = SERVER.post("/tokenize", messages=HELLO)[1]["tokens"]
        choice = self.content(structured_outputs={"choice": ["yes", "no"]}, thinking_token_budget=5, return_token_ids=True,
                              reasoning_effort="high", logit_bias={str(opened[0]): 3})
        self.assertGreater(len(prompt), 5)
        if choice["token_ids"][0] == opened[0]:  # it thought: five tokens and the end of it
            self.assertEqual(choice["message"].get("reasoning"), choice["message"].get("reasoning_content"))
            self.assertEqual(SERVER.post("/detokenize", tokens=choice["token_ids"][6:7])[1]["content"], "[unused17]")
        self.assertIn(choice["message"]["content"], ("yes", "no"))

    def test_no_thinking_at_budget_zero(self):
        opened = SERVER.post("/tokenize", content="[unused16]")[1]["tokens"][0]
        answer = chat(thinking_token_budget=0, logit_bias={str(opened): 100}, return_token_ids=True)[2]
        self.assertNotEqual(answer["choices"][0]["token_ids"][0], opened)
        self.assertEqual(chat(logit_bias={str(opened): 100}, return_token_ids=True)[2]["choices"][0]["token_ids"][0], opened)

    def test_a_required_tool_is_called(self):
        tools = [{"type": "function", "function": {"name": "look", "parameters": {
            "type": "object", "properties": {"far": {"type": "boolean"}}, "required": ["far"], "additionalProperties": False}}},
                 {"type": "function", "function": {"name": "wait", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}]
        fields = dict(tools=tools, parallel_tool_calls=False, reasoning_effort="none")
        choice = self.content(tool_choice="required", **fields)
        self.assertEqual(choice["finish_reason"], "tool_calls")
        call = choice["message"]["tool_calls"][0]
        self.assertIn(call["function"]["name"], ("look", "wait"))
        self.assertIsInstance(json.loads(call["function"]["arguments"]), dict)
        named = {"type": "function", "function": {"name": "look"}}
        choice = self.content(tool_choice=named, **fields)
        self.assertIn("far", json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]))
        for only in ("look", "wait"):
            allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": only}}]}
            choice = self.content(tool_choice={"type": "allowed_tools", "allowed_tools": allowed}, **fields)
            self.assertEqual([call["function"]["name"] for call in choice["message"]["tool_calls"]], [only])
        deltas = []
        for chunk in stream(max_tokens=300, temperature=1, seed=5, tool_choice=named, **fields):
            deltas += chunk["choices"][0]["delta"].get("tool_calls", []) if chunk["choices"] else []
        self.assertEqual(deltas[0]["function"], {"name": "look", "arguments": ""})
        self.assertTrue(deltas[0]["id"].startswith("call_"))
        self.assertIn("far", json.loads("".join(d["function"]["arguments"] for d in deltas)))

    def test_a_bad_schema_is_refused(self):
        status, _, answer = chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}})
        self.assertEqual(status, 400, answer)


class Errors(unittest.TestCase):
    def test_names_the_field(self):
        for fields, param in ((dict(temperature="x"), "temperature"), (dict(n=0), "n"), (dict(messages=[]), "messages"), (dict(grammar="x"), "grammar")):
            status, _, answer = chat(**fields)
            self.assertEqual((status, answer["error"]["param"], answer["error"]["type"]), (400, param, "invalid_request_error"))

    def test_names_the_field_that_the_client_sent(self):
        schema = {"json": {"type": "nothing"}}
        long = "geese " * 5000
        for path, fields, param in (("/v1/embeddings", {"input": [[]]}, "input"), ("/v1/embeddings", {"input": [[5], []]}, "input"),
                                    ("/v1/embeddings", {"input": []}, "input"), ("/v1/embeddings", {"input": long}, "input"),
                                    ("/v1/embeddings", {"input": [1] * 5000}, "input"), ("/v1/completions", {"prompt": "", "add_special_tokens": False}, "prompt"),
                                    ("/v1/completions", {"prompt": long}, "prompt"), ("/v1/completions", {"prompt": [5] * 5000}, "prompt"),
                                    ("/v1/completions", {"prompt": "x", "structured_outputs": schema}, "structured_outputs"),
                                    ("/v1/completions", {"prompt": "x", "guided_regex": "("}, "guided_regex"),
                                    (CHAT, {"messages": [{"role": "user", "content": long}]}, "messages"),
                                    (CHAT, {"messages": HELLO, "max_completion_tokens": 0}, "max_completion_tokens"),
                                    (CHAT, {"messages": HELLO, "guided_json": {"type": "nothing"}}, "guided_json"),
                                    ("/v1/responses", {"input": long}, "input"), ("/v1/responses", {"input": "x", "max_tokens": 0}, "max_tokens"),
                                    ("/v1/responses", {"input": "x", "structured_outputs": schema}, "structured_outputs"),
                                    ("/tokenize", {"content": 3}, "content"), ("/tokenize", {"prompt": 3}, "prompt"), ("/detokenize", {"tokens": "x"}, "tokens")):
            status, answer = SERVER.post(path, **fields)
            self.assertEqual((status, answer["error"]["param"]), (400, param), (path, answer))
        for path, fields, start in (("/v1/messages", {"stop_sequences": 3}, "stop_sequences: "), ("/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens: "),
                                    ("/v1/messages", {"tools": [{"name": "f", "input_schema": 3}]}, "tools[0].input_schema: "),
                                    ("/v1/messages", {"messages": [{"role": "user", "content": ""}]}, "messages[0].content: "),
                                    ("/v1/messages", {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]}]}, "messages[1].content: "),
                                    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]}, "messages[0].content: "),
                                    ("/v1/messages/count_tokens", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000}, "thinking.budget_tokens: ")):
            status, answer = SERVER.post(path, **{"messages": HELLO, "max_tokens": 4, **fields})
            self.assertEqual((status, answer["type"], answer["error"]["type"]), (400, "error", "invalid_request_error"), answer)
            self.assertTrue(answer["error"]["message"].startswith(start), answer)
        body = {"messages": HELLO, "thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000}
        self.assertEqual(SERVER.request("POST", "/v1/messages/count_tokens", body, {"Anthropic-Beta": "interleaved-thinking-2025-05-14"})[0], 200)

    def test_long_prompts(self):
        status, _, answer = chat(messages=[{"role": "user", "content": "geese " * 5000}])
        self.assertEqual(status, 400)
        self.assertEqual(answer["error"]["code"], "context_length_exceeded")
        self.assertIn("maximum context length", answer["error"]["message"])
        self.assertEqual(SERVER.post("/v1/embeddings", input="geese " * 5000)[0], 400)

    def test_malformed(self):
        for body in (b"", b"{", b"[]", b"\xff\xfe", b"{" * 5000, b'{"messages": 1e999}', b'{"a": 1, "a": 2}'):
            status, _, answer = SERVER.request("POST", CHAT, body)
            self.assertEqual(status, 400, body)
            self.assertIn("message", answer["error"])

    def test_paths_and_methods(self):
        self.assertEqual(SERVER.request("GET", "/nothing")[0], 404)
        self.assertEqual(SERVER.request("POST", "/nothing", {})[0], 404)
        self.assertEqual(SERVER.request("GET", CHAT)[0], 405)
        self.assertEqual(SERVER.request("DELETE", CHAT)[0], 405)
        self.assertEqual(SERVER.request("GET", "/" + "x" * 4000)[0], 404)
        self.assertEqual(SERVER.request("POST", "/" + "x" * 4000, {})[0], 404)

    def test_large_bodies(self):
        status, _, answer = SERVER.request("POST", CHAT, b" " * (9 << 20))
        self.assertEqual(status, 413, answer)

    def test_a_compressed_bomb(self):
        import zlib
        packed = zlib.compressobj(9, zlib.DEFLATED, 31)
        data = packed.compress(b" " * (64 << 20)) + packed.flush()
        status, _, _ = SERVER.request("POST", CHAT, data, {"Content-Encoding": "gzip"})
        self.assertEqual(status, 413)

    def test_foreign_pages_are_kept_out(self):
        origin = {"Origin": "https://elsewhere.example"}
        status, headers, _ = SERVER.request("POST", CHAT, {"messages": HELLO}, origin)
        self.assertEqual(status, 403)
        self.assertIsNone(headers["Access-Control-Allow-Origin"])
        for foreign in ("https://elsewhere.example", "null", SERVER.url + "0"):
            for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
                for path in ("/", "/v1/models", "/metrics", "/tokenizer_info", "/v1/responses/resp_x", "/nowhere", "/health", "/ping"):
                    status, headers, _ = SERVER.request(method, path, None, {"Origin": foreign})
                    self.assertEqual(status == 403, path not in ("/health", "/ping"), (method, path, status))
                    self.assertIsNone(headers["Access-Control-Allow-Origin"])
        own = {"Origin": SERVER.url}
        self.assertEqual(SERVER.request("POST", CHAT, {"messages": HELLO, "max_tokens": 1}, own)[0], 200)
        self.assertEqual(SERVER.request("GET", "/v1/models", None, own)[0], 200)


class Curl(unittest.TestCase):
    @unittest.skipUnless(shutil.which("curl"), "no curl")
    def test_curl(self):
        done = subprocess.run(["curl", "-sN", SERVER.url + CHAT, "-H", "Content-Type: application/json", "-d",
                               '{"messages": [{"role": "user", "content": "hi"}], "stream": true, "max_tokens": 4}'],
                              capture_output=True, text=True, timeout=60, check=True)
        self.assertTrue(done.stdout.endswith("data: [DONE]\n\n"), done.stdout)

    @unittest.skipUnless(shutil.which("curl"), "no curl")
    def test_the_examples_of_the_readme(self):
        found = 0
        for name in ("README.md", "docs/server.md"):
            with open(os.path.join(ROOT, name), encoding="utf-8") as file:
                blocks = re.findall(r"```\n(.*?)```", file.read(), re.S)
            # A command goes on where a line ends in a backslash or inside quotes.
            for command in re.findall(r"^curl localhost:8000(?:\\\n|'[^']*'|[^\n'])*", "\n".join(blocks), re.M):
                found += 1
                short = command.replace("localhost:8000", SERVER.url).replace('{"messages"', '{"max_tokens": 60, "messages"')
                done = subprocess.run(["sh", "-c", short + " -sS --fail-with-body"], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, command + done.stdout + done.stderr)
        self.assertGreaterEqual(found, 3)


class Settings(unittest.TestCase):
    def test_key_cors_and_name(self):
        server = Server(WORK, "--api-key", "secret", "--cors", "https://a.example", "--model-name", "mine")
        try:
            self.assertEqual(server.request("GET", "/health")[0], 200)
            self.assertEqual(server.request("GET", "/")[0], 200)
            for key in ({}, {"Authorization": "Bearer wrong!"}, {"Authorization": "Bearer secret2"}, {"Authorization": "secret"}):
                status, headers, answer = server.request("GET", "/v1/models", None, key)
                self.assertEqual((status, answer["error"]["code"]), (401, "invalid_api_key"))
            good = {"Authorization": "Bearer secret", "Origin": "https://a.example"}
            status, headers, answer = server.request("GET", "/v1/models", None, good)
            self.assertEqual((status, answer["data"][0]["id"]), (200, "mine"))
            self.assertEqual(headers["Access-Control-Allow-Origin"], "https://a.example")
            self.assertEqual(server.request("GET", "/v1/models", None, {**good, "Origin": "https://b.example"})[0], 403)
            status, headers, _ = server.request("OPTIONS", CHAT, None, {"Origin": "https://a.example"})
            self.assertEqual(status, 204)
            self.assertIn("Authorization", headers["Access-Control-Allow-Headers"])
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_tls(self):
        if not shutil.which("openssl"):
            self.skipTest("no openssl")
        key, cert = WORK.path("key.pem"), WORK.path("cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        server = Server(WORK, "--tls-cert", cert, "--tls-key", key)
        try:
            import ssl
            import urllib.request
            context = ssl.create_default_context(cafile=cert)
            body = json.dumps({"messages": HELLO, "max_tokens": 30, "stream": True}).encode()
            request = urllib.request.Request(server.url + CHAT, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, context=context) as response:
                self.assertTrue(response.read().endswith(b"data: [DONE]\n\n"))
            with server.socket(5) as plain:  # a client that does not speak TLS
                plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                try:
                    self.assertNotIn(b"200", plain.recv(1000))
                except ConnectionResetError:
                    pass
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_slow_senders_and_many_connections(self):
        server = Server(WORK, "--read-timeout", "1", "--max-connections", "3")
        try:
            slow = [server.socket() for _ in range(3)]
            for connection in slow:
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\n")
            time.sleep(0.3)
            self.assertEqual(server.request("GET", "/health")[0], 200)
            for connection in slow:
                self.assertIn(b" 408 ", connection.recv(1000))
                connection.close()
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_queue_and_timeout(self):
        server = Server(WORK, "--max-batch", "1", "--max-queue", "1", "--request-timeout", "2")
        try:
            body = {"prompt": "the", "max_tokens": 2000, "ignore_eos": True}
            seen = []
            threads = [threading.Thread(target=lambda: seen.append(server.request("POST", "/v1/completions", body))) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            statuses = sorted(status for status, _, _ in seen)
            self.assertIn(429, statuses)
            refused = next(headers for status, headers, _ in seen if status == 429)
            self.assertIsNotNone(refused["Retry-After"])
            self.assertTrue(set(statuses) <= {200, 429, 504}, statuses)
            server.idle()
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_drain(self):
        server = Server(WORK)
        connection = server.connect()
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "the", "max_tokens": 1500, "ignore_eos": True, "stream": True}),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        self.assertTrue(response.readline().startswith(b"data: "))
        import signal
        server.process.send_signal(signal.SIGTERM)
        server.find("draining")
        try:  # unless all is over already
            status, headers, _ = server.request("POST", "/v1/completions", {"prompt": "x"})
            self.assertEqual(status, 503)
            self.assertEqual(server.request("GET", "/health")[0], 503)
        except ConnectionRefusedError:
            pass
        rest = response.read()
        self.assertTrue(rest.endswith(b"data: [DONE]\n\n"))
        self.assertEqual(server.process.wait(60), 0)

    def test_second_signal_ends_at_once(self):
        import signal
        server = Server(WORK)
        connection = server.connect()
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "the", "max_tokens": 2000, "ignore_eos": True, "stream": True, "n": 8}),
                           {"Content-Type": "application/json"})
        connection.getresponse().readline()
        server.process.send_signal(signal.SIGTERM)
        server.find("draining")
        server.process.send_signal(signal.SIGTERM)
        self.assertIn(server.process.wait(10), (-signal.SIGTERM, 0))

    def test_a_model_that_cannot_be_loaded(self):
        empty = WORK.path("empty")
        os.makedirs(empty, exist_ok=True)
        done = subprocess.run([PROGRAM, "serve", empty, "--port", "0"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("empty", done.stderr.splitlines()[-1])

    def test_a_port_in_use(self):
        done = subprocess.run([PROGRAM, "serve", WORK.model, "--port", str(SERVER.port)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot listen", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
