# `instructor` against the real server, in its modes. Usage: instructor_test.py ULTRAMOE, with a Python
# that has it (client_test.sh makes one).
from typing import Literal

import instructor
import openai
from pydantic import BaseModel

from harness import ClientCase, run_client

HELLO = [{"role": "user", "content": "the river"}]


class Weather(BaseModel):
    city: Literal["Rome", "Oslo"]
    cold: bool


class Instructor(ClientCase):
    def client(self, mode):
        return instructor.from_openai(openai.OpenAI(base_url=self.base_url, api_key="secret", max_retries=0), mode=mode)

    def fields(self, **more):
        return {"model": "tiny-model", "messages": HELLO, "response_model": Weather, "max_retries": 0, "temperature": 1,
                "extra_body": {"seed": 5, "reasoning_effort": "none"}, **more}

    def test_modes(self):
        for name in ("TOOLS", "JSON_SCHEMA", "JSON"):
            with self.subTest(mode=name):
                more = {}
                if name == "JSON":  # asks for some object and says which in words, which a random model does not heed
                    more["extra_body"] = {"seed": 5, "reasoning_effort": "none", "structured_outputs": {"json": Weather.model_json_schema()}}
                found = self.client(instructor.Mode[name]).create(**self.fields(max_tokens=400, **more))
                self.assertIn(found.city, ("Rome", "Oslo"))

    def test_responses(self):
        mode = instructor.Mode["RESPONSES_TOOLS"]
        fields = self.fields(max_output_tokens=400)
        found = self.client(mode).create(**fields)
        self.assertIn(found.city, ("Rome", "Oslo"))

    def test_partial(self):
        last = None
        for last in self.client(instructor.Mode.TOOLS).create_partial(**self.fields(max_tokens=400)):
            pass
        self.assertIn(last.city, ("Rome", "Oslo"))

    def test_with_the_answer(self):
        found, answer = self.client(instructor.Mode.TOOLS).create_with_completion(**self.fields(max_tokens=400))
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        self.assertGreater(answer.usage.completion_tokens, 0)
        self.assertIn(found.city, ("Rome", "Oslo"))

    def test_errors(self):
        with self.assertRaises(Exception) as caught:
            self.client(instructor.Mode.TOOLS).create(**self.fields(temperature=-1))
        self.assertIn("temperature", str(caught.exception))


if __name__ == "__main__":
    run_client()
