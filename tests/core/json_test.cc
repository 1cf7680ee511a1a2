// Bounded JSON parsing and the wording of field errors.
#include "core/json.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace um {
namespace {

template <class Call>
std::string message(Call call) {
  try {
    call();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(JsonTest, LimitsAndDuplicates) {
  EXPECT_EQ(parse_json(R"({"a":[1,{"b":2}],"c":{"b":1}})", "t")["a"][1]["b"], 2);
  EXPECT_EQ(message([] { parse_json("{\"a\":1,\n \"a\":2}", "t.json"); }),
            "t.json: key \"a\" appears twice in one object");
  EXPECT_EQ(message([] { parse_json("{\"a\":1,\n \"b\":}", "t.json"); }),
            "t.json: not valid JSON at line 2, column 6");
  const std::string deep(100000, '[');
  EXPECT_EQ(message([&] { parse_json(deep, "t"); }), "t: JSON nested deeper than 64 levels");
  EXPECT_EQ(message([&] { parse_json("[1,2,3]", "t", {.max_values = 3}); }),
            "t: more than 3 JSON values");
  EXPECT_NE(message([&] { parse_json("1e999", "t"); }), "");
  EXPECT_NE(message([&] { parse_json("\"\xff\"", "t"); }), "");
  EXPECT_NE(message([&] { parse_json("", "t"); }), "");
  EXPECT_EQ(parse_json("[[[1]]]", "t", {.max_depth = 3})[0][0][0], 1);
}

TEST(JsonTest, TypedReads) {
  const Json json = parse_json(
      R"({"n":7,"x":"12","f":1.5,"b":true,"nil":null,"big":18446744073709551615,"l":["p","q"]})",
      "config.json");
  const JsonObject object(json, "config.json");
  EXPECT_EQ(object.integer("n"), 7);
  EXPECT_EQ(object.integer_or("nil", 3), 3);
  EXPECT_EQ(object.number("n", 0, 10), 7.0);
  EXPECT_TRUE(object.boolean_or("b", false));
  EXPECT_EQ(object.strings("l"), (std::vector<std::string>{"p", "q"}));
  EXPECT_FALSE(object.has("nil"));
  EXPECT_EQ(message([&] { object.integer("x", 1); }),
            "config.json: field \"x\": expected a positive integer, found \"12\"");
  EXPECT_EQ(message([&] { object.integer("gone", 1, 8); }),
            "config.json: field \"gone\": expected an integer from 1 to 8, found nothing");
  EXPECT_EQ(message([&] { object.integer("f"); }),
            "config.json: field \"f\": expected an integer, found 1.5");
  EXPECT_NE(message([&] { object.integer("big"); }), "");
  EXPECT_NE(message([&] { object.integer("n", 8, 9); }), "");
  EXPECT_NE(message([&] { object.number("f", 2, 3); }), "");
  EXPECT_EQ(message([&] { object.object("l"); }),
            "config.json: field \"l\": expected an object, found a list of 2 values");
  EXPECT_EQ(message([&] { JsonObject(json["n"], "t"); }), "t: expected a JSON object, found 7");
}

TEST(JsonTest, QuotesAreOneShortLine) {
  EXPECT_EQ(quote("a\n\"b\""), R"("a\n\"b\"")");
  EXPECT_EQ(quote("\xff"), R"("\ufffd")");
  EXPECT_LT(quote(std::string(1 << 20, 'x')).size(), 80u);
  EXPECT_THROW(to_text(Json("\xff")), Error);
}

}  // namespace
}  // namespace um
