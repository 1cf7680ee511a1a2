# The `anthropic` Python client against the real server. Usage: anthropic_test.py ULTRAMOE, with a
# Python that has the client (tests/server/client_test.sh makes one).
import json
import sys
import unittest

import anthropic

from harness import Server, Workplace, program_or_skip

PROGRAM = program_or_skip()
WORK = SERVER = CLIENT = None
HELLO = [{"role": "user", "content": "the river"}]
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "cold": {"type": "boolean"}},
          "required": ["city", "cold"], "additionalProperties": False}
TOOLS = [{"name": "look", "description": "Looks.", "input_schema": SCHEMA},
         {"name": "wait", "input_schema": {"type": "object", "properties": {}, "additionalProperties": False}}]


def setUpModule():
    global WORK, SERVER, CLIENT
    WORK = Workplace(PROGRAM)
    SERVER = Server(WORK, "--api-key", "secret")
    CLIENT = anthropic.Anthropic(base_url=SERVER.url, api_key="secret", max_retries=0)


def tearDownModule():
    code = SERVER.terminate()
    WORK.close()
    assert code == 0


def parts(message):
    """All thinking, all text, all calls: a stream has them in the order in which they came."""
    of = lambda type: [block for block in message.content if block.type == type]
    return ("".join(block.thinking for block in of("thinking")), "".join(block.text for block in of("text")),
            [(block.name, block.input) for block in of("tool_use")])


def create(**fields):
    """A message, whole and as a stream, which must be the same."""
    fields = {"model": "tiny-model", "messages": HELLO, "max_tokens": 24, **fields}
    fields["extra_body"] = {"temperature": 0, **fields.get("extra_body", {})}  # lately no parameter of its own
    whole = CLIENT.messages.create(**fields)
    with CLIENT.messages.stream(**fields) as stream:
        events = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert parts(whole) == parts(streamed), (whole, streamed)
    assert (whole.stop_reason, whole.stop_sequence) == (streamed.stop_reason, streamed.stop_sequence)
    assert events[0] == "message_start" and events[-1] == "message_stop", events
    usage = streamed.usage
    assert whole.usage.output_tokens == usage.output_tokens
    assert whole.usage.input_tokens + whole.usage.cache_read_input_tokens == usage.input_tokens + usage.cache_read_input_tokens
    return whole


def openai(**fields):
    status, answer = SERVER.request("POST", "/v1/chat/completions", {"messages": HELLO, "max_tokens": 24, "temperature": 0, **fields},
                                    {"Authorization": "Bearer secret"})[::2]
    assert status == 200, answer
    return answer


