"""Every pydantic field type as a constraint: what pydantic writes must be writable under the schema
that it gives for the type, and what our grammar writes must be read by pydantic.

Usage: pydantic_types_test.py SCHEMAS_BENCH [TYPE...]
Skipped (77) where pydantic is missing. A text of ours that pydantic refuses is an error, unless the
schema itself lets it pass (says `jsonschema`, where it is installed): those are printed apart.
"""
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import typing
import uuid

try:
    import pydantic
    import typing_extensions
    from pydantic import BaseModel, Field, RootModel, TypeAdapter
except ImportError:
    print("skipped: pydantic is not installed")
    sys.exit(77)
try:
    import jsonschema
except ImportError:
    jsonschema = None

SAMPLES = 40
T = typing.TypeVar("T")
Annotated, Literal, Optional, Union = typing.Annotated, typing.Literal, typing.Optional, typing.Union


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Nested(BaseModel):
    pet: Cat
    friends: dict[str, Dog] = {}
    tree: Optional[Tree] = None


class Box(BaseModel, typing.Generic[T]):
    inside: T


class Names(RootModel[list[str]]):
    pass


class Closed(BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int
    b: str = "x"


class Open(BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    a: int


class Aliased(BaseModel):
    value: int = Field(alias="theValue")


class Computed(BaseModel):
    side: int

    @pydantic.computed_field
    @property
    def area(self) -> int:
        return self.side**2


class Point(typing.NamedTuple):
    x: int
    y: float = 0.5


class Movie(typing_extensions.TypedDict, total=False):
    title: typing_extensions.Required[str]
    year: int


@dataclasses.dataclass
class Plain:
    a: int
    b: list[str] = dataclasses.field(default_factory=list)


@pydantic.dataclasses.dataclass
class Checked:
    a: Annotated[int, Field(ge=3)]
    b: Optional[Colour] = None


class Described(BaseModel):
    a: int = Field(description="a number", examples=[1], title="A", deprecated=True)
    b: Annotated[str, Field(json_schema_extra={"x-form": "wide"})] = "b"


def cases():
    """(name, type, values) for each type of pydantic's documentation."""
    now = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=datetime.timezone.utc)
    day, hour = now.date(), datetime.time(1, 2, 3, tzinfo=datetime.timezone.utc)
    url = "https://user:pw@example.com:8080/a/b?c=d#e"
    number = decimal.Decimal
    yield from [
        ("bool", bool, [True, False]),
        ("StrictBool", pydantic.StrictBool, [True]),
        ("int", int, [0, -5, 10**12]),
        ("StrictInt", pydantic.StrictInt, [7]),
        ("float", float, [0.5, -2.25, 3.0, 1e10]),
        ("FiniteFloat", pydantic.FiniteFloat, [1.5]),
        ("AllowInfNan", Annotated[float, pydantic.AllowInfNan(False)], [2.5]),
        ("str", str, ["", "abc", 'quote " \\ \n', "日本語"]),
        ("StrictStr", pydantic.StrictStr, ["a"]),
        ("bytes", bytes, [b"abc", b""]),
        ("StrictBytes", pydantic.StrictBytes, [b"abc"]),
        ("None", None, [None]),
        ("Any", typing.Any, [1, "a", None, [1], {"a": 2}]),
        ("object", object, [1, "a"]),
        ("PositiveInt", pydantic.PositiveInt, [1, 99]),
        ("NegativeInt", pydantic.NegativeInt, [-1]),
        ("NonNegativeInt", pydantic.NonNegativeInt, [0, 5]),
        ("NonPositiveInt", pydantic.NonPositiveInt, [0, -5]),
        ("PositiveFloat", pydantic.PositiveFloat, [0.25]),
        ("NegativeFloat", pydantic.NegativeFloat, [-0.25]),
        ("NonNegativeFloat", pydantic.NonNegativeFloat, [0.0, 2.5]),
        ("NonPositiveFloat", pydantic.NonPositiveFloat, [-2.5]),
        ("conint", pydantic.conint(gt=2, le=40, multiple_of=3), [3, 39]),
        ("confloat", pydantic.confloat(ge=-1, lt=1.5, multiple_of=0.25), [-1.0, 1.25]),
        ("constr", pydantic.constr(min_length=2, max_length=5), ["ab", "abcde"]),
        ("constr pattern", pydantic.constr(pattern=r"^[a-z]{2,4}-\d+$"), ["ab-1", "abcd-123"]),
        ("constr strip", pydantic.constr(strip_whitespace=True, to_lower=True), ["abc"]),
        ("constr all", pydantic.constr(min_length=4, max_length=9, pattern=r"^[a-z]+\d*$"), ["abc1"]),
        ("conbytes", pydantic.conbytes(min_length=1, max_length=4), [b"abc"]),
        ("conlist", pydantic.conlist(int, min_length=1, max_length=3), [[1], [1, 2, 3]]),
        ("conset", pydantic.conset(Literal[1, 2, 3], min_length=1), [{1}, {1, 2}]),
        ("confrozenset", pydantic.confrozenset(Colour, max_length=2), [frozenset()]),
        ("condecimal", pydantic.condecimal(gt=number(0), max_digits=6, decimal_places=2), [number("12.25")]),
        ("condate", pydantic.condate(gt=datetime.date(2000, 1, 1)), [day]),
        ("Decimal", number, [number("1.5"), number("-3")]),
        ("Fraction", fractions.Fraction, [fractions.Fraction(1, 3)]),
        ("complex", complex, [1 + 2j]),
        ("datetime", datetime.datetime, [now]),
        ("AwareDatetime", pydantic.AwareDatetime, [now]),
        ("NaiveDatetime", pydantic.NaiveDatetime, []),
        ("PastDatetime", pydantic.PastDatetime, [now]),
        ("FutureDatetime", pydantic.FutureDatetime, []),
        ("date", datetime.date, [day]),
        ("PastDate", pydantic.PastDate, [day]),
        ("FutureDate", pydantic.FutureDate, []),
        ("time", datetime.time, [hour]),
        ("timedelta", datetime.timedelta, [datetime.timedelta(days=3, hours=2), datetime.timedelta(seconds=5)]),
        ("UUID", uuid.UUID, [uuid.UUID(int=5 << 76 | 4 << 76)]),
        *[(name, getattr(pydantic, name), []) for name in ("UUID1", "UUID3", "UUID4", "UUID5", "UUID6", "UUID7", "UUID8") if hasattr(pydantic, name)],
        ("IPv4Address", ipaddress.IPv4Address, [ipaddress.ip_address("10.0.0.1")]),
        ("IPv6Address", ipaddress.IPv6Address, [ipaddress.ip_address("::1"), ipaddress.ip_address("fe80::1:2")]),
        ("IPv4Network", ipaddress.IPv4Network, [ipaddress.ip_network("10.0.0.0/8")]),
        ("IPv6Network", ipaddress.IPv6Network, [ipaddress.ip_network("fe80::/10")]),
        ("IPv4Interface", ipaddress.IPv4Interface, [ipaddress.ip_interface("10.0.0.1/8")]),
        ("IPv6Interface", ipaddress.IPv6Interface, [ipaddress.ip_interface("fe80::1/10")]),
        ("IPvAnyAddress", pydantic.IPvAnyAddress, [ipaddress.ip_address("10.0.0.1")]),
        ("IPvAnyNetwork", pydantic.IPvAnyNetwork, [ipaddress.ip_network("10.0.0.0/8")]),
        ("IPvAnyInterface", pydantic.IPvAnyInterface, [ipaddress.ip_interface("10.0.0.1/8")]),
        ("AnyUrl", pydantic.AnyUrl, [pydantic.AnyUrl(url)]),
        ("AnyHttpUrl", pydantic.AnyHttpUrl, [pydantic.AnyHttpUrl(url)]),
        ("HttpUrl", pydantic.HttpUrl, [pydantic.HttpUrl(url)]),
        ("FileUrl", pydantic.FileUrl, [pydantic.FileUrl("file:///a/b")]),
        ("FtpUrl", pydantic.FtpUrl, [pydantic.FtpUrl("ftp://example.com/a")]),
        ("WebsocketUrl", pydantic.WebsocketUrl, [pydantic.WebsocketUrl("ws://example.com/a")]),
        ("PostgresDsn", pydantic.PostgresDsn, [pydantic.PostgresDsn("postgres://u:p@h:5432/d")]),
        ("RedisDsn", pydantic.RedisDsn, [pydantic.RedisDsn("redis://h:6379/0")]),
        ("Enum", Colour, [Colour.RED, Colour.GREEN]),
        ("IntEnum", Size, [Size.LARGE]),
        ("Literal", Literal["a", 1, None, True], ["a", 1, None, True]),
        ("Optional", Optional[int], [None, 4]),
        ("Union", Union[int, str, list[int]], [1, "a", [2]]),
        ("Union of models", Union[Cat, Dog], [Cat(kind="cat"), Dog(kind="dog", barks=True)]),
        ("discriminated", Annotated[Union[Cat, Dog], Field(discriminator="kind")], [Cat(kind="cat"), Dog(kind="dog", barks=False)]),
        ("nested", Nested, [Nested(pet=Cat(kind="cat"), friends={"x": Dog(kind="dog", barks=True)}, tree=Tree(name="t"))]),
        ("recursive", Tree, [Tree(name="a", children=[Tree(name="b", children=[Tree(name="c")])])]),
        ("generic", Box[int], [Box[int](inside=3)]),
        ("generic nested", Box[Box[list[Colour]]], [Box[Box[list[Colour]]](inside={"inside": ["red"]})]),
        ("RootModel", Names, [Names(["a", "b"])]),
        ("extra forbid", Closed, [Closed(a=1)]),
        ("extra allow", Open, [Open(a=1, z=2)]),
        ("alias", Aliased, [Aliased(theValue=3)]),
        ("computed_field", Computed, [Computed(side=3)]),
        ("described", Described, [Described(a=1)]),
        ("list", list[int], [[], [1, 2]]),
        ("bare list", list, [[], [1, "a"]]),
        ("deque", collections.deque[int], [collections.deque([1])]),
        ("set", set[Colour], [{Colour.RED}]),
        ("set of int", set[int], [set(), {1}, {1, 2}]),
        ("frozenset", frozenset[bool], [frozenset([True])]),
        ("tuple", tuple[int, str], [(1, "a")]),
        ("tuple ...", tuple[int, ...], [(), (1, 2)]),
        ("tuple ()", tuple[()], [()]),
        ("Sequence", typing.Sequence[int], [[1, 2]]),
        ("Iterable", typing.Iterable[int], []),
        ("dict", dict[str, int], [{}, {"a": 1}]),
        ("bare dict", dict, [{"a": [1]}]),
        ("dict of int keys", dict[int, str], [{1: "a"}]),
        ("dict of Literal keys", dict[Literal["a", "b"], int], [{"a": 1}]),
        ("dict of Enum keys", dict[Colour, int], [{Colour.RED: 1}]),
        ("dict of constr keys", dict[pydantic.constr(pattern="^[a-z]+$"), int], [{"abc": 1}]),
        ("dict of date keys", dict[datetime.date, int], [{day: 1}]),
        ("dict bounded", Annotated[dict[str, int], Field(max_length=2)], [{"a": 1, "b": 2}]),
        ("defaultdict", collections.defaultdict[str, list[int]], [{"a": [1]}]),
        ("OrderedDict", collections.OrderedDict[str, int], [collections.OrderedDict(a=1)]),
        ("Counter", collections.Counter[str], [collections.Counter("aab")]),
        ("Mapping", typing.Mapping[str, float], [{"a": 0.5}]),
        ("NamedTuple", Point, [Point(1)]),
        ("TypedDict", Movie, [Movie(title="a"), Movie(title="a", year=2000)]),
        ("dataclass", Plain, [Plain(1, ["a"])]),
        ("pydantic dataclass", Checked, [Checked(3), Checked(4, Colour.RED)]),
        ("Pattern", re.Pattern, [re.compile("a+")]),
        ("Json", pydantic.Json, []),
        ("Json[list[int]]", pydantic.Json[list[int]], []),
        ("SecretStr", pydantic.SecretStr, [pydantic.SecretStr("a")]),
        ("SecretBytes", pydantic.SecretBytes, [pydantic.SecretBytes(b"a")]),
        ("Secret[date]", pydantic.Secret[datetime.date], []),
        ("Path", pathlib.Path, [pathlib.Path("/a/b")]),
        ("FilePath", pydantic.FilePath, [pathlib.Path("/a/b")]),
        ("DirectoryPath", pydantic.DirectoryPath, [pathlib.Path("/a")]),
        ("NewPath", pydantic.NewPath, [pathlib.Path("/a")]),
        ("ByteSize", pydantic.ByteSize, [pydantic.ByteSize(1024)]),
        ("Base64Bytes", pydantic.Base64Bytes, []),
        ("Base64Str", pydantic.Base64Str, []),
        ("Base64UrlStr", pydantic.Base64UrlStr, []),
        ("ImportString", pydantic.ImportString, []),
        ("JsonValue", pydantic.JsonValue, [1, {"a": [None, "x"]}]),
        ("OnErrorOmit", list[pydantic.OnErrorOmit[int]], [[1]]),
        ("Callable", Annotated[str, pydantic.AfterValidator(lambda x: x)], ["a"]),
        ("PlainSerializer", Annotated[int, pydantic.PlainSerializer(str, return_type=str)], [5]),
        ("WithJsonSchema", Annotated[typing.Any, pydantic.WithJsonSchema({"type": "integer"})], [5]),
        ("not", Annotated[str, Field(json_schema_extra={"not": {"const": "x"}})], ["a"]),
    ]
    try:
        import email_validator  # noqa: F401

        yield ("EmailStr", pydantic.EmailStr, ["a.b+c@example.com"])
        yield ("NameEmail", pydantic.NameEmail, [])
    except ImportError:
        print("without email-validator: no EmailStr, no NameEmail")
    try:
        from pydantic_extra_types.color import Color
        from pydantic_extra_types.coordinate import Coordinate, Latitude
        from pydantic_extra_types.mac_address import MacAddress
        from pydantic_extra_types.payment import PaymentCardNumber

        yield ("Color", Color, [Color("red")])
        yield ("Latitude", Latitude, [Latitude(1.5)])
        yield ("Coordinate", Coordinate, [Coordinate(1.5, 2.5)])
        yield ("MacAddress", MacAddress, [MacAddress("00:11:22:33:44:55")])
        yield ("PaymentCardNumber", PaymentCardNumber, [PaymentCardNumber("4242424242424242")])
    except ImportError:
        print("without pydantic-extra-types: no Color, Coordinate, MacAddress, PaymentCardNumber")


def schemas_of(only):
    """(name, mode, adapter, schema, instances) of each case and both modes."""
    for name, kind, values in cases():
        if only and name not in only:
            continue
        # As a field of a model, as the types are used.
        try:
            model = pydantic.create_model("Model", value=(kind, ...))
            adapter = TypeAdapter(model)
        except Exception as error:  # a type that this version of pydantic cannot have as a field
            print(f"no field: {name}: {str(error)[:100]}")
            continue
        for mode in ("validation", "serialization"):
            try:
                schema = adapter.json_schema(mode=mode)
            except pydantic.errors.PydanticInvalidForJsonSchema as error:
                print(f"no schema: {name} ({mode}): {str(error)[:100]}")
                continue
            instances = []
            for value in values:
                text = adapter.dump_json(model.model_construct(value=value), by_alias=True, warnings=False)
                data = json.loads(text)
                if jsonschema and not valid(schema, data):
                    print(f"pydantic writes what its schema refuses: {name} ({mode}): {text.decode()}")
                    continue
                instances.append(data)
            yield name, mode, adapter, schema, instances


def valid(schema, data):
    # Without the formats of which jsonschema has an idea of its own: "time" has no offset there.
    formats = set(jsonschema.FormatChecker.checkers) - {"time", "color"}
    checker = jsonschema.FormatChecker(formats=formats)
    return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(data)


def check_samples(name, mode, adapter, schema, texts):
    """(refused by pydantic and by the schema, refused by pydantic alone)"""
    wrong, weaker = [], []
    for text in texts:
        try:
            data = json.loads(text)
        except ValueError:
            wrong.append(text)
            continue
        if jsonschema and not valid(schema, data):
            wrong.append(text)
        if mode == "validation":
            try:
                adapter.validate_json(text)
            except Exception:
                if text not in wrong:
                    (weaker if jsonschema else wrong).append(text)
    return wrong, weaker


# Refused by name: no grammar says that numbers without a bound differ (docs/constraints.md).
REFUSED = {"set of int"}


def main():
    bench, only = sys.argv[1], sys.argv[2:]
    failed = count = 0
    print(f"pydantic {pydantic.VERSION}")
    with tempfile.TemporaryDirectory() as folder:
        all_cases = list(schemas_of(only))
        for i, (name, mode, _, schema, instances) in enumerate(all_cases):
            tests = [{"valid": True, "data": data} for data in instances]
            pathlib.Path(folder, f"{i:04}.json").write_text(json.dumps({"schema": schema, "tests": tests}))
        out = subprocess.run([bench, "bytes", folder, "--whole", "--list", "--samples", str(SAMPLES)],
                             capture_output=True, check=True).stdout.decode(errors="replace")
        for line in out.splitlines():
            kind, _, rest = line.partition(": ")
            if kind in ("refused", "wrong refusal") and rest[:4].isdigit():
                name, mode = all_cases[int(rest[:4])][:2]
                print(f"{kind}: {name} ({mode}): {rest[10:]}")
                failed += not (kind == "refused" and name in REFUSED)
        for i, (name, mode, adapter, schema, _) in enumerate(all_cases):
            path = pathlib.Path(folder, f"{i:04}.json.samples")
            if not path.exists():
                continue
            texts = json.loads(path.read_text())
            count += len(texts)
            wrong, weaker = check_samples(name, mode, adapter, schema, texts)
            for text in wrong[:2]:
                print(f"WRONG TEXT: {name} ({mode}): {text[:200]!r}")
            failed += len(wrong)
            if weaker:
                print(f"the schema is weaker than the type: {name}: {len(weaker)} of {len(texts)}, such as {weaker[0][:100]!r}")
    print(f"{len(all_cases)} schemas, {count} texts, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
