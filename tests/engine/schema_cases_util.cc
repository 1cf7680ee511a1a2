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

/// How many properties an object has.
Cases count_cases() {
  const std::string abc =
      R"("properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}})";
  return {
      {R"({"type": "object", "minProperties": 2, )" + abc + "}",
       {R"({"a":null,"b":null})", R"({"a":null,"c":null})", R"({"a":null,"b":null,"c":null})"},
       {"{}", R"({"a":null})", R"({"c":null})"}},
      {R"({"type": "object", "minProperties": 1, "maxProperties": 2, "required": ["b"], )" + abc +
           "}",
       {R"({"b":null})", R"({"a":null,"b":null})", R"({"b":null,"c":null})"},
       {"{}", R"({"a":null,"c":null})", R"({"a":null,"b":null,"c":null})"}},
      {R"({"type": "object", "maxProperties": 1, )" + abc + "}",
       {"{}", R"({"a":null})", R"({"c":null})"},
       {R"({"a":null,"b":null})"}},
      {R"({"type": "object", "maxProperties": 0})", {"{}"}, {R"({"a":1})"}},
      {R"({"type": "object", "maxProperties": 9, "additionalProperties": false, )" + abc + "}",
       {"{}", R"({"a":null,"b":null,"c":null})"},
       {R"({"d":null})"}},
      {R"({"minProperties": 1, "maxProperties": 3, "additionalProperties": {"type": "integer"}})",
       {R"({"x":1})", R"({"x":1,"y":2,"z":3})"},
       {"{}", R"({"x":1,"y":2,"z":3,"u":4})"}},
      {R"({"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}, )" +
           abc + "}",
       {R"({"x":1})", R"({"c":null})", R"({"a":null,"x":1,"y":2})"},
       {"{}", R"({"x":null})"}},
  };
}

Cases multiple_cases() {
  return {
      {R"({"type": "integer", "multipleOf": 7})",
       {"0", "7", "-7", "14", "-700", "864197523084"},
       {"1", "-0", "8", "70.0", "07", "-13", "71"}},
      {R"({"type": "number", "multipleOf": 5, "minimum": 0})",
       {"0", "5", "10", "12345"},
       {"-5", "3", "5.5"}},
      {R"({"type": "integer", "multipleOf": 3, "exclusiveMinimum": 0})",
       {"3", "12"},
       {"0", "-3", "4"}},
      {R"({"multipleOf": 5, "minimum": -12.5, "exclusiveMaximum": 10})",
       {"-10", "-5", "0", "5"},
       {"-15", "10", "-12", "1"}},
      {R"({"type": "integer", "multipleOf": 4, "exclusiveMinimum": -8, "maximum": 4.5})",
       {"-4", "0", "4"},
       {"-8", "8", "-0"}},
      {R"({"type": "integer", "multipleOf": 1, "minimum": 0})", {"0", "10"}, {"-1"}},
  };
}

