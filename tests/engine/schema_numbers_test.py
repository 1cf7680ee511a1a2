"""Numbers that our grammar writes near the bounds of a schema, read by Python and checked by the
package jsonschema: what is read must meet the schema.

Usage: schema_numbers_test.py SCHEMAS_BENCH
Skipped (77) where jsonschema is missing. Numbers of multipleOf are compared as decimals: jsonschema
divides doubles, so that it says that 0.3 is no multiple of 0.1.
"""
import decimal
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    print("skipped: jsonschema is not installed")
    sys.exit(77)

SAMPLES = 200
BOUNDS = (0, 1, 5, -1, 0.1, 0.3, -0.30000000000000004, 1e-7, 1e-16, 1000, 99999.5, 2**52, 2**53, 123456789012345678, 1e22, -1e300,
          1.7976931348623157e308)
MULTIPLES = (1, 7, 10, 0.01, 0.25, 2.5, 1e-8)


def schemas():
    for kind in ("number", "integer"):
        for bound in BOUNDS:
            for rest in ({"exclusiveMinimum": bound}, {"exclusiveMaximum": bound}, {"minimum": bound}, {"maximum": bound}):
                yield {"type": kind, **rest}
                yield {"type": kind, "not": rest}
            for low, high in ((bound, bound + 1), (bound - abs(bound) / 4, bound)):
                yield {"type": kind, "exclusiveMinimum": low, "exclusiveMaximum": high}
            yield {"type": kind, "not": {"enum": [bound, 3]}}
            yield {"oneOf": [{"type": "integer"}, {"type": kind, "minimum": bound}]}
            yield {"type": "number", "not": {"type": "integer"}, "exclusiveMinimum": bound}
        for of in MULTIPLES:
            yield {"type": kind, "multipleOf": of}
            yield {"type": kind, "not": {"multipleOf": of}}
            yield {"type": kind, "multipleOf": of, "exclusiveMinimum": 5, "exclusiveMaximum": 100}
    yield {"type": "number", "not": {"type": "integer"}}


def is_multiple(_, of, instance, __):
    if isinstance(instance, (int, float)) and decimal.Decimal(repr(instance)) % decimal.Decimal(repr(of)) != 0:
        yield jsonschema.ValidationError(f"{instance} is no multiple of {of}")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"multipleOf": is_multiple})


def main():
    decimal.getcontext().prec = 400
    cases = list(schemas())
    texts, wrong = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for i, schema in enumerate(cases):
            pathlib.Path(folder, f"{i:04}.json").write_text(json.dumps({"schema": schema, "tests": []}))
        subprocess.run([sys.argv[1], "bytes", folder, "--samples", str(SAMPLES)], capture_output=True, check=True)
        for i, schema in enumerate(cases):
            path = pathlib.Path(folder, f"{i:04}.json.samples")
            samples = set(json.loads(path.read_text())) if path.exists() else ()
            texts += len(samples)
            # Some readers make a double of every number.
            wrong += [(schema, text) for text in samples for read in (json.loads(text), float(text)) if not Validator(schema).is_valid(read)]
    for schema, text in wrong[:20]:
        print(f"WRONG TEXT: {text} of {json.dumps(schema)}")
    print(f"{len(cases)} schemas, {texts} different texts, {len(wrong)} wrong")
    return 1 if wrong or texts < 10 * len(cases) else 0


if __name__ == "__main__":
    sys.exit(main())
