// JSON text that was cut off.
#include "server/cut_json.h"

#include <gtest/gtest.h>

namespace um {
namespace {

TEST(FinishedMembers, AreThoseBeforeTheCut) {
  const auto text = [](std::string_view cut) { return finished_members(cut).dump(); };
  EXPECT_EQ(text(R"({"a": "Ro)"), "{}");
  EXPECT_EQ(text(R"({"a": "x\"y", "b)"), R"({"a":"x\"y"})");
  EXPECT_EQ(text(R"({"a": 12)"), "{}");  // it may have been 123
  EXPECT_EQ(text(R"({"a": 12, "b": tru)"), R"({"a":12})");
  EXPECT_EQ(text(R"({"a": true)"), R"({"a":true})");
  EXPECT_EQ(text(R"({"a": [{"b": "x", "c": "y)"), R"({"a":[{"b":"x"}]})");
  EXPECT_EQ(text(R"({"a": {"b": 1}, "c": [1, 2, 3)"), R"({"a":{"b":1},"c":[1,2]})");
  for (const char* none : {"", "{", "{\"a", "{\"a\"", "{\"a\":", "x", "]", "[1", "\"a"})
    EXPECT_EQ(text(none), "{}") << none;
  // At every cut it is what a longer one has, or less.
  const std::string whole = R"({"k": ["a", {"b": -1.5e3, "c": null}], "d": "\u00e9", "e": false})";
  size_t members = 0;
  for (size_t length = 0; length <= whole.size(); ++length) {
    const Json json = finished_members(std::string_view(whole).substr(0, length));
    EXPECT_GE(json.flatten().size(), members);
    members = json.flatten().size();
  }
  EXPECT_EQ(finished_members(whole), Json::parse(whole));
}

}  // namespace
}  // namespace um