/// oneOf whose branches exclude each other.
/// Where a decimal meets the schema and the double that it is read as does not.
Cases double_cases() {
  return {
      {R"({"type": "number", "minimum": 0, "exclusiveMaximum": 1})",
       {"0", "0.9999999999999999", "0.99999999999999989"},
       {"1", "0.99999999999999999"}},
      {R"({"type": "number", "exclusiveMinimum": 5})",
       {"5.000000000000001", "5.1", "6"},
       {"5", "5.00000000000000001", "5.0000000000000001"}},
      {R"({"type": "number", "exclusiveMinimum": -0.3})",
       {"-0.29999999999999993", "0"},
       {"-0.3", "-0.29999999999999999"}},
      {R"({"type": "number", "not": {"type": "integer"}})",
       {"0.5", "0.30000000000000004", "0.999999999999999", "-219120125198.7924",
        "0.00000000000000001"},
       {"1", "219120125198195812.7924", "0.99999999999999999", "5.00000000000000001", "5.0"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 3}]})",
       {"2", "3.5", "3.00000000000001"},
       {"3", "2.5", "4.99999999999999999"}},
      {R"({"type": "number", "not": {"const": 0.3}})",
       {"0.30000000000000004", "0.29999999999999993", "1"},
       {"0.3", "0.30000000000000001", "0.29999999999999999"}},
      {R"({"type": "integer", "not": {"enum": [9007199254740992, 3]}})",
       {"9007199254740991", "9007199254740994", "4"},
       {"9007199254740992", "9007199254740993", "3"}},
      {R"({"type": "number", "multipleOf": 0.01})",
       {"1234567890123.25", "100000000000.5"},
       {"1234567890123456.12", "0.001"}},
      {R"({"type": "integer", "multipleOf": 7})", {"777777777777777"}, {"700000000000000007"}},
      {R"({"type": "number", "multipleOf": 1})", {"700000000000000007"}, {"0.5"}},
      {R"({"type": "number", "not": {"multipleOf": 0.1}})",
       {"0.25", "0.25000000000001"},
       {"0.3", "0.30000000000000001", "123456789012345678.05"}},
      {R"({"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991})",
       {"9007199254740991", "1"},
       {"0", "9007199254740992"}},
      {R"({"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308})",
       {"0", "-12.5", "999999999999999999.5"},
       {"1e309"}},
      {R"({"type": "number", "not": {"minimum": 1e300}})", {"7.5"}, {"1e300", "1e301"}},
      {R"({"anyOf": [{"type": "number", "minimum": 1e300}, {"type": "null"}]})", {"null"}, {"1"}},
      {R"({"type": "number", "exclusiveMinimum": 5e-324, "exclusiveMaximum": 1})",
       {"0.5", "0.00000000000000001"},
       {"0"}},
  };
}

Cases exclusive_cases() {
  return {
      {R"({"oneOf": [{"type": "string"}, {"type": ["integer", "null"]}, {"type": "array", "items": {"type": "boolean"}}]})",
       {R"("x")", "3", "null", "[true]"},
       {"3.5", "[1]"}},
      {R"({"oneOf": [{"enum": ["a", 1]}, {"const": "b"}, {"enum": [[1], {"k": 2}]}, {"type": "boolean"}]})",
       {R"("a")", "1", R"("b")", "[1]", R"({"k":2})", "true"},
       {R"("c")"}},
      {R"({"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}], "discriminator": {"propertyName": "kind"},
           "$defs": {"cat": {"type": "object", "properties": {"kind": {"const": "cat", "type": "string"}, "lives": {"type": "integer"}}, "required": ["kind", "lives"]},
           "dog": {"type": "object", "properties": {"kind": {"enum": ["dog", "hound"]}, "name": {"type": "string"}}, "required": ["kind"]}}})",
       {R"({"kind":"cat","lives":9})", R"({"kind":"hound","name":"x"})"},
       {R"({"kind":"cat"})", R"({"kind":"dog","name":9})"}},
      {R"({"oneOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": false},
           {"properties": {"b": {"type": "null"}}, "required": ["b"], "additionalProperties": false}]})",
       {R"({"a":null})", R"({"b":null})"},
       {"{}", R"({"a":null,"b":null})"}},
      {R"({"type": "object", "properties": {"v": {"oneOf": [{"type": "object", "properties": {"at": {"properties": {"t": {"const": 1}}, "required": ["t"]}}, "required": ["at"]},
           {"type": "object", "properties": {"at": {"properties": {"t": {"const": 2}}, "required": ["t"]}}, "required": ["at"]}]}}})",
       {R"({"v":{"at":{"t":1}}})", R"({"v":{"at":{"t":2}}})"},
       {R"({"v":{"at":{"t":3}}})"}},
      {R"({"type": "object", "required": ["k"], "oneOf": [{"properties": {"k": {"const": "x"}}}, {"properties": {"k": {"anyOf": [{"const": "y"}, {"type": "integer"}]}}}]})",
       {R"({"k":"x"})", R"({"k":"y"})", R"({"k":3})"},
       {R"({"k":"z"})"}},
      // What is written for the one lacks what the other demands.
      {R"({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]})",
       {R"({"a":1})", R"({"b":[2]})"},
       {"{}", R"({"a":1,"b":2})"}},
      {R"({"oneOf": [{"allOf": [{"type": "object"}, {"properties": {"k": {"const": 1}}, "required": ["k"]}]},
           {"oneOf": [{"type": "string"}, {"type": "null"}]}]})",
       {R"({"k":1})", "null", R"("s")"},
       {R"({"k":2})"}},
  };
}

