# `pydantic-ai` against the real server: by the Responses API, by chat completions and by Anthropic's.
# Usage: pydantic_ai_test.py ULTRAMOE, with a Python that has it (client_test.sh makes one).
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from harness import ClientCase, run_client


class Weather(BaseModel):
    city: Literal["Rome", "Oslo"]
    cold: bool


def settings(**fields):
    return {"temperature": 1.0, "max_tokens": 400, "seed": 5, "extra_body": {"reasoning_effort": "none"}, **fields}


class PydanticAi(ClientCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        provider = OpenAIProvider(base_url=cls.base_url, api_key="secret")
        anthropic = AnthropicModel("tiny-model", provider=AnthropicProvider(base_url=cls.server.url, api_key="secret"))
        cls.models = [OpenAIResponsesModel("tiny-model", provider=provider), OpenAIChatModel("tiny-model", provider=provider), anthropic]

    def test_runs(self):
        for model in self.models:
            with self.subTest(model=type(model).__name__):
                result = Agent(model, instructions="be brief").run_sync("the river", model_settings=settings(max_tokens=20))
                self.assertTrue(result.output)
                usage = result.usage() if callable(result.usage) else result.usage
                self.assertGreater(usage.input_tokens, 0)
                self.assertGreater(usage.output_tokens, 0)
                again = Agent(model).run_sync("and?", message_history=result.all_messages(), model_settings=settings(max_tokens=20))
                self.assertTrue(again.output)

    def test_streams(self):
        for model in self.models:
            with self.subTest(model=type(model).__name__):
                result = Agent(model).run_stream_sync("the river", model_settings=settings(max_tokens=20))
                pieces = list(result.stream_text(delta=True))
                self.assertTrue("".join(pieces))

    def test_structured_output_by_a_tool(self):
        for model in self.models:
            with self.subTest(model=type(model).__name__):
                result = Agent(model, output_type=ToolOutput(Weather)).run_sync("the river", model_settings=settings())
                self.assertIn(result.output.city, ("Rome", "Oslo"))

    def test_structured_output_by_a_format(self):
        for model in self.models[:2]:
            with self.subTest(model=type(model).__name__):
                result = Agent(model, output_type=NativeOutput(Weather)).run_sync("the river", model_settings=settings())
                self.assertIn(result.output.city, ("Rome", "Oslo"))

    def test_calls_a_tool_and_goes_on(self):
        for model in self.models[:2]:
            with self.subTest(model=type(model).__name__):
                looked = []
                agent = Agent(model)

                @agent.tool_plain
                def look(city: Literal["Rome", "Oslo"], cold: bool) -> str:
                    looked.append(city)
                    return "warm"

                # Held to a call in the first request; what comes then is the model's.
                first = {"openai_parallel_tool_calls": False, "parallel_tool_calls": False}
                calls = {"count": 0}

                def request_settings(context):
                    calls["count"] += 1
                    choice = "required" if not looked else "none"
                    return settings(**first, extra_body={"reasoning_effort": "none", "tool_choice": choice})

                result = agent.run_sync("the river", model_settings=request_settings)
                self.assertEqual(len(looked), 1)
                self.assertIsInstance(result.output, str)

    def test_errors(self):
        for model in self.models[:2]:
            with self.assertRaises(ModelHTTPError) as caught:
                Agent(model).run_sync("the river", model_settings={"temperature": -1})
            self.assertEqual(caught.exception.status_code, 400)


if __name__ == "__main__":
    run_client()
