// Bounded JSON parsing and the wording of field errors.
#include "core/json.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ordered_json.h"
#include "tests/core/linear_util.h"

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

TEST(JsonTest, WhatTheLibraryTakesThatIsNoJson) {
  // A NUL ends the library's input: what comes after it would be dropped in silence.
  const std::string nul("{}\0{", 4);
  EXPECT_EQ(message([&] { parse_json(nul, "t"); }), "t: not valid JSON at line 1, column 3: a NUL");
  EXPECT_EQ(message([] { parse_json("[\n1e999]", "t"); }),
            "t: not valid JSON at line 2, column 5: a number is out of range");
  for (const char* text :
       {"{} {}", "[1,]", "{\"a\":1,}", "// a\n1", "NaN", "'a'", "01", "+1", "\t"})
    EXPECT_NE(message([&] { parse_json(text, "t"); }), "") << text;
}

TEST(JsonTest, IntegersThatNoBitsHold) {
  const std::string text = R"({"a": [1, {"b": 18446744073709551616}], "c": -9223372036854775809})";
  const auto parse = [](const std::string& json, std::vector<std::string_view> exact) {
    return parse_ordered_json(json, "t", {}, exact);
  };
  EXPECT_TRUE(parse(text, {})["c"].is_number_float());
  EXPECT_TRUE(parse(text, {"b"})["c"].is_number_float());
  EXPECT_EQ(message([&] {
              parse(text, {"x", "a"});
            }),
            "t: a[1].b: the integer \"18446744073709551616\" does not fit 64 bits");
  EXPECT_EQ(message([&] { parse(text, {"c"}); }),
            "t: c: the integer \"-9223372036854775809\" does not fit 64 bits");
  EXPECT_EQ(parse(R"({"a": [1e30, 18446744073709551615]})", {"a"})["a"][0], 1e30);

  const auto digits = [](const std::string& json, std::vector<std::string_view> parts) {
    static constexpr std::string_view kExact[] = {"a"};
    return parse_ordered_json(json, "t", {}, kExact, parts);
  };
  EXPECT_EQ(digits(text, {""}).dump(),
            R"({"a":[1,{"b":"18446744073709551616"}],"c":"-9223372036854775809"})");
  EXPECT_EQ(digits(text, {"].b"})["a"][1]["b"], "18446744073709551616");
  EXPECT_TRUE(digits(text, {"].b"})["c"].is_number_float());
  EXPECT_THROW(digits(text, {"].c"}), Error);
  EXPECT_EQ(digits("18446744073709551616", {""}), "18446744073709551616");
}

TEST(JsonTest, OrderedIsTheSameInTheOrderOfTheText) {
  const std::string text = R"({"b":[{"z":1,"y":{}},"x",null],"a":-1.5,"c":{"b":true,"a":[]}})";
  EXPECT_EQ(parse_ordered_json(text, "t").dump(), text);
  EXPECT_EQ(Json(parse_ordered_json(text, "t")), parse_json(text, "t"));
  EXPECT_EQ(message([] { parse_ordered_json(R"([{"a":1,"b":2,"a":2}])", "t"); }),
            "t: key \"a\" appears twice in one object");
  EXPECT_EQ(message([] { parse_ordered_json("{\"a\":1,\n \"b\":}", "t.json"); }),
            "t.json: not valid JSON at line 2, column 6");
  EXPECT_EQ(message([] { parse_ordered_json("[1,2,3]", "t", {.max_values = 3}); }),
            "t: more than 3 JSON values");
  EXPECT_EQ(parse_ordered_json("7", "t"), 7);
}

/// `size` times `part`, with its number in place of a #, between `before` and `after`.
std::string repeated(const std::string& before, const std::string& part, const std::string& after,
                     size_t size) {
  std::string text = before;
  for (size_t i = 0; i < size; ++i) {
    text += i == 0 ? "" : ",";
    for (const char c : part) c == '#' ? text += std::to_string(i) : text += c;
  }
  return text + after;
}

TEST(JsonTest, TimeIsLinear) {
  struct Case {
    std::string before, part, after;
  };
  const Case cases[] = {
      {"[", "{}", "]"},                        // each end made a scan of the list
      {"[", "[]", "]"},                        //
      {"{", "\"#\":0", "}"},                   // the fields of an object
      {"{", "\"layers.#\":{\"a\":[1]}", "}"},  // a safetensors header
      {"[", "{\"a\":\"b\",\"c\":1e5}", "]"},
      {"\"", "\\u00e9", "\""},
      {"[", "1", ",]"},  // refused: the position of the error is found once
  };
  for (const Case& c : cases) {
    const auto make = [&](size_t size) { return repeated(c.before, c.part, c.after, size); };
    SCOPED_TRACE(make(2));
    expect_linear(20000, make,
                  [](const std::string& text) { message([&] { parse_json(text, "t"); }); });
    expect_linear(20000, make,
                  [](const std::string& text) { message([&] { parse_ordered_json(text, "t"); }); });
  }
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
