# `litellm` against the real server. Usage: litellm_test.py ULTRAMOE, with a Python that has it
# (client_test.sh makes one).
import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches one
import litellm

from harness import WEATHER, ClientCase, run_client

HELLO = [{"role": "user", "content": "the river"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": WEATHER}}]
litellm.suppress_debug_info = True


class LiteLlm(ClientCase):
    def complete(self, model="openai/tiny-model", **fields):
        return litellm.completion(**{"model": model, "api_base": self.base_url, "api_key": "secret", "messages": HELLO, "max_tokens": 16, "temperature": 0, "num_retries": 0, **fields})

    def test_chat(self):
        for model, fields in (("openai/tiny-model", {}), ("hosted_vllm/tiny-model", {}), ("anthropic/tiny-model", {"api_base": self.server.url})):
            with self.subTest(model=model):
                answer = self.complete(model, **fields)
                self.assertTrue(answer.choices[0].message.content)
                self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_stream(self):
        for model, fields in (("openai/tiny-model", {}), ("anthropic/tiny-model", {"api_base": self.server.url})):
            with self.subTest(model=model):
                text = "".join(chunk.choices[0].delta.content or "" for chunk in self.complete(model, stream=True, **fields))
                self.assertEqual(text, self.complete(model, **fields).choices[0].message.content)

    def test_tools_and_back(self):
        fast = {"temperature": 1, "max_tokens": 400, "extra_body": {"reasoning_effort": "none", "seed": 5}}
        answer = self.complete(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, **fast).choices[0]
        self.assertEqual(answer.finish_reason, "tool_calls")
        call = answer.message.tool_calls[0]
        self.assertIn(json.loads(call.function.arguments)["city"], ("Rome", "Oslo"))
        talk = HELLO + [answer.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "7"}]
        self.assertIsNotNone(self.complete(messages=talk, tools=TOOLS).choices[0].message)

    def test_structured_output(self):
        answer = self.complete(temperature=1, max_tokens=300, extra_body={"reasoning_effort": "none", "seed": 5},
                               response_format={"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}})
        self.assertIn(json.loads(answer.choices[0].message.content)["city"], ("Rome", "Oslo"))

    def test_responses(self):
        answer = litellm.responses(model="openai/tiny-model", api_base=self.base_url, api_key="secret", input="the river", max_output_tokens=16)
        self.assertEqual(answer.object, "response")
        self.assertGreater(answer.usage.output_tokens, 0)
        events = [event.type for event in litellm.responses(model="openai/tiny-model", api_base=self.base_url, api_key="secret", input="the river", max_output_tokens=16, stream=True)]
        self.assertEqual(str(events[0].value if hasattr(events[0], "value") else events[0]), "response.created")

    def test_text_and_embeddings(self):
        text = litellm.text_completion(model="text-completion-openai/tiny-model", api_base=self.base_url, api_key="secret", prompt="the river", max_tokens=8)
        self.assertTrue(text.choices[0].text)
        data = litellm.embedding(model="openai/tiny-model", api_base=self.base_url, api_key="secret", input=["the river", "winter"]).data
        self.assertEqual(len(data), 2)

    def test_errors(self):
        with self.assertRaises(litellm.BadRequestError):
            self.complete(temperature=-1)
        with self.assertRaises(litellm.AuthenticationError):
            self.complete(api_key="wrong")
        with self.assertRaises(litellm.exceptions.BadRequestError):  # a ContextWindowExceededError, of which it is a kind
            self.complete(messages=[{"role": "user", "content": "geese " * 5000}])


if __name__ == "__main__":
    run_client()
