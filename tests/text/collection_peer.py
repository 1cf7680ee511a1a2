"""Conversations rendered by the transformers package, for collection_test.cc.

Standard input: {"folder": of *.jinja files}. Standard output: [{"name", "template", "case", "request": as JSON text, whose
order counts, "text": of transformers, or null where it fails, "why": it does not take the messages as they are}].
Exit code 77: a package is missing.
"""
import copy
import json
import os
import sys

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
try:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
except ImportError:
    sys.exit(77)

TOOLS = [
    {"type": "function", "function": {
        "name": "look", "description": "Looks at a place.\nTwice \"if\" needed.",
        "parameters": {"type": "object", "required": ["place"], "properties": {
            "place": {"type": "string", "description": "Where, e.g. Zürich & Bern"},
            "days": {"type": "integer", "enum": [1, 3, 7], "default": 3},
            "tags": {"type": "array", "items": {"type": "string"}},
            "deep": {"type": "object", "properties": {"a": {"type": ["number", "null"]}}}}}}},
    {"type": "function", "function": {
        "name": "now", "description": "Tells the time", "parameters": {"type": "object", "properties": {}}}}]


def user(text):
    return {"role": "user", "content": text}


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(id, name, **arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(id, name, text):
    return {"role": "tool", "tool_call_id": id, "name": name, "content": text}


SYSTEM = {"role": "system", "content": "You are brief."}
PARTS = [{"type": "text", "text": "First half."}, {"type": "text", "text": "Second half."}]
CALLS = [user("Weather in Zürich and Bern?"),
         said("I look.", tool_calls=[call("abcdefgh1", "look", place="Zürich", days=3),
                                     call("abcdefgh2", "look", place="Bern \"x\" <b>", tags=["a", "b"])]),
         result("abcdefgh1", "look", "{\"sun\": true}"), result("abcdefgh2", "look", "rain & 5°")]

# Each: the messages, and what else the request says.
CASES = {
    "one turn": ([user("Hello there")], {}),
    "system": ([SYSTEM, user("Hello there")], {}),
    "turns": ([SYSTEM, user("Hi"), said("Hello."), user("How are you?"), said("Well."), user("Good")], {}),
    "tools": ([SYSTEM, user("What time is it?")], {"tools": TOOLS}),
    "calls": ([SYSTEM] + CALLS, {"tools": TOOLS}),
    "calls answered": (CALLS + [said("Sun and rain."), user("Thanks")], {"tools": TOOLS}),
    "null content": ([user("Time?"), said(None, tool_calls=[call("abcdefgh1", "now")]),
                      result("abcdefgh1", "now", "12:00")], {"tools": TOOLS}),
    "parts": ([SYSTEM, user(PARTS), said("Yes."), user([{"type": "text", "text": "Alone"}])], {}),
    "thinking": ([user("2+2?"), said("4", reasoning_content="Two and two."), user("And 3+3?")], {}),
    "think tags": ([user("2+2?"), said("<think>\nTwo and two.\n</think>\n\n4"), user("And 3+3?")], {}),
    "continued": ([SYSTEM, user("Tell a story"), said("Once upon a time ")], {"continue_final": True}),
    "continued short": ([user("Hi"), said("im")], {"continue_final": True}),
    "unicode": ([user("Grüße 你好 🎉\u200b \"quoted\" <|x|> {{ 1 }} \\n")], {}),
    "empty": ([user("Hi"), said(""), user("Still there?")], {}),
    "developer": ([{"role": "developer", "content": "Be brief."}, user("Hi")], {}),
    "thinking off": ([user("Hi")], {"kwargs": {"enable_thinking": False}}),
    "no prompt": ([user("Hi"), said("Hello.")], {"add_generation_prompt": False}),
}


def render(tokenizer, messages, more):
    messages = copy.deepcopy(messages)
    continued = more.get("continue_final", False)
    return tokenizer.apply_chat_template(
        messages, tools=more.get("tools"), tokenize=False, continue_final_message=continued,
        add_generation_prompt=more.get("add_generation_prompt", not continued), **more.get("kwargs", {}))


def pieces(content):
    return [content] if isinstance(content, str) else [part["text"] for part in content or []]


def as_text(m):
    return {**m, "content": "\n".join(pieces(m["content"]))} if m.get("content") else m


def as_parts(m):
    return {**m, "content": [{"type": "text", "text": m["content"]}]} if isinstance(m.get("content"), str) else m


def as_system(m):
    return {**m, "role": "system"} if m["role"] == "developer" else m


def not_null(m):
    return {**m, "content": m["content"] or ""}


def text_arguments(m):
    calls = [{**c, "function": {**c["function"], "arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False)}}
             for c in m.get("tool_calls", [])]
    return {**m, "tool_calls": calls} if calls else m


# Changes to messages for templates that do not take them as they are, in the order in which they are tried.
CHANGES = [[], [as_text], [as_parts], [not_null], [text_arguments], [not_null, text_arguments], [as_system]]


def complete(text, messages):
    """All that is said is there, but by an answer with calls, and no part was written as a Python value."""
    words = [piece for m in messages if "tool_calls" not in m for piece in pieces(m["content"])]
    there = all(word.split("</think>")[-1].strip() in text for word in words if "sun" not in word)
    return there and "'type': 'text'" not in text and '"type": "text"' not in text


def expected(tokenizer, messages, more):
    """What the template makes of the messages, changed only if it does not take them as they are."""
    first = None
    for changes in CHANGES:
        form = messages
        for change in changes:
            form = [change(m) for m in form]
        try:
            text = render(tokenizer, form, more)
        except Exception as error:
            first = first or f"{type(error).__name__}: {error}"
            continue
        if complete(text, messages):
            return text, first
        first = first or "a text is not in it"
    return None, first


def main():
    request = json.load(sys.stdin)
    folder = request["folder"]
    out = []
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".jinja"):
            continue
        with open(os.path.join(folder, file), encoding="utf-8", newline="") as f:
            source = f.read()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1}, "<s>")),
                                            bos_token="<s>", eos_token="</s>", chat_template=source)
        for name, (messages, more) in CASES.items():
            text, why = expected(tokenizer, messages, more)
            out.append({"name": file[:-6], "template": source, "case": name, "text": text, "why": why,
                        "request": json.dumps({"messages": messages, **more})})
    json.dump(out, sys.stdout)


main()