Cases value_cases() {
  return {
      {R"({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4})",
       {"[1,2]", "[1.5, -2e10, 0, 0.25]", "[ 1,\n2 ]"},
       {"[]", "[1]", "[1,2,3,4,5]", "[1,]", "[1,2", "[1,2.]", "[1,+2]", "[1,.5]"}},
      {R"({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false, "minItems": 1})",
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
       {R"("2024-02-29")", R"("2000-02-29")", R"("2023-12-31")", R"("2023-04-30")",
        R"("0001-01-01")", R"("0010-02-28")", R"("0004-02-29")", R"("0400-02-29")",
        R"("9999-12-31")", R"("0100-06-30")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2023-04-31")", R"("2023-13-01")",
        R"("0000-01-01")", R"("0000-06-30")", R"("0000-02-28")", R"("0000-02-29")",
        R"("0100-02-29")"}},
      {R"({"type": "string", "format": "date-time"})",
       {R"("2024-02-29T23:59:59Z")", R"("2024-01-31T00:00:00.5+01:00")",
        R"("0001-12-31T23:59:60Z")"},
       {R"("2024-01-31")", R"("0000-01-31T00:00:00Z")", R"("0000-12-31T23:59:60Z")",
        R"("0000-01-01T00:59:60+01:00")"}},
      {R"({"type": "string", "format": "ipv4"})",
       {R"("192.168.0.1")", R"("255.255.255.255")"},
       {R"("256.1.1.1")", R"("1.1.1")", R"("01.1.1.1")"}},
  };
}

