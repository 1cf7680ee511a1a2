"""Templates rendered by the jinja2 package with Hugging Face's settings, for jinja_test.cc.

Standard input: {"variables": {...}, "templates": [...]}.
Standard output: [text or null]; null is an error. Exit code 77: the package is missing.
"""
import json
import sys

from jinja_env import render

request = json.load(sys.stdin)
json.dump([render(source, request["variables"]) for source in request["templates"]], sys.stdout)
