# What the server's APIs say, beside what http_test.py has: the Responses API, names of tokens, ids and
# log lines of requests, paths that are refused by name. Usage: api_test.py ULTRAMOE.
import base64
import json
import re
import struct
import sys
import threading
import time
import unittest

from harness import Server, Workplace, events, program_or_skip

PROGRAM = program_or_skip()
WORK = SERVER = None
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "the river"}]
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "cold": {"type": "boolean"}},
          "required": ["city", "cold"], "additionalProperties": False}


def setUpModule():
    global WORK, SERVER
    WORK = Workplace(PROGRAM)
    SERVER = Server(WORK)


def tearDownModule():
    code = SERVER.terminate()
    WORK.close()
    assert code == 0


def chat(**fields):
    status, answer = SERVER.post(CHAT, **{"messages": HELLO, "max_tokens": 8, "temperature": 0, **fields})
    assert status == 200, answer
    return answer


def complete(**fields):
    status, answer = SERVER.post("/v1/completions", **{"prompt": "the river", "max_tokens": 8, "temperature": 0, **fields})
    assert status == 200, answer
    return answer


def respond(**fields):
    status, answer = SERVER.post("/v1/responses", **{"input": "the river", "max_output_tokens": 12, "temperature": 0, **fields})
    assert status == 200, answer
    return answer