Cases joined_cases() {
  return {
      // Beside what is said, all else is an annotation.
      {R"({"id": "x", "nullable": true, "markdownDescription": "y", "order": 1, "type": "integer"})",
       {"1"},
       {"null", R"("x")"}},
      {R"({"enum": ["a", "abc", 1, 5, null, {"x": 1}, []], "const": "abc"})", {R"("abc")"}, {"1"}},
      {R"({"enum": ["a", "abc", 1, 5, {"x": 1}, {"y": [1, 2]}], "minLength": 2, "minimum": 2, "required": ["y"]})",
       {R"("abc")", "5", R"({"y":[1, 2]})", R"({ "y": [1,2] })"},
       {R"("a")", "1", R"({"x":1})"}},
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
      // A listed property cannot come again as another one.
      {R"({"type": "object", "properties": {"a": {"const": 1}, "ab": true}, "additionalProperties": {"type": "integer"}})",
       {R"({"a":1})", R"({"a":1,"b":2,"aba":3})", R"({"":1})"},
       {R"({"a":1,"a":2})", R"({"b":1,"a":1})", R"({"b":1,"ab":1})", R"({"a":1,"\u0061":2})"}},
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

Cases opposite_cases() {
  return {
      {R"({"type": ["string", "number", "null"], "not": {"type": ["null", "integer"]}})",
       {R"("x")", "1.5"},
       {"null", "1"}},
      {R"({"type": "string", "not": {"enum": ["a", "b"]}})", {R"("c")", R"("ab")"}, {R"("a")"}},
      {R"({"type": "string", "not": {"pattern": "^a|b$"}})",
       {R"("")", R"("ba")"},
       {R"("ab")", R"("cb")"}},
      {R"({"type": "string", "allOf": [{"pattern": "a"}, {"pattern": "b"}, {"not": {"minLength": 4}}]})",
       {R"("ab")", R"("bxa")"},
       {R"("a")", R"("abab")"}},
      {R"({"type": "integer", "minimum": 0, "maximum": 9, "not": {"enum": [3, 5]}})",
       {"4"},
       {"3", "5", "10"}},
      {R"({"type": "number", "not": {"minimum": 2, "maximum": 3}})",
       {"1.9", "3.1", "-7"},
       {"2", "2.5", "3"}},
      {R"({"type": "object", "not": {"required": ["a"]}})", {"{}", R"({"b":1})"}, {R"({"a":1})"}},
      {R"({"type": "object", "properties": {"k": {"not": {"type": "string"}}}})",
       {R"({"k":1})"},
       {R"({"k":"1"})"}},
      {R"({"oneOf": [{"type": "number"}, {"type": "integer"}]})", {"1.5"}, {"1"}},
      {R"({"oneOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 4}]})",
       {R"("a")", R"("abcde")"},
       {R"("abc")"}},
      {R"({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}]})",
       {R"({"a":1})", R"({"c":1})", R"({"a":1,"d":2})"},
       {"{}", R"({"a":1,"b":1})", R"({"a":1,"b":1,"c":1})"}},
      {R"({"oneOf": [{"type": "object", "properties": {"a": {"type": "integer"}}},
           {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "additionalProperties": false}]})",
       {R"({"a":1,"b":2})", R"({"a":1,"c":2})"},
       {R"({"a":1})", R"({"a":1,"b":"x"})", R"({"a":"x"})"}},
      {R"({"type": "array", "not": {"items": {"type": "string"}}})",
       {"[1]", R"(["a",1,"b"])"},
       {"[]", R"(["a"])"}},
      {R"({"properties": {"kind": {"enum": ["a", "b"]}, "x": {"type": ["integer", "string"]}}, "required": ["kind", "x"],
           "if": {"properties": {"kind": {"const": "a"}}}, "then": {"properties": {"x": {"type": "integer"}}},
           "else": {"properties": {"x": {"type": "string"}}}})",
       {R"({"kind":"a","x":1})", R"({"kind":"b","x":"s"})"},
       {R"({"kind":"a","x":"s"})", R"({"kind":"b","x":1})"}},
  };
}

Cases name_cases() {
  return {
      {R"({"type": "object", "properties": {"ab": {"type": "null"}}, "patternProperties": {"^a": {"type": ["null", "integer"]}, "z$": {"type": "string"}},
           "additionalProperties": {"type": "boolean"}})",
       {R"({"ab":null,"a":1,"xz":"s","q":true})"},
       {R"({"ab":1})", R"({"a":"s"})", R"({"xz":1})", R"({"q":1})", R"({"az":1})"}},
      {R"({"type": "object", "patternProperties": {"^x-": true}, "additionalProperties": false})",
       {"{}", R"({"x-a":1})"},
       {R"({"xa":1})"}},
      {R"({"type": "object", "propertyNames": {"pattern": "^[a-c]+$", "maxLength": 2}})",
       {R"({"a":1,"bc":2})"},
       {R"({"abc":1})", R"({"d":1})"}},
      {R"({"type": "object", "properties": {"abc": true, "ab": true}, "propertyNames": {"maxLength": 2}})",
       {R"({"ab":1})"},
       {R"({"abc":1})"}},
      {R"({"type": "object", "properties": {"a": true, "b": true, "c": true}, "dependentRequired": {"a": ["b"]}, "dependencies": {"c": {"required": ["a"]}}})",
       {"{}", R"({"b":1})", R"({"a":1,"b":1})", R"({"a":1,"b":1,"c":1})"},
       {R"({"a":1})", R"({"c":1})", R"({"a":1,"c":1})"}},
      {R"({"type": "object", "dependentSchemas": {"a": {"properties": {"b": {"type": "null"}}}}})",
       {R"({"b":1})", R"({"a":1,"b":null})"},
       {R"({"a":1,"b":1})"}},
      {R"({"type": "object", "minProperties": 2, "properties": {"a": {"type": "null"}}})",
       {R"({"a":null,"x":1})"},
       {"{}", R"({"a":null})", R"({"x":1,"x":2})"}},
  };
}

