# `lm-eval` against the real server: a task of its own with log-likelihoods, one that generates, with
# the server's tokenizer and through chat completions. Usage: lm_eval_test.py ULTRAMOE, with a Python that
# has it (client_test.sh makes one).
import json
import math
import os

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["OPENAI_API_KEY"] = "secret"
import lm_eval
from lm_eval.tasks import TaskManager

from harness import ClientCase, run_client

CHOICE = """
task: tiny_choice
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""
WRITE = """
task: tiny_write
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[label]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
"""
DOCUMENTS = [{"question": "the river runs under a", "choices": [" stone bridge", " café", " goose 3.14"], "label": 0},
             {"question": "seven grey geese", "choices": [" cross water", " winter", "门前"], "label": 1}]


class LmEval(ClientCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = cls.work.path("documents.jsonl")
        with open(data, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(document) + "\n" for document in DOCUMENTS)
        cls.tasks = cls.work.path("tasks")
        os.makedirs(cls.tasks)
        for name, text in (("choice", CHOICE), ("write", WRITE)):
            with open(os.path.join(cls.tasks, name + ".yaml"), "w", encoding="utf-8") as file:
                file.write(text % data)

    def evaluate(self, task, model, path, **arguments):
        fields = {"model": "tiny-model", "base_url": self.server.url + path, "auth_token": "secret", "num_concurrent": 1, "max_retries": 1, **arguments}
        manager = TaskManager(include_path=self.tasks, include_defaults=False)
        return lm_eval.simple_evaluate(model=model, model_args=fields, tasks=[task], task_manager=manager, log_samples=True, bootstrap_iters=0,
                                       apply_chat_template=model == "local-chat-completions")

    def scores(self, document):
        """The log-likelihoods of a document's choices, by hand."""
        key = {"Authorization": "Bearer secret"}
        ids = lambda text: self.server.request("POST", "/tokenize", {"prompt": text, "add_special_tokens": False}, key)[2]["tokens"]
        found = []
        for choice in document["choices"]:
            context, whole = ids(document["question"]), ids(document["question"] + choice)
            answer = self.server.request("POST", "/v1/completions", {"prompt": whole, "echo": True, "max_tokens": 0, "logprobs": 1}, key)[2]
            found.append(sum(answer["choices"][0]["logprobs"]["token_logprobs"][len(context):]))
        return found

    def test_loglikelihood(self):
        found = self.evaluate("tiny_choice", "local-completions", "/v1/completions", tokenizer_backend="remote")
        samples = found["samples"]["tiny_choice"]
        self.assertEqual(len(samples), len(DOCUMENTS))
        for sample in samples:
            for response, expected in zip(sample["filtered_resps"], self.scores(sample["doc"])):
                self.assertAlmostEqual(float(response[0]), expected, delta=1e-3 * abs(expected))
        self.assertFalse(math.isnan(found["results"]["tiny_choice"]["acc,none"]))

    def test_generation(self):
        for model, path, more in (("local-completions", "/v1/completions", {"tokenizer_backend": "remote"}), ("local-chat-completions", "/v1/chat/completions", {})):
            with self.subTest(model=model):
                found = self.evaluate("tiny_write", model, path, **more)
                for sample in found["samples"]["tiny_write"]:
                    self.assertIsInstance(sample["resps"][0][0], str)


if __name__ == "__main__":
    run_client()
