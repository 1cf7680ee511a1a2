// See schema_cases_util.h.
#include "tests/engine/schema_cases_util.h"

namespace um {
namespace {

using Cases = std::vector<SchemaCase>;

Cases object_cases() {
  return {
      {R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
           "required": ["name", "age"], "additionalProperties": false})",
       {R"({"name":"a","age":1})", R"({ "name": "\u00e9\n", "age": -12})",
        "{\n  \"name\": \"é\",\n  \"age\": 0\n}", R"( {"name":"\ud83e\udd86","age":1})"},
       {R"({"age":1,"name":"a"})", R"({"name":"a"})", R"({"name":"a","age":01})", R"({})",
        R"({"name":"a","age":1.5})", R"({"name":"a","age":1}x)", R"({"name":"\ud83e","age":1})",
        R"({"name":"\udd86","age":1})", R"({"name":"a","age":1,})", "{\"name\":\"\n\",\"age\":1}",
        "{\"name\":\"\xC3\",\"age\":1}", "{\"name\":\"\xED\xA0\x80\",\"age\":1}",
        "{\"name\":\"\xC0\x80\",\"age\":1}", "{\"name\":\"\xF5\x80\x80\x80\",\"age\":1}"}},
      {R"({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"},
           "c": {"enum": ["red", "green", 3, null, {"x": [1]}]}, "d": {"const": "é\"\\"}},
           "required": ["c"]})",
       {R"({"c":"red"})", R"({"a":true,"c":3})", R"({"b":null,"c":null,"d":"é\"\\"})",
        R"({"a":false,"b":null,"c":{"x":[1]}})"},
       {R"({"a":true})", R"({"c":"blue"})", R"({,"c":3})", R"({"c":3,"d":1})", R"({"c":3,"c":3})"}},
  };
}

Cases value_cases() {
  return {
      {R"({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4})",
       {"[1,2]", "[1.5, -2e10, 0, 0.25]", "[ 1,\n2 ]"},
       {"[]", "[1]", "[1,2,3,4,5]", "[1,]", "[1,2", "[1,2.]", "[1,+2]", "[1,.5]"}},
      {R"({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 1})",
       {R"(["a"])", R"(["a",1])"},
       {"[]", R"(["a",1,2])", R"([1])"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3})",
       {"[1,2,2]", "[1,2,2,2,2]"},
       {"[1,2]", "[1]", "[2,2,2]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]", "[ ]x"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 5})",
       {R"("ab")", R"("日本語\n\"")", R"("\ud83e\udd86x")"},
       {R"("a")", R"("abcdef")", R"("")", R"("\ud83e\udd86")"}},
      {R"({"type": "string", "maxLength": 0})", {R"("")"}, {R"("a")"}},
      {R"({"type": "string", "pattern": "^[a-c]{2,4}$"})",
       {R"("ab")", R"("cccc")"},
       {R"("a")", R"("abcab")", R"("xab")"}},
      {R"({"type": "string", "pattern": "a+b|^x|y$"})",
       {R"("aab")", R"("..ab\n..")", R"("x123")", R"("123y")"},
       {R"("yx.")", R"("ax")", R"("")"}},
      {R"({"type": "string", "pattern": "^(\"|\\\\|\n|.)$"})",
       {R"("\"")", R"("\\")", R"("\n")", R"("é")"},
       {R"("ab")", R"("")"}},
      {R"({"type": "integer", "minimum": -17, "maximum": 2345})",
       {"-17", "-1", "0", "9", "2345", "999", "1999", "2339"},
       {"-18", "2346", "3000", "10000", "-20", "01"}},
      {R"({"type": "integer", "exclusiveMinimum": 0})", {"1", "10", "123456"}, {"0", "-1"}},
      {R"({"type": "integer", "exclusiveMaximum": -100})", {"-101", "-2000"}, {"-100", "-99", "0"}},
      {R"({"type": "integer", "minimum": 5, "maximum": 5})", {"5"}, {"4", "6", "55"}},
      {R"({"type": "integer", "minimum": 1.5, "maximum": 3.5})", {"2", "3"}, {"1", "4"}},
      {R"({"type": "number", "minimum": 0.25, "exclusiveMaximum": 10})",
       {"0.25", "0.250", "0.3", "9.999999", "1", "9"},
       {"0.24", "10", "0", "10.0", "-1", "0.2"}},
      {R"({"type": "number", "minimum": -1.5, "maximum": 1.5})",
       {"-1.5", "-1.50", "-0.1", "0", "1.5", "1.499999"},
       {"-1.51", "1.500001", "2", "-2", "-1.500001"}},
      {R"({"type": "string", "pattern": "^[a-z]+( [a-z]+)*$", "minLength": 3, "maxLength": 8})",
       {R"("abc")", R"("a b")", R"("abc def")", R"("abcdefgh")"},
       {R"("ab")", R"("abcdefghi")", R"("a  b")", R"("abc ")"}},
      {R"({"type": "string", "pattern": "x|\"", "minLength": 4})",
       {R"("abcx")", R"("xxxxxxxx")", R"("é日\"\n")"},
       {R"("abx")", R"("abcd")"}},
      {R"({"type": "string", "pattern": "^a*$", "maxLength": 3})",
       {R"("")", R"("aaa")"},
       {R"("aaaa")"}},
      {R"({"type": "string", "format": "date"})",
       {R"("2024-02-29")", R"("2000-02-29")", R"("2023-12-31")", R"("2023-04-30")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2023-04-31")", R"("2023-13-01")"}},
      {R"({"type": "string", "format": "date-time"})",
       {R"("2024-02-29T23:59:59Z")", R"("2024-01-31T00:00:00.5+01:00")"},
       {R"("2024-01-31")"}},
      {R"({"type": "string", "format": "ipv4"})",
       {R"("192.168.0.1")", R"("255.255.255.255")"},
       {R"("256.1.1.1")", R"("1.1.1")", R"("01.1.1.1")"}},
  };
}

