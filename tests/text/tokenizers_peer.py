"""Ids and texts by Hugging Face's tokenizers, for tokenizer_json_test.cc.

Standard input: {"jobs": [{"file": tokenizer.json, "texts": [...]}]}.
Standard output: [{"ids": [[...]], "framed": [[...]], "texts": [...], "kept": [...]}]: what the texts
encode to without and with what stands around them, and what those ids decode to without and with
special tokens. Exit code 77: the package is missing.
"""
import json
import sys

try:
    from tokenizers import Tokenizer
except ImportError:
    sys.exit(77)

replies = []
for job in json.load(sys.stdin)["jobs"]:
    tokenizer = Tokenizer.from_file(job["file"])
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in job["texts"]]
    replies.append({
        "ids": ids,
        "framed": [tokenizer.encode(text).ids for text in job["texts"]],
        "texts": [tokenizer.decode(line, skip_special_tokens=True) for line in ids],
        "kept": [tokenizer.decode(line, skip_special_tokens=False) for line in ids],
    })
json.dump(replies, sys.stdout)
