# The `openai` Python client against the real server. Usage: openai_test.py ULTRAMOE, with a Python
# that has the client (tests/server/client_test.sh makes one).
import json
import sys
import unittest

import openai

from harness import Server, Workplace, program_or_skip

PROGRAM = program_or_skip()
WORK = SERVER = CLIENT = None
HELLO = [{"role": "user", "content": "the river"}]
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "cold": {"type": "boolean"}},
          "required": ["city", "cold"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}},
         {"type": "function", "function": {"name": "wait", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}]


def setUpModule():
    global WORK, SERVER, CLIENT
    WORK = Workplace(PROGRAM)
    SERVER = Server(WORK, "--api-key", "secret")
    CLIENT = openai.OpenAI(base_url=SERVER.url + "/v1", api_key="secret", max_retries=0)


def tearDownModule():
    code = SERVER.terminate()
    WORK.close()
    assert code == 0


def chat(**fields):
    return CLIENT.chat.completions.create(**{"model": "tiny-model", "messages": HELLO, "max_tokens": 16, "temperature": 0, **fields})


class OpenAi(unittest.TestCase):
    def test_models(self):
        self.assertEqual([model.id for model in CLIENT.models.list()], ["tiny-model"])
        self.assertEqual(CLIENT.models.retrieve("tiny-model").id, "tiny-model")

    def test_chat(self):
        answer = chat()
        self.assertIsInstance(answer.choices[0].message.content, str)
        self.assertIn(answer.choices[0].finish_reason, ("length", "stop"))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_stream(self):
        text, usage = "", None
        for chunk in chat(stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
        self.assertEqual(text, chat().choices[0].message.content)
        self.assertGreater(usage.completion_tokens, 0)

    def test_stream_helper(self):
        with CLIENT.chat.completions.stream(model="x", messages=HELLO, max_tokens=16, temperature=0) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.current_completion_snapshot.choices[0].message.content, chat().choices[0].message.content)

    def test_logprobs(self):
        content = chat(logprobs=True, top_logprobs=2).choices[0].logprobs.content
        self.assertTrue(all(entry.logprob <= 0 and len(entry.top_logprobs) == 2 for entry in content))

    def test_json_schema(self):
        answer = chat(temperature=1, max_tokens=300, reasoning_effort="none",
                      response_format={"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}})
        self.assertIn(json.loads(answer.choices[0].message.content)["city"], ("Rome", "Oslo"))

    def test_tools(self):
        answer = chat(temperature=1, max_tokens=400, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, reasoning_effort="none")
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        arguments = json.loads(call.function.arguments)
        messages = HELLO + [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": json.dumps(arguments)}]
        self.assertEqual(chat(messages=messages, tools=TOOLS).choices[0].message.role, "assistant")

    def test_streamed_tools(self):
        calls = {}
        for chunk in chat(temperature=1, max_tokens=400, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "look"}}, stream=True, reasoning_effort="none"):
            for delta in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                call = calls.setdefault(delta.index, {"id": delta.id, "name": "", "arguments": ""})
                call["name"] += delta.function.name or ""
                call["arguments"] += delta.function.arguments or ""
        self.assertEqual(calls[0]["name"], "look")
        self.assertIn("cold", json.loads(calls[0]["arguments"]))

    def test_completions(self):
        answer = CLIENT.completions.create(model="x", prompt="the river", max_tokens=8, temperature=0, logprobs=2, echo=False)
        ended = answer.choices[0].finish_reason == "stop"  # the token that ends the text has its place, too
        self.assertEqual(len(answer.choices[0].logprobs.tokens), answer.usage.completion_tokens + ended)

    def test_embeddings(self):
        data = CLIENT.embeddings.create(model="x", input=["the river", "winter"]).data
        self.assertEqual(len(data), 2)
        self.assertAlmostEqual(sum(v * v for v in data[0].embedding), 1, places=4)

    def test_thinking_fields(self):
        answer = chat(reasoning_effort="none", extra_body={"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5})
        self.assertIsNotNone(answer.choices[0].message)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            chat(temperature=-1)
        self.assertEqual(caught.exception.body["param"], "temperature")
        with self.assertRaises(openai.AuthenticationError):
            CLIENT.with_options(api_key="wrong").models.list()
        with self.assertRaises(openai.NotFoundError):
            CLIENT.models.retrieve("other")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