Cases list_cases() {
  return {
      {R"({"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "additionalItems": {"type": "null"}})",
       {"[]", R"(["a"])", R"(["a",1,null,null])"},
       {"[1]", R"(["a",1,1])"}},
      {R"({"type": "array", "contains": {"const": 1}, "maxItems": 3})",
       {"[1]", "[2,1]", "[1,1,1]"},
       {"[]", "[2,3]", "[1,1,1,1]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 5}, "minContains": 2, "maxContains": 3})",
       {"[5,6]", "[1,5,2,6,7,0]"},
       {"[5]", "[5,6,7,8]", "[1,2]"}},
      {R"({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": true, "minItems": 2})",
       {R"(["a","b"])", R"(["c","a","b"])"},
       {R"(["a"])", R"(["a","a"])", R"(["a","b","a"])"}},
      {R"({"type": "array", "maxItems": 1, "uniqueItems": true})", {"[]", "[[1]]"}, {"[1,2]"}},
      // What `contains` counts is evaluated.
      {R"({"type": "array", "prefixItems": [true], "contains": {"type": "string"}, "unevaluatedItems": false})",
       {R"([1,"foo"])", R"(["a","b"])", R"(["a"])"},
       {"[]", "[1]", "[1,2]", R"([1,2,"foo"])"}},
      {R"({"type": "array", "allOf": [{"contains": {"type": "integer", "multipleOf": 2}},
           {"contains": {"type": "integer", "multipleOf": 3}}], "unevaluatedItems": {"type": "integer", "multipleOf": 5}})",
       {"[2,3]", "[6]", "[2,3,4,5,6]"},
       {"[]", "[2]", "[2,3,4,7,8]", R"([2,3,"a"])"}},
      {R"({"type": "array", "contains": {"type": "string"}, "minContains": 0, "unevaluatedItems": false})",
       {"[]", R"(["foo","bar"])"},
       {"[0]", R"(["foo",0])"}},
      {R"({"type": "array", "contains": {"const": 1}, "maxContains": 2, "unevaluatedItems": {"type": "null"}})",
       {"[1]", "[null,1,null,1]"},
       {"[]", "[null]", "[1,1,1]", "[1,2]"}},
  };
}

Cases decimal_cases() {
  return {
      {R"({"type": "number", "multipleOf": 0.01})", {"1", "0.25", "-3.1"}, {"0.001", "1.255"}},
      {R"({"type": "number", "multipleOf": 2.5, "minimum": -5, "maximum": 100000})",
       {"2.5", "-5", "7.5", "100000"},
       {"1", "-7.5", "0.5"}},
      {R"({"type": "integer", "multipleOf": 3, "minimum": 10})", {"12", "99"}, {"9", "10"}},
      {R"({"allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "type": "integer"})",
       {"12", "0", "-24"},
       {"4", "6"}},
      {R"({"type": "number", "minimum": -90, "maximum": 90})",
       {"52.520008123456", "-0.1278", "90.0"},
       {"90.1", "-91"}},
  };
}

}  // namespace

const std::vector<SchemaCase>& schema_cases() {
  static const Cases all = [] {
    Cases list = object_cases();
    for (const Cases& more :
         {count_cases(), multiple_cases(), double_cases(), exclusive_cases(), value_cases(),
          joined_cases(), opposite_cases(), name_cases(), list_cases(), decimal_cases()})
      list.insert(list.end(), more.begin(), more.end());
    return list;
  }();
  return all;
}

}  // namespace um
