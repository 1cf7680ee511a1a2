# The `openai-agents` SDK against the real server, which it speaks to by the Responses API. Usage:
# openai_agents_test.py ULTRAMOE, with a Python that has it (client_test.sh makes one).
import asyncio
from typing import Literal

import agents
import openai
from pydantic import BaseModel

from harness import ClientCase, run_client


class Weather(BaseModel):
    city: Literal["Rome", "Oslo"]
    cold: bool


@agents.function_tool
def look(city: Literal["Rome", "Oslo"], cold: bool) -> str:
    """Looks at the weather."""
    LOOKED.append((city, cold))
    return f"{city}: {'cold' if cold else 'warm'}"


LOOKED = []


def settings(**fields):
    return agents.ModelSettings(**{"temperature": 1.0, "max_tokens": 400, "extra_body": {"seed": 5, "reasoning_effort": "none"}, **fields})


# The SDK wants answers that end by themselves: a random model's do where it is held to one.
ENDS = {"extra_body": {"seed": 5, "reasoning_effort": "none", "structured_outputs": {"choice": ["a stone bridge", "seven grey geese"]}}}


class Agents(ClientCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        agents.set_tracing_disabled(True)
        agents.set_default_openai_client(openai.AsyncOpenAI(base_url=cls.base_url, api_key="secret", max_retries=0), use_for_tracing=False)

    def agent(self, **fields):
        return agents.Agent(**{"name": "a", "instructions": "be brief", "model": "tiny-model", "model_settings": settings(**ENDS), **fields})

    def test_runs(self):
        result = agents.Runner.run_sync(self.agent(), "the river")
        self.assertIsInstance(result.final_output, str)
        usage = result.context_wrapper.usage
        self.assertGreater(usage.input_tokens, 0)
        self.assertEqual(usage.total_tokens, usage.input_tokens + usage.output_tokens)

    def test_streams(self):
        async def run():
            result = agents.Runner.run_streamed(self.agent(), "the river")
            deltas = [event.data.delta async for event in result.stream_events()
                      if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"]
            return "".join(deltas), result.final_output
        deltas, final = asyncio.run(run())
        self.assertEqual(deltas, final)
        self.assertTrue(final)

    def test_calls_a_tool_and_goes_on(self):
        LOOKED.clear()
        agent = self.agent(tools=[look], model_settings=settings(tool_choice="required", parallel_tool_calls=False), tool_use_behavior="stop_on_first_tool")
        result = agents.Runner.run_sync(agent, "the river")
        self.assertEqual(len(LOOKED), 1)
        self.assertEqual([item.type for item in result.new_items][-2:], ["tool_call_item", "tool_call_output_item"])
        talk = result.to_input_list() + [{"role": "user", "content": "so?"}]
        self.assertTrue(agents.Runner.run_sync(self.agent(), talk).final_output)

    def test_structured_output(self):
        result = agents.Runner.run_sync(self.agent(output_type=Weather, model_settings=settings()), "the river")
        self.assertIn(result.final_output.city, ("Rome", "Oslo"))

    def test_goes_on_from_the_last_response(self):
        first = agents.Runner.run_sync(self.agent(), "the river")
        second = agents.Runner.run_sync(self.agent(), "and?", previous_response_id=first.last_response_id)
        self.assertGreater(second.context_wrapper.usage.input_tokens, first.context_wrapper.usage.input_tokens)

    def test_the_chat_api_too(self):
        client = openai.AsyncOpenAI(base_url=self.base_url, api_key="secret", max_retries=0)
        model = agents.OpenAIChatCompletionsModel("tiny-model", client)
        self.assertIsInstance(agents.Runner.run_sync(self.agent(model=model), "the river").final_output, str)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            agents.Runner.run_sync(self.agent(tools=[agents.WebSearchTool()]), "the river")
        self.assertIn("runs no tools", str(caught.exception))


if __name__ == "__main__":
    run_client()
