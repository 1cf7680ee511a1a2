# `langchain-openai` against the real server, by chat completions and by the Responses API. Usage:
# langchain_openai_test.py ULTRAMOE, with a Python that has it (client_test.sh makes one).
from typing import Literal

import openai
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from harness import ClientCase, run_client


class Weather(BaseModel):
    """The weather of a city."""

    city: Literal["Rome", "Oslo"]
    cold: bool


@tool
def look(city: Literal["Rome", "Oslo"], cold: bool) -> str:
    """Looks at the weather."""
    return "warm"


class LangChain(ClientCase):
    def model(self, responses=False, **fields):
        fields = {"model": "tiny-model", "base_url": self.base_url, "api_key": "secret", "max_retries": 0, "max_tokens": 16, "temperature": 0, "use_responses_api": responses, **fields}
        return ChatOpenAI(**fields)

    def held(self, responses):
        return self.model(responses, max_tokens=400, temperature=1, extra_body={"reasoning_effort": "none", "seed": 5})

    def test_chat(self):
        for responses in (False, True):
            with self.subTest(responses=responses):
                answer = self.model(responses).invoke([SystemMessage("be brief"), HumanMessage("the river")])
                self.assertGreater(answer.usage_metadata["output_tokens"], 0)
                self.assertTrue(answer.content)

    def test_stream(self):
        for responses in (False, True):
            with self.subTest(responses=responses):
                whole = None
                for chunk in self.model(responses, stream_usage=True).stream("the river"):
                    whole = chunk if whole is None else whole + chunk
                text = lambda message: message.text() if callable(message.text) else message.text
                self.assertEqual(str(text(whole)), str(text(self.model(responses).invoke("the river"))))
                self.assertGreater(whole.usage_metadata["output_tokens"], 0)

    def test_tools_and_back(self):
        for responses in (False, True):
            with self.subTest(responses=responses):
                bound = self.held(responses).bind_tools([look], tool_choice="look", parallel_tool_calls=False)
                answer = bound.invoke("the river")
                call = answer.tool_calls[0]
                self.assertEqual(call["name"], "look")
                self.assertIn(call["args"]["city"], ("Rome", "Oslo"))
                talk = [HumanMessage("the river"), answer, ToolMessage(look.invoke(call["args"]), tool_call_id=call["id"])]
                self.assertIsNotNone(self.model(responses).bind_tools([look]).invoke(talk).content)

    def test_structured_output(self):
        for responses in (False, True):
            for method in ("json_schema", "function_calling"):
                with self.subTest(responses=responses, method=method):
                    found = self.held(responses).with_structured_output(Weather, method=method).invoke("the river")
                    self.assertIn(found.city, ("Rome", "Oslo"))

    def test_logprobs_text_and_embeddings(self):
        answer = self.model().bind(logprobs=True, top_logprobs=2).invoke("the river")
        self.assertTrue(answer.response_metadata["logprobs"]["content"])
        text = OpenAI(model="tiny-model", base_url=self.base_url, api_key="secret", max_tokens=8, max_retries=0).invoke("the river")
        self.assertTrue(text)
        embeddings = OpenAIEmbeddings(model="tiny-model", base_url=self.base_url, api_key="secret", check_embedding_ctx_length=False, dimensions=8)
        self.assertEqual([len(vector) for vector in embeddings.embed_documents(["the river", "winter"])], [8, 8])

    def test_errors(self):
        for responses in (False, True):
            with self.assertRaises(openai.BadRequestError):
                self.model(responses, temperature=-1).invoke("the river")


if __name__ == "__main__":
    run_client()