Cases joined_cases() {
  return {
      {R"({"anyOf": [{"type": "string", "maxLength": 3}, {"const": "a long constant"}, {"type": "null"}]})",
       {R"("abc")", R"("a long constant")", "null"},
       {R"("a lo")", "1"}},
      {R"({"type": ["string", "null", "integer"]})", {"null", "12", R"("x")"}, {"1.5", "true"}},
      {R"({"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"},
           "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["value"],
           "additionalProperties": false}}, "$ref": "#/$defs/node"})",
       {R"({"value":1})", R"({"value":1,"children":[{"value":2,"children":[]},{"value":3}]})"},
       {R"({"children":[]})", R"({"value":1,"children":[1]})"}},
      {R"({"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "boolean"}]})",
       {"true", "[[],[true,[false]]]"},
       {"[1]", "[[]"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {R"({})", R"({"x":1,"é":2})"},
       {R"({"x":"y"})", R"({x:1})"}},
      {R"({"type": "object", "properties": {"name": {"type": "null"}, "né": true},
           "additionalProperties": {"type": "integer"}, "required": ["id", "name"]})",
       {R"({"name":null,"id":3})", R"({"name":null,"né":[],"id":3,"names":4,"nam":1,"n":1})"},
       {R"({"name":3,"id":3})", R"({"name":null,"id":3,"name":4})",
        R"({"name":null,"id":3,"né":4})", R"({"name":null,"id":"x"})"}},
      {R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}},
           "required": ["kind", "x"]}, {"type": "object", "properties": {"kind": {"const": "b"}},
           "required": ["kind"]}]})",
       {R"({"kind":"a","x":1})", R"({"kind":"b"})"},
       {R"({"kind":"a"})", R"({"kind":"c"})"}},
      {R"({"type": "object", "properties": {"u": {"allOf": [{"$ref": "#/$defs/u"}], "title": "U"},
           "w": {"anyOf": [{"minLength": 2}, {"maxLength": 0}], "type": "string"}},
           "$defs": {"u": {"type": "string", "format": "uuid"}}})",
       {R"({"u":"01234567-89ab-cdef-0123-456789abcdef","w":"ab"})", R"({"w":""})"},
       {R"({"u":"x"})", R"({"w":"a"})"}},
      {R"({"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}],
           "$defs": {"base": {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]}},
           "unevaluatedProperties": false})",
       {R"({"a":null,"b":1})"},
       {R"({"a":null})", R"({"b":1})", R"({"b":1,"a":null,"c":1})"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
           "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})",
       {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":1})"},
       {"{}", R"({"c":1})"}},
      {R"({"$ref": "#/$defs/s", "maxLength": 2, "$defs": {"s": {"type": "string"}}})",
       {R"("ab")"},
       {R"("abc")", "1"}},
      {R"(true)", {"null", R"({"a":[1,{}]})", "[]", R"("x")", "-0.5e-10"}, {"nul", "", "{]"}},
  };
}

}  // namespace

const std::vector<SchemaCase>& schema_cases() {
  static const Cases all = [] {
    Cases list = object_cases();
    for (const Cases& more : {value_cases(), joined_cases()})
      list.insert(list.end(), more.begin(), more.end());
    return list;
  }();
  return all;
}

}  // namespace um
