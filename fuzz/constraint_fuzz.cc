// Fuzz target: schemas, regular expressions and choices from outside. What compiles is walked at
// random: some token is always allowed, and a text that came to its end is what was promised.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "engine/constraint_factory.h"
#include "text/utf8.h"

namespace {

constexpr int kSteps = 60;

const std::vector<std::string>& tokens() {
  static const std::vector<std::string> list = [] {
    std::vector<std::string> made;
    for (int byte = 0; byte < 256; ++byte) made.emplace_back(1, static_cast<char>(byte));
    for (const char* piece : {"{\"", "\":", "\",", "[[", "]}", "ab", "\xE6\x97", " the", "10", ""})
      made.emplace_back(piece);
    return made;
  }();
  return list;
}
int32_t end_token() {
  return static_cast<int32_t>(tokens().size()) - 1;
}

/// The text of a walk if it came to its end.
bool walk(um::Constraint& constraint, const um::RandomStream& random, std::string& text) {
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> logits(tokens().size(), 0.0f);
    constraint.mask(logits);
    std::vector<int32_t> allowed;
    for (size_t id = 0; id < logits.size(); ++id)
      if (logits[id] == 0) allowed.push_back(static_cast<int32_t>(id));
    if (allowed.empty()) __builtin_trap();
    int32_t id = allowed[random.bits(static_cast<uint64_t>(step)) % allowed.size()];
    for (const int32_t end : {static_cast<int32_t>('}'), static_cast<int32_t>(']'),
                              static_cast<int32_t>('"'), end_token()})
      if (step > kSteps / 3 && logits[static_cast<size_t>(end)] == 0) id = end;
    if (id == end_token()) return true;
    constraint.accept(id);
    text += tokens()[static_cast<size_t>(id)];
  }
  return false;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      R"(0{"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}, "b": {"$ref":
 "#/$defs/c"}}, "required": ["b"], "$defs": {"c": {"enum": ["x", 1, null]}}})",
      R"(0{"oneOf": [{"properties": {"k": {"const": 1}}, "required": ["k"]}, {"type": "integer", "multipleOf": 7, "minimum": 0},
 {"type": "string"}, {"type": "array", "items": {"minProperties": 1, "maxProperties": 2}}]})",
      R"(0{"anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": 1}, {"const": "z"}]})",
      R"(0{"type": "number", "minimum": -2.5, "exclusiveMaximum": 1e3})",
      R"(0{"type": "string", "pattern": "^(a|[b-d]){1,3}x*$"})",
      R"(0{"additionalProperties": {"type": ["integer", "null"]}, "required": ["q"]})",
      R"(0{"type": "array", "prefixItems": [true, {"format": "date"}], "items": false})",
      R"(0{"type": "object", "patternProperties": {"^a": {"type": "null"}}, "additionalProperties": {"not": {"type": "string"}},
 "propertyNames": {"maxLength": 3}, "minProperties": 1, "dependentRequired": {"a": ["b"]}})",
      R"(0{"oneOf": [{"required": ["a"]}, {"properties": {"b": {"multipleOf": 0.25}}, "required": ["b"]}], "type": "object",
 "if": {"required": ["c"]}, "then": {"maxProperties": 2}, "unevaluatedProperties": false})",
      R"(0{"type": "array", "contains": {"minimum": 2}, "maxContains": 2, "items": [{"enum": [1, 3]}], "additionalItems": {"type": "integer"}})",
      R"(0{"type": "array", "items": {"enum": ["a", "b", null]}, "uniqueItems": true, "not": {"maxItems": 1}})",
      R"(0{"type": "string", "allOf": [{"pattern": "\\bx"}, {"not": {"pattern": "y$"}}], "maxLength": 6})",
      R"(0{"$id": "http://x/y", "$ref": "z", "$defs": {"q": {"$id": "z", "anyOf": [{"format": "email"}, {"format": "ipv6"}]}}})",
      R"(1(?!ab)(?i)a\b[\p{Lu}-]+(?=.*z$).*)",
      R"(1(ab|c+)[^d-f\s]{2,4}(x|y)?\d*)",
      R"(1(?:[a-zé日]|\w-){3}.*)",
      "2yes\nno\nyesterday",
  };
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static um::ConstraintFactory factory(tokens(), {end_token()});
  if (size == 0) return 0;
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool json = data[0] == '0';
  try {
    std::unique_ptr<um::Constraint> constraint;
    if (json)
      constraint = factory.json_schema(input);
    else if (data[0] == '1')
      constraint = factory.regex(input);
    else
      constraint = factory.choice(std::vector<std::string>{input, input + "x", "yes"});
    const um::RandomStream random(size, um::hash_name(input));
    std::string text;
    if (!walk(*constraint, random, text)) return 0;
    // The start of a text is allowed to be blank; JSON beside that must parse.
    if (json && nlohmann::json::parse(text, nullptr, false).is_discarded()) __builtin_trap();
    if (!um::is_utf8(text)) __builtin_trap();
  } catch (const um::UsageError&) {
  }
  return 0;
}
