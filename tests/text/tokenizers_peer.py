"""Ids and texts by Hugging Face's tokenizers, for tokenizer_json_test.cc and added_tokens_test.cc.

Standard input: {"jobs": [{"file": tokenizer.json, "texts": [...]}]}.
Standard output: [{"ids": [[...]], "framed": [[...]], "texts": [...], "kept": [...]}]: what the texts
encode to without and with what stands around them, and what those ids decode to without and with
special tokens; null for files and texts at which the package fails. Special tokens are left out by
their ids: `skip_special_tokens` of 0.23 knows them by texts, which are others where they are
normalized. Exit code 77: the package is missing.
"""
import json
import os
import sys

os.environ["RUST_BACKTRACE"] = "0"  # panics are expected
try:
    from tokenizers import Tokenizer
except ImportError:
    sys.exit(77)


def attempt(work):
    """What `work` returns, or None where it fails; a panic of the package is no Exception."""
    try:
        return work()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def reply_to(job):
    tokenizer = Tokenizer.from_file(job["file"])
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}

    def ids_of(text, framed):
        return attempt(lambda: tokenizer.encode(text, add_special_tokens=framed).ids)

    def decoded(line, left_out=()):
        return tokenizer.decode([i for i in line or () if i not in left_out], skip_special_tokens=False)

    ids = [ids_of(text, False) for text in job["texts"]]
    return {
        "ids": ids,
        "framed": [ids_of(text, True) for text in job["texts"]],
        "texts": [decoded(line, special) for line in ids],
        "kept": [decoded(line) for line in ids],
    }


json.dump([attempt(lambda: reply_to(job)) for job in json.load(sys.stdin)["jobs"]], sys.stdout)