class Anthropic(unittest.TestCase):
    def test_says_what_chat_completions_say(self):
        fast = {"chat_template_kwargs": {"enable_thinking": False}}
        message = create()
        self.assertEqual((message.type, message.role, message.model), ("message", "assistant", "tiny-model"))
        expected = openai(**fast)
        self.assertEqual("".join(block.text for block in message.content), expected["choices"][0]["message"]["content"])
        self.assertEqual(message.usage.output_tokens, expected["usage"]["completion_tokens"])
        talk = [{"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "bridge"}]},
                {"role": "assistant", "content": "old"}, {"role": "user", "content": "and?"}]
        expected = openai(messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "the \nbridge"}, *talk[1:]], **fast)
        for system in ("be brief", [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]):
            message = create(messages=talk, system=system)
            self.assertEqual("".join(block.text for block in message.content), expected["choices"][0]["message"]["content"])

    def test_counts_tokens(self):
        count = CLIENT.messages.count_tokens(model="x", messages=HELLO).input_tokens
        usage = create().usage
        self.assertEqual(count, usage.input_tokens + usage.cache_read_input_tokens)

    def test_ends(self):
        self.assertEqual(create(max_tokens=3).stop_reason, "max_tokens")
        text = create().content[0].text
        stop = text[len(text) // 2:][:2]
        message = create(stop_sequences=[stop])
        self.assertEqual((message.stop_reason, message.stop_sequence), ("stop_sequence", stop))
        self.assertEqual(message.content[0].text if message.content else "", text[:text.index(stop)])

    def test_thinking(self):
        opened = SERVER.request("POST", "/tokenize", {"content": "[unused16]"}, {"Authorization": "Bearer secret"})[2]["tokens"][0]
        for seed in range(40):  # until the random model thinks, to which it is talked
            extra = {"temperature": 1, "seed": seed, "thinking_token_budget": 5, "ignore_eos": True, "logit_bias": {str(opened): 6}}
            message = create(thinking={"type": "enabled", "budget_tokens": 1024}, extra_body=extra,
                             extra_headers={"Anthropic-Beta": "interleaved-thinking-2025-05-14"})  # a budget above max_tokens
            if message.content and message.content[0].type == "thinking":
                break
        self.assertEqual(message.content[0].type, "thinking")
        self.assertTrue(message.content[0].thinking)
        self.assertGreater(message.usage.output_tokens_details.thinking_tokens, 0)
        for fields in ({}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "adaptive", "display": "omitted"}}):
            self.assertNotIn("thinking", [block.type for block in create(extra_body=extra, **fields).content])

    def test_tools(self):
        for choice in ({"type": "any"}, {"type": "tool", "name": "look", "disable_parallel_tool_use": True}):
            message = create(max_tokens=400, tools=TOOLS, tool_choice=choice, extra_body={"temperature": 1, "seed": 3})
            self.assertEqual(message.stop_reason, "tool_use")
            calls = [block for block in message.content if block.type == "tool_use"]
            self.assertEqual(calls, message.content)
            for call in calls:
                self.assertIn(call.name, ("look", "wait"))
                if call.name == "look":
                    self.assertIn(call.input["city"], ("Rome", "Oslo"))
            if choice["type"] == "tool":
                self.assertEqual([call.name for call in calls], ["look"])
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "7"}]} for call in calls]
        turn = HELLO + [{"role": "assistant", "content": [block.model_dump() for block in message.content]},
                        {"role": "user", "content": results + [{"type": "text", "text": "so?"}]}]
        said = [{"role": "user", "content": "the river"},
                {"role": "assistant", "content": "", "tool_calls": [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.input)}} for c in calls]},
                *[{"role": "tool", "tool_call_id": c.id, "content": "7"} for c in calls], {"role": "user", "content": "so?"}]
        prompt = lambda path, body: SERVER.request("POST", path, body, {"Authorization": "Bearer secret"})[2]
        mapped = [{"type": "function", "function": {"name": t["name"], **({"description": t["description"]} if "description" in t else {}), "parameters": t["input_schema"]}} for t in TOOLS]
        tokens = prompt("/tokenize", {"messages": said, "tools": mapped, "chat_template_kwargs": {"enable_thinking": False}})["count"]
        self.assertEqual(CLIENT.messages.count_tokens(model="x", messages=turn, tools=TOOLS).input_tokens, tokens)
        self.assertEqual(create(messages=turn, tools=TOOLS, tool_choice={"type": "none"}).role, "assistant")

    def test_goes_on_with_an_answer(self):
        text = create().content[0].text
        message = create(messages=HELLO + [{"role": "assistant", "content": text[:3].strip() or "a"}])
        self.assertEqual(message.role, "assistant")

    def test_errors(self):
        with self.assertRaises(anthropic.BadRequestError) as caught:
            CLIENT.messages.create(model="x", max_tokens=5, messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}])
        self.assertEqual(caught.exception.body["type"], "error")
        self.assertEqual(caught.exception.body["error"]["type"], "invalid_request_error")
        self.assertIn("messages[0].content", caught.exception.body["error"]["message"])
        for bad in ({"messages": []}, {"messages": [{"role": "root", "content": "x"}]}, {"tool_choice": {"type": "any"}}, {"extra_body": {"temperature": -1}},
                    {"max_tokens": -1}, {"max_tokens": 0}, {"extra_body": {"max_completion_tokens": -1}}, {"extra_body": {"top_k": -1}},
                    {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, {"thinking": {"type": "x"}},
                    {"messages": [{"role": "user", "content": []}]}, {"messages": [{"role": "user", "content": ""}]},
                    {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"thinking": {"type": "enabled", "budget_tokens": 1000}, "max_tokens": 2000},
                    {"messages": HELLO + [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]},
                    {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "b"}]}]}):
            with self.assertRaises(anthropic.BadRequestError, msg=bad):
                CLIENT.messages.create(**{"model": "x", "max_tokens": 5, "messages": HELLO, **bad})
        self.assertEqual(SERVER.request("POST", "/v1/messages", {"messages": HELLO}, {"X-Api-Key": "secret"})[0], 400)
        with self.assertRaises(anthropic.AuthenticationError):
            CLIENT.with_options(api_key="wrong").messages.create(model="x", max_tokens=5, messages=HELLO)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