def respond_in_events(**fields):
    """The events of a streamed response."""
    connection = SERVER.connect()
    body = {"input": "the river", "max_output_tokens": 12, "temperature": 0, "stream": True, **fields}
    connection.request("POST", "/v1/responses", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status == 200, text
    blocks = [block.split("\n") for block in text.strip().split("\n\n") if not block.startswith(":")]
    found = [json.loads(block[1].removeprefix("data: ")) for block in blocks]
    assert [block[0] for block in blocks] == ["event: " + event["type"] for event in found]
    return found


def said(response):
    """The items of a response, without ids."""
    drop = lambda item: {key: value for key, value in item.items() if key not in ("id", "call_id")}
    return [drop(item) for item in response["output"]]


# What a field of a kind must not be.
WRONG = {
    "flag": (0, 1, 0.5, "true", [], {}, [True]),
    "text": (5, 0.5, True, [], {}, ["x"], {"a": 1}),
    "count": ("5", True, 0.5, -1, 0, 1e30, 18446744073709551615, [], {}, [5]),
    "ids": (5, True, "5", {}, ["x"], [0.5], [-1], [None], [True], [[1]], [{}], [10**7], [18446744073709551615]),
    "inputs": (5, 0.5, True, {}, [], [None], [True], [{}], ["a", 5], ["a", None], [5, "a"], [0.5], [-1], [10**7], [[1], ["a"]], [[0.5]]),
    "messages": (5, 0.5, True, "x", [], {}, ["x"], [5], [[]], [{}]),
    "items": (5, 0.5, True, [], {}, ["x"], [5], [[]], [{}]),
    "blocks": (5, 0.5, True, {}, ["x"], [5], [[]], [{}]),
}
# Endpoints that generate nothing: a body that is right, and the kinds of its fields (the others:
# wrong_types_test.cc).
FIELDS = [
    ("/v1/embeddings", {"input": "a"}, {"input": "inputs", "encoding_format": "text", "dimensions": "count", "model": "text", "user": "text"}),
    ("/tokenize", {"prompt": "a"}, {"prompt": "text", "model": "text", "add_special_tokens": "flag", "add_special": "flag", "parse_special": "flag",
                                    "return_token_strs": "flag", "with_pieces": "flag"}),
    ("/tokenize", {"content": "a"}, {"content": "text", "model": "text", "add_special_tokens": "flag", "add_special": "flag", "parse_special": "flag",
                                     "return_token_strs": "flag", "with_pieces": "flag"}),
    ("/tokenize", {"messages": HELLO}, {"messages": "messages", "add_generation_prompt": "flag", "return_token_strs": "flag", "with_pieces": "flag",
                                        "prompt": "text", "content": "text", "add_special_tokens": "flag", "parse_special": "flag"}),
    ("/detokenize", {"tokens": [5]}, {"tokens": "ids", "model": "text"}),
    ("/apply-template", {"messages": HELLO}, {"messages": "messages", "model": "text", "store": "flag", "add_generation_prompt": "flag", "continue_final_message": "flag"}),
    ("/v1/messages/count_tokens", {"messages": HELLO}, {"messages": "messages", "system": "blocks", "model": "text", "service_tier": "text"}),
    ("/v1/responses/input_tokens", {"input": "a"}, {"input": "items", "instructions": "text", "model": "text", "service_tier": "text"}),
]


class WrongTypes(unittest.TestCase):
    def test_are_refused_by_name(self):
        for path, body, fields in FIELDS:
            self.assertEqual(SERVER.post(path, **body)[0], 200, (path, body))
            for field, kind in fields.items():
                for value in WRONG[kind]:
                    with self.subTest(path=path, body=body, field=field, value=value):
                        status, answer = SERVER.post(path, **{**body, field: value})
                        self.assertEqual(status, 400)
                        self.assertRegex(answer["error"]["message"], rf"^{field}\b")


class Tokens(unittest.TestCase):
    def test_no_alternative_hides_another(self):
        choice = complete(logprobs=20, max_tokens=60, temperature=1, seed=1, ignore_eos=True)["choices"][0]
        tops = choice["logprobs"]["top_logprobs"]
        self.assertEqual({len(top) for top in tops}, {20})
        names = {name for top in tops for name in top}
        self.assertFalse([name for name in names if "\ufffd" in name])
        self.assertTrue([name for name in names if re.fullmatch(r"bytes:(\\x[0-9a-f]{2})+", name)])
        greedy = complete(logprobs=20, max_tokens=30, ignore_eos=True)["choices"][0]["logprobs"]
        for token, top in zip(greedy["tokens"], greedy["top_logprobs"]):
            self.assertEqual(max(top, key=top.get), token)

    def test_chat_names_them_alike(self):
        content = chat(logprobs=True, top_logprobs=20, max_tokens=40, temperature=1, seed=2)["choices"][0]["logprobs"]["content"]
        for entry in content:
            for one in entry["top_logprobs"]:
                whole = bytes(one["bytes"])
                try:
                    self.assertEqual(one["token"], whole.decode())
                except UnicodeDecodeError:
                    self.assertEqual(one["token"], "bytes:" + "".join(f"\\x{byte:02x}" for byte in whole))

    def test_pieces_keep_their_bytes(self):
        pieces = [token["piece"] for token in SERVER.post("/tokenize", content="a☃", with_pieces=True)[1]["tokens"]]
        data = b"".join(bytes(piece) if isinstance(piece, list) else piece.encode() for piece in pieces)
        self.assertIn("☃".encode(), data)

    def test_min_tokens_holds_back_all_ends(self):
        text = complete(max_tokens=40, ignore_eos=True)["choices"][0]["text"]
        ids = complete(max_tokens=40, ignore_eos=True, return_token_ids=True)["choices"][0]["token_ids"]
        stop = text[4:7]
        self.assertEqual(complete(max_tokens=40, ignore_eos=True, stop=stop)["choices"][0]["stop_reason"], stop)
        for least in (5, 20, 40):
            cut = complete(max_tokens=40, min_tokens=least, ignore_eos=True, stop=stop)
            self.assertGreaterEqual(cut["usage"]["completion_tokens"], least)
            self.assertTrue(text.startswith(cut["choices"][0]["text"]))
        held = complete(max_tokens=40, min_tokens=20, ignore_eos=True, stop_token_ids=[ids[3]], return_token_ids=True)
        self.assertGreaterEqual(held["usage"]["completion_tokens"], 20)
        thought = chat(max_tokens=60, min_tokens=30, thinking_token_budget=5, temperature=1, seed=3)
        self.assertGreaterEqual(thought["usage"]["completion_tokens"], 30)
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        answer = chat(max_tokens=300, min_tokens=200, temperature=1, reasoning_effort="none", response_format=schema)["choices"][0]
        self.assertEqual(set(json.loads(answer["message"]["content"])), {"city", "cold"})  # which is complete before


class Fields(unittest.TestCase):
    def test_timings_have_all_of_llama_cpps_fields(self):
        fields = {"cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_n", "predicted_ms",
                  "predicted_per_token_ms", "predicted_per_second", "draft_n", "draft_n_accepted"}
        for answer in (chat(), complete(), respond()):
            timings = answer["timings"]
            self.assertLessEqual(fields, set(timings))
            self.assertAlmostEqual(timings["predicted_per_token_ms"] * timings["predicted_per_second"], 1000, delta=1)

    def test_usage_and_timings_count_the_same_tokens(self):
        said = complete(max_tokens=30, ignore_eos=True, return_token_ids=True)["choices"][0]
        ids = said["token_ids"]
        end = next(i for i in range(1, len(ids)) if ids[i] not in ids[:i])  # the answer ends with this token, which counts
        stop = said["text"][8:11]
        for answer in (complete(max_tokens=30, stop_token_ids=[ids[end]], ignore_eos=True), complete(max_tokens=30, ignore_eos=True, stop=stop),
                       complete(max_tokens=30, ignore_eos=True), complete(echo=True, max_tokens=0), chat(max_tokens=30)):
            self.assertEqual(answer["usage"]["completion_tokens"], answer["timings"]["predicted_n"], answer)
        self.assertEqual(complete(max_tokens=30, stop_token_ids=[ids[end]], ignore_eos=True)["usage"]["completion_tokens"], end + 1)
        answer = respond(max_output_tokens=30, stop_token_ids=[ids[end]])
        self.assertEqual(answer["usage"]["output_tokens"], answer["timings"]["predicted_n"])

    def test_dimensions(self):
        def embed(**more):
            status, answer = SERVER.post("/v1/embeddings", input="the river", **more)
            self.assertEqual(status, 200, answer)
            return answer["data"][0]["embedding"]
        whole = embed()
        for size in (1, 8, len(whole)):
            short = embed(dimensions=size)
            self.assertEqual(len(short), size)
            self.assertAlmostEqual(sum(v * v for v in short), 1, places=5)
            self.assertAlmostEqual(short[0] * whole[-1 if size == len(whole) else 0], whole[0] * short[-1 if size == len(whole) else 0], places=5)
        data = base64.b64decode(embed(dimensions=8, encoding_format="base64"))
        self.assertEqual(len(struct.unpack("<8f", data)), 8)
        for size in (0, len(whole) + 1, "8"):
            self.assertEqual(SERVER.post("/v1/embeddings", input="x", dimensions=size)[1]["error"]["param"], "dimensions")

    def test_models_as_anthropic_lists_them(self):
        version = {"anthropic-version": "2023-06-01"}
        listed = SERVER.request("GET", "/v1/models", None, version)[2]
        self.assertEqual((listed["has_more"], listed["first_id"], listed["last_id"]), (False, "tiny-model", "tiny-model"))
        model = listed["data"][0]
        self.assertEqual((model["type"], model["id"], model["display_name"]), ("model", "tiny-model", "tiny-model"))
        self.assertRegex(model["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(SERVER.request("GET", "/v1/models/tiny-model", None, version)[2], model)
        status, _, answer = SERVER.request("GET", "/v1/models/other", None, version)
        self.assertEqual((status, answer["type"], answer["error"]["type"]), (404, "error", "not_found_error"))
        self.assertEqual(SERVER.request("GET", "/v1/models")[2]["object"], "list")

    def test_a_tool_use_that_was_cut(self):
        tools = [{"name": "look", "input_schema": SCHEMA}]
        choice = {"type": "tool", "name": "look", "disable_parallel_tool_use": True}
        body = {"messages": HELLO, "tools": tools, "tool_choice": choice, "temperature": 1, "seed": 5}
        whole = SERVER.post("/v1/messages", **body, max_tokens=400)[1]
        self.assertEqual(whole["stop_reason"], "tool_use")
        wanted, tokens, seen = whole["content"][0]["input"], whole["usage"]["output_tokens"], set()
        for cut in range(1, tokens + 1):
            answer = SERVER.post("/v1/messages", **body, max_tokens=cut)[1]
            for block in (block for block in answer["content"] if block["type"] == "tool_use"):
                self.assertEqual({**wanted, **block["input"]}, wanted, cut)  # finished members only
                seen.add(len(block["input"]))
            if cut < tokens:
                self.assertEqual(answer["stop_reason"], "max_tokens", cut)
        self.assertEqual(seen, {0, 1, 2})


class Paths(unittest.TestCase):
    def test_refused_by_name(self):
        for path, word in (("/v1/rerank", "rerank"), ("/rerank", "rerank"), ("/v2/rerank", "rerank"), ("/v1/score", "scor"), ("/v1/moderations", "moderation"),
                           ("/v1/audio/speech", "audio"), ("/v1/audio/transcriptions", "audio"), ("/v1/images/generations", "image"), ("/v1/files", "files"),
                           ("/v1/batches/x", "batches"), ("/v1/fine_tuning/jobs", "fine-tuning"), ("/api/chat", "Ollama"), ("/v1/responses/compact", "compaction"), ("/v1/messages/batches", "batches")):
            for method, body in (("POST", {"model": "x"}), ("GET", None)):
                status, _, answer = SERVER.request(method, path, body)
                message = answer["error"]["message"]
                self.assertEqual(status, 404, path)
                self.assertTrue(word in message and "not supported" in message, message)
        self.assertIn("nothing", SERVER.request("GET", "/v1/reranker")[2]["error"]["message"])

    def test_methods(self):
        status, headers, _ = SERVER.request("PUT", "/v1/responses/resp_x")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD, POST, DELETE, OPTIONS"))
        self.assertEqual(SERVER.request("DELETE", "/v1/responses/resp_x", None, {"Origin": "https://elsewhere.example"})[0], 403)


class Log(unittest.TestCase):
    def lines(self, server):
        return [line for line in server.text().splitlines() if re.match(r"\d{4}-\d\d-\d\dT", line)]

    def wait_for(self, server, pattern):
        server.find(pattern, 10)
        found = [line for line in self.lines(server) if re.search(pattern, line)]
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_request_ids(self):
        made = SERVER.request("GET", "/health")[1]["X-Request-Id"]
        self.assertRegex(made, r"^req_[0-9A-Za-z]{24}$")
        self.assertNotEqual(SERVER.request("GET", "/health")[1]["X-Request-Id"], made)
        for good in ("abc-123", "a" * 128, "01J8:x/y.z_~"):
            self.assertEqual(SERVER.request("GET", "/nothing", None, {"X-Request-Id": good})[1]["X-Request-Id"], good)
        for bad in ("a b", "a" * 129, 'x"y', "é".encode("utf-8").decode("latin-1"), ""):
            self.assertRegex(SERVER.request("GET", "/health", None, {"X-Request-Id": bad})[1]["X-Request-Id"], "^req_")
        headers = SERVER.request("POST", "/v1/messages", {}, {"X-Request-Id": "own-1"})[1]
        self.assertEqual((headers["X-Request-Id"], headers["Request-Id"]), ("own-1", "own-1"))  # Anthropic's name for it
        status, headers, _ = SERVER.request("POST", CHAT, b" " * (9 << 20), {"X-Request-Id": "large-1"})
        self.assertEqual((status, headers["X-Request-Id"]), (413, "large-1"))

    def test_a_line_each(self):
        body = {"messages": [{"role": "user", "content": "secretword the river"}], "max_tokens": 7, "ignore_eos": True}
        SERVER.request("POST", CHAT, body, {"X-Request-Id": "whole-1"})
        line = self.wait_for(SERVER, "id=whole-1")
        self.assertRegex(line, r"^\S+Z info 127\.0\.0\.1 POST /v1/chat/completions 200 ms=\d+ prompt=\d+ cached=\d+ generated=7 queue_ms=\d+ prompt_ms=\d+ generate_ms=\d+ id=whole-1$")
        SERVER.request("POST", CHAT, {**body, "stream": True}, {"X-Request-Id": "stream-1"})
        self.assertRegex(self.wait_for(SERVER, "id=stream-1"), r" 200 .*generated=7 ")
        SERVER.request("POST", CHAT, {**body, "temperature": "secretword"}, {"X-Request-Id": "bad-1"})
        self.assertRegex(self.wait_for(SERVER, "id=bad-1"), r" warning .* 400 ms=\d+ error=invalid_request_error param=\"temperature\" id=bad-1$")
        SERVER.request("POST", "/v1/embeddings", {"input": "the river"}, {"X-Request-Id": "embed-1"})
        self.assertRegex(self.wait_for(SERVER, "id=embed-1"), r" 200 ms=\d+ prompt=\d+ id=")
        SERVER.request("GET", "/a%20b%22", None, {"X-Request-Id": "path-1"})
        self.assertIn(' "/a b\\"" 404 ', self.wait_for(SERVER, "id=path-1"))
        with SERVER.socket() as raw:  # nothing of it can be read
            raw.sendall(b"NONSENSE\r\n\r\n")
            raw.recv(1000)
        SERVER.find(r"warning 127\.0\.0\.1 - - 400 ", 10)
        self.assertNotIn("secretword", SERVER.text())

    def test_a_client_that_goes(self):
        connection = SERVER.connect()
        connection.request("POST", CHAT, json.dumps({"messages": HELLO, "max_tokens": 1900, "ignore_eos": True, "stream": True}),
                           {"Content-Type": "application/json", "X-Request-Id": "gone-1"})
        response = connection.getresponse()
        response.readline()
        response.close()
        connection.close()
        self.assertRegex(self.wait_for(SERVER, "id=gone-1"), " warning .* 200 ms=.* cut_off ")

    def test_levels(self):
        for flags, levels in ((["--quiet"], []), (["--log-level", "warning"], ["warning"]), (["--log-level", "debug"], ["info", "warning"])):
            server = Server(WORK, *flags)
            try:
                server.request("GET", "/health")
                server.request("POST", CHAT, {"messages": HELLO, "temperature": "hot"}, {"X-Request-Id": "last-1"})
                time.sleep(0.5)
                self.assertEqual([line.split()[1] for line in self.lines(server)], levels)
                self.assertEqual('message="temperature: expected' in server.text(), "debug" in flags)
            finally:
                self.assertEqual(server.terminate(), 0)


class LongTexts(unittest.TestCase):
    def test_streams_go_on_while_a_long_text_is_read(self):
        server = Server(WORK, "--prefill-rows", "16")
        try:
            connection = server.connect()
            body = {"messages": HELLO, "max_tokens": 1900, "ignore_eos": True, "stream": True}
            connection.request("POST", CHAT, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            stream = events(response)
            for _ in range(10):
                next(stream)
            for path, fields in (("/v1/embeddings", {"input": [5] * 1000}), ("/v1/completions", {"prompt": [6] * 1000, "echo": True, "logprobs": 1, "max_tokens": 0})):
                done, came = [], 0
                reader = threading.Thread(target=lambda: done.append(server.post(path, **fields)))
                reader.start()
                while not done:
                    next(stream)
                    came += 1
                reader.join()
                self.assertEqual(done[0][0], 200)
                self.assertGreater(came, 20, path)  # one at least for each piece, but those that came together
            response.close()
            connection.close()
        finally:
            self.assertEqual(server.terminate(), 0)

    def test_the_text_is_let_go_with_its_client(self):
        ids = [5] * 2000
        connection = SERVER.connect()
        connection.request("POST", "/v1/embeddings", json.dumps({"input": [ids] * 50}), {"Content-Type": "application/json"})
        time.sleep(0.3)
        connection.close()
        SERVER.idle(20)


class Responses(unittest.TestCase):
    def test_says_what_chat_completions_say(self):
        answer = respond(reasoning={"effort": "none"})
        expected = chat(max_tokens=12, reasoning={"effort": "none"})
        self.assertEqual((answer["object"], answer["model"], answer["error"]), ("response", "tiny-model", None))
        message = answer["output"][-1]
        self.assertEqual((message["type"], message["role"], message["content"][0]["type"]), ("message", "assistant", "output_text"))
        self.assertEqual(message["content"][0]["text"], expected["choices"][0]["message"]["content"])
        usage = answer["usage"]
        self.assertEqual(usage["input_tokens"], expected["usage"]["prompt_tokens"])
        self.assertEqual(usage["output_tokens"], expected["usage"]["completion_tokens"])
        self.assertEqual(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"])
        length = expected["choices"][0]["finish_reason"] == "length"
        self.assertEqual(answer["status"], "incomplete" if length else "completed")
        self.assertEqual(answer["incomplete_details"], {"reason": "max_output_tokens"} if length else None)

    def test_input_means_the_same_in_all_its_forms(self):
        text = "the bridge"
        forms = (text, [{"role": "user", "content": text}], [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "the "}, {"type": "input_text", "text": "bridge"}]}])
        count = lambda **fields: SERVER.post("/v1/responses/input_tokens", **fields)[1]["input_tokens"]
        tokens = lambda messages, **more: SERVER.post("/tokenize", messages=messages, **more)[1]["count"]
        self.assertEqual({count(input=form) for form in forms[:2]}, {tokens([{"role": "user", "content": text}])})
        self.assertEqual(count(input=forms[2]), tokens([{"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "bridge"}]}]))
        self.assertEqual(count(input=text, instructions="be brief"), tokens([{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]))
        calls = [{"role": "user", "content": text},
                 {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
                 {"type": "function_call", "call_id": "a", "name": "look", "arguments": '{"city": "Rome"}'},
                 {"type": "function_call", "call_id": "b", "name": "look", "arguments": "{}"},
                 {"type": "function_call_output", "call_id": "a", "output": "7"},
                 {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "8"}]},
                 {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "15", "annotations": []}]},
                 {"role": "developer", "content": "now"}, {"role": "user", "content": "so?"}]
        call = lambda id, arguments: {"id": id, "type": "function", "function": {"name": "look", "arguments": arguments}}
        messages = [{"role": "user", "content": text},
                    {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [call("a", '{"city": "Rome"}'), call("b", "{}")]},
                    {"role": "tool", "tool_call_id": "a", "content": "7"}, {"role": "tool", "tool_call_id": "b", "content": "8"},
                    {"role": "assistant", "content": "15"}, {"role": "system", "content": "now"}, {"role": "user", "content": "so?"}]
        self.assertEqual(count(input=calls), tokens(messages))

    def test_events(self):
        for fields in ({}, {"reasoning": {"effort": "none"}}, {"max_output_tokens": 300, "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}, "temperature": 1, "seed": 4, "reasoning": {"effort": "none"}},
                       {"max_output_tokens": 400, "tools": [{"type": "function", "name": "look", "parameters": SCHEMA}], "tool_choice": "required", "temperature": 1, "seed": 5, "reasoning": {"effort": "none"}}):
            found = respond_in_events(**fields)
            self.assertEqual([event["sequence_number"] for event in found], list(range(len(found))))
            types = [event["type"] for event in found]
            self.assertEqual(types[:2], ["response.created", "response.in_progress"])
            self.assertEqual({event["response"]["status"] for event in found[:2]}, {"in_progress"})
            last = found[-1]
            self.assertEqual(types[-1], "response." + last["response"]["status"])
            self.assertEqual(said(last["response"]), said(respond(**fields)))
            # What the pieces make up is what their ends say, and what the whole says.
            for index, item in enumerate(last["response"]["output"]):
                own = [event for event in found if event.get("output_index") == index]
                self.assertEqual((own[0]["type"], own[-1]["type"]), ("response.output_item.added", "response.output_item.done"))
                self.assertEqual(own[-1]["item"], item)
                self.assertEqual({event["item_id"] for event in own if "item_id" in event}, {item["id"]})
                text = "".join(event["delta"] for event in own if event["type"].endswith(".delta"))
                ends = [event for event in own if event["type"] in ("response.output_text.done", "response.reasoning_text.done", "response.function_call_arguments.done")]
                if item["type"] == "function_call":
                    self.assertEqual([text], [event["arguments"] for event in ends])
                    self.assertEqual(text, item["arguments"])
                else:
                    self.assertEqual([text], [event["text"] for event in ends])
                    self.assertEqual(text, item["content"][0]["text"])

    def test_thinking(self):
        opened = SERVER.post("/tokenize", content="[unused16]")[1]["tokens"][0]
        for seed in range(40):  # until the random model thinks, to which it is talked
            answer = respond(max_output_tokens=24, temperature=1, seed=seed, thinking_token_budget=5, ignore_eos=True, logit_bias={str(opened): 6}, reasoning={"effort": "high"})
            if answer["output"][0]["type"] == "reasoning":
                break
        thought = answer["output"][0]
        self.assertEqual((thought["type"], thought["content"][0]["type"], thought["status"]), ("reasoning", "reasoning_text", "completed"))
        self.assertGreater(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 0)

    def test_structured_output_and_tools(self):
        fields = {"max_output_tokens": 400, "temperature": 1, "seed": 5, "reasoning": {"effort": "none"}}
        answer = respond(text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}, **fields)
        self.assertIn(json.loads(answer["output"][0]["content"][0]["text"])["city"], ("Rome", "Oslo"))
        self.assertIsInstance(json.loads(respond(text={"format": {"type": "json_object"}}, **fields)["output"][0]["content"][0]["text"]), dict)
        tools = [{"type": "function", "name": name, "parameters": SCHEMA} for name in ("look", "wait")]
        for choice, names in ((("required"), {"look", "wait"}), ({"type": "function", "name": "look"}, {"look"}),
                              ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "wait"}]}, {"wait"})):
            answer = respond(tools=tools, tool_choice=choice, parallel_tool_calls=False, **fields)
            calls = [item for item in answer["output"] if item["type"] == "function_call"]
            self.assertEqual(len(calls), 1)
            self.assertIn(calls[0]["name"], names)
            self.assertIn(json.loads(calls[0]["arguments"])["city"], ("Rome", "Oslo"))
            self.assertEqual(answer["tool_choice"], choice)
        # A format is of the text, of which a call that is required has none (instructor asks for both).
        both = respond(tools=tools, tool_choice=choice, parallel_tool_calls=False, text={"format": {"type": "json_object"}}, **fields)
        self.assertEqual(said(both), said(answer))
        again = respond(input=[{"role": "user", "content": "the river"}, *answer["output"], {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": "7"}], tools=tools, **fields)
        self.assertIn(again["status"], ("completed", "incomplete"))
        for cut in range(1, answer["usage"]["output_tokens"]):
            short = respond(tools=tools, tool_choice=choice, parallel_tool_calls=False, **{**fields, "max_output_tokens": cut})
            self.assertEqual(short["status"], "incomplete")
            for item in short["output"]:
                if item["status"] == "completed":
                    self.assertEqual(item["arguments"], calls[0]["arguments"])

    def test_goes_on_from_a_response(self):
        first = respond(instructions="be brief", metadata={"a": "b"})
        self.assertEqual((first["store"], first["metadata"], first["instructions"]), (True, {"a": "b"}, "be brief"))
        second = respond(input="and?", previous_response_id=first["id"])
        self.assertEqual(second["previous_response_id"], first["id"])
        items = [{"role": "user", "content": "the river"}, *first["output"], {"role": "user", "content": "and?"}]
        written = respond(input=items)
        self.assertEqual(said(second), said(written))
        self.assertEqual(second["usage"]["input_tokens"], written["usage"]["input_tokens"])
        self.assertGreater(second["usage"]["input_tokens"], first["usage"]["input_tokens"])
        status, _, kept = SERVER.request("GET", "/v1/responses/" + second["id"])
        self.assertEqual((status, kept["output"], kept["id"]), (200, second["output"], second["id"]))
        listed = SERVER.request("GET", f"/v1/responses/{second['id']}/input_items?order=asc")[2]
        self.assertEqual([item["type"] for item in listed["data"]], ["message"] + [item["type"] for item in first["output"]] + ["message"])
        self.assertEqual(listed["data"][0]["content"], [{"type": "input_text", "text": "the river"}])
        newest = SERVER.request("GET", f"/v1/responses/{second['id']}/input_items?limit=1")[2]
        self.assertEqual((newest["data"], newest["has_more"], newest["last_id"]), (listed["data"][-1:], True, listed["data"][-1]["id"]))
        rest = SERVER.request("GET", f"/v1/responses/{second['id']}/input_items?after={newest['last_id']}")[2]
        self.assertEqual(rest["data"], listed["data"][-2::-1])
        self.assertEqual(SERVER.request("DELETE", "/v1/responses/" + first["id"])[2], {"id": first["id"], "object": "response", "deleted": True})
        self.assertEqual(SERVER.request("DELETE", "/v1/responses/" + first["id"])[0], 404)
        self.assertEqual(SERVER.request("GET", "/v1/responses/" + first["id"])[0], 404)
        respond(input="more", previous_response_id=second["id"])  # which still has its turns
        status, answer = SERVER.post("/v1/responses", input="x", previous_response_id=first["id"])
        self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, "previous_response_id", "previous_response_not_found"))
        hidden = respond(store=False)
        self.assertEqual((hidden["store"], SERVER.request("GET", "/v1/responses/" + hidden["id"])[0]), (False, 404))
        streamed = respond_in_events()[-1]["response"]
        self.assertEqual(SERVER.request("GET", "/v1/responses/" + streamed["id"])[2]["output"], streamed["output"])

    def test_what_is_kept_is_bounded(self):
        for flags, kept in ((["--stored-responses", "3"], 3), (["--stored-response-bytes", "60000"], None), (["--stored-responses", "0"], 0)):
            server = Server(WORK, *flags)
            try:
                ids, previous = [], None
                for _ in range(12):
                    body = {"input": "the river " + "runs " * 100, "max_output_tokens": 2, **({"previous_response_id": previous} if previous and len(ids) < 3 else {})}
                    status, answer = server.post("/v1/responses", **body)
                    self.assertEqual(status, 200, answer)
                    self.assertEqual(answer["store"], kept != 0)
                    ids.append(answer["id"])
                    previous = answer["id"] if kept != 0 else None
                there = [server.request("GET", "/v1/responses/" + id)[0] == 200 for id in ids]
                self.assertEqual(there, sorted(there))  # the newest ones
                self.assertTrue(sum(there) == kept if kept is not None else 1 <= sum(there) < 12, there)
            finally:
                self.assertEqual(server.terminate(), 0)

    def test_truncation(self):
        long = [{"role": "user", "content": "geese " * 300} for _ in range(8)]
        status, answer = SERVER.post("/v1/responses", input=long)
        self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, "input", "context_length_exceeded"))
        kept = respond(input=long, truncation="auto")
        self.assertLess(kept["usage"]["input_tokens"], 2048)
        self.assertGreater(kept["usage"]["input_tokens"], 600)
        status, answer = SERVER.post("/v1/responses", input="geese " * 3000, truncation="auto")  # one turn is not shortened
        self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, "input", "context_length_exceeded"))
        self.assertEqual(respond(input="a", truncation="auto")["usage"]["input_tokens"], respond(input="a")["usage"]["input_tokens"])

    def test_logprobs(self):
        answer = respond(include=["message.output_text.logprobs"], top_logprobs=2, reasoning={"effort": "none"})
        logprobs = answer["output"][0]["content"][0]["logprobs"]
        self.assertEqual(len(logprobs), answer["usage"]["output_tokens"])
        self.assertTrue(all(len(entry["top_logprobs"]) == 2 for entry in logprobs))

    def test_refusals_name_the_field(self):
        message = lambda **fields: {"role": "user", "content": "x", **fields}
        for fields, param in (({}, "input"), ({"input": []}, "input"), ({"input": 3}, "input"), ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
                              ({"input": [message(role="root")]}, "input[0].role"), ({"input": [message(content=[{"type": "input_image", "image_url": "x"}])]}, "input[0].content"),
                              ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"), ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
                              ({"tools": [{"type": "function"}]}, "tools[0].name"), ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"), ({"tool_choice": "required"}, "tool_choice"),
                              ({"max_output_tokens": 0}, "max_output_tokens"), ({"text": {"format": {"type": "xml"}}}, "text.format"), ({"temperature": 101}, "temperature"),
                              ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "nothing"}}}}, "text.format"), ({"truncation": "x"}, "truncation"),
                              ({"background": True}, "background"), ({"conversation": "c"}, "conversation"), ({"prompt": {"id": "p"}}, "prompt"), ({"include": ["x"]}, "include"),
                              ({"metadata": {"a": 1}}, "metadata"), ({"reasoning": {"effort": "x"}}, "reasoning.effort"), ({"store": "x"}, "store")):
            body = fields if "input" in fields or not fields else {"input": "x", **fields}
            status, answer = SERVER.post("/v1/responses", **body)
            self.assertEqual((status, answer["error"]["param"]), (400, param), answer)
            self.assertTrue(answer["error"]["message"])
        self.assertEqual(SERVER.post("/v1/responses/compact", input="x")[0], 404)
        kept = respond()
        self.assertEqual(SERVER.post(f"/v1/responses/{kept['id']}/cancel")[0], 400)
        self.assertEqual(SERVER.request("GET", "/v1/responses/" + kept["id"] + "/other")[0], 404)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
