// Numbers of schemas as readers see them: what is written at the edges (the longest texts, digits
// next to those of a bound) is read as a double that meets the schema.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/rng.h"
#include "tests/engine/constraint_walk_util.h"
#include "tests/engine/schema_check_util.h"

namespace um {
namespace {

using Json = nlohmann::json;

/// A number as long as it can be: the highest digits or the lowest, in a few places another one.
std::string edge_walk(const Constraint& constraint, uint64_t seed) {
  const RandomStream random(seed, hash_name("edges"));
  const auto copy = constraint.clone();
  const bool highest = seed % 2 == 0;
  const uint64_t whole = random.bits(1000) % 20;  // digits before the point
  const uint64_t odd = 2 + random.bits(1001) % 40;
  std::string text;
  for (uint64_t step = 0; step < 100; ++step) {
    std::vector<float> logits(walk_tokens().size(), 0.0f);
    copy->mask(logits);
    std::string allowed;
    for (const char c : std::string("-.0123456789"))
      if (!std::isinf(logits[static_cast<unsigned char>(c)])) allowed += c;
    if (allowed.empty()) break;
    char chosen = highest ? allowed.back() : allowed.front();
    if (random.bits(step) % odd == 0) chosen = allowed[random.bits(step + 500) % allowed.size()];
    const bool has_point = allowed.find('.') != std::string::npos;
    if (has_point && (step >= whole || chosen == '.'))
      chosen = step >= whole || allowed.size() == 1 ? '.' : allowed[1];
    copy->accept(chosen);
    text += chosen;
  }
  return text;
}

std::vector<std::string> number_schemas() {
  std::vector<std::string> list = {
      R"({"type": "number", "not": {"type": "integer"}})",
      R"({"oneOf": [{"type": "integer"}, {"type": "number", "exclusiveMinimum": 3}]})",
      R"({"type": "number", "multipleOf": 0.25, "not": {"type": "integer"}})",
      R"({"type": "integer", "multipleOf": 7})",
      R"({"type": "integer", "not": {"multipleOf": 7}})",
      R"({"type": "number", "not": {"multipleOf": 0.01}})",
      R"({"type": "number", "not": {"multipleOf": 0.125}, "minimum": -1000, "maximum": 1000})",
  };
  for (const char* bound : {"0", "1", "5", "-1", "0.1", "0.3", "-0.30000000000000004", "1e-7",
                            "1e-16", "1000", "99999.5", "4503599627370496", "9007199254740992",
                            "123456789012345678", "1e22", "-1e300", "1.7976931348623157e308"})
    for (const char* rest : {R"("exclusiveMinimum": {})", R"("exclusiveMaximum": {})",
                             R"("minimum": {})", R"("maximum": {})", R"("not": {{"const": {}}})",
                             R"("not": {{"minimum": {}}})", R"("not": {{"maximum": {}}})"})
      for (const char* type : {"number", "integer"})
        list.push_back(
            fmt::format(R"({{"type": "{}", {}}})", type, fmt::format(fmt::runtime(rest), bound)));
  return list;
}

TEST(NumberConstraint, WhatIsWrittenAtTheEdgesMeetsTheSchemaAsADouble) {
  for (const std::string& text : number_schemas()) {
    const Json schema = Json::parse(text);
    std::unique_ptr<Constraint> constraint;
    try {
      constraint = walk_factory().json_schema(text);
    } catch (const std::exception& error) {
      EXPECT_NE(std::string(error.what()).find("no number of at most"), std::string::npos) << text;
      continue;
    }
    for (uint64_t seed = 0; seed < 60; ++seed) {
      const std::string number = edge_walk(*constraint, seed);
      const Json value = Json::parse(number, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text << "\n" << number;
      ASSERT_EQ(schema_fault(schema, schema, value.get<double>()), "") << text << "\n" << number;
    }
  }
}

}  // namespace
}  // namespace um
