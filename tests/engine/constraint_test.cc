// Constraints: random walks give only right texts, known right texts pass, wrong ones do not, and
// masks equal what the automaton says of each token by itself.
#include "engine/constraint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <list>
#include <regex>
#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/stop_scope.h"
#include "engine/grammar/automaton.h"
#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema.h"
#include "tests/engine/constraint_walk_util.h"
#include "tests/engine/heap_calls_util.h"
#include "tests/engine/schema_cases_util.h"
#include "tests/engine/schema_check_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/utf8.h"

namespace um {
namespace {

std::string schema_error(const std::string& schema) {
  try {
    walk_factory().json_schema(schema);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "none";
}

TEST(JsonSchemaConstraint, KnownTexts) {
  for (const SchemaCase& one : schema_cases()) {
    const Json schema = Json::parse(one.schema);
    const auto constraint = walk_factory().json_schema(one.schema);
    for (const std::string& text : one.right) {
      EXPECT_TRUE(lets_through(*constraint, text)) << one.schema << "\n" << text;
      EXPECT_EQ(schema_fault(schema, schema, Json::parse(text)), "") << one.schema << "\n" << text;
    }
    for (const std::string& text : one.wrong)
      EXPECT_FALSE(lets_through(*constraint, text)) << one.schema << "\n" << text;
  }
}

TEST(JsonSchemaConstraint, RandomWalksMeetTheSchema) {
  for (const SchemaCase& one : schema_cases()) {
    const Json schema = Json::parse(one.schema);
    const auto constraint = walk_factory().json_schema(one.schema);
    for (uint64_t seed = 0; seed < 150; ++seed) {
      const std::string text = random_walk(*constraint->clone(), seed, static_cast<int>(seed % 60));
      const Json value = Json::parse(text, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << one.schema << "\n" << text;
      ASSERT_EQ(schema_fault(schema, schema, value), "") << one.schema << "\n" << text;
    }
  }
}

TEST(JsonSchemaConstraint, ContainsCountsAsEvaluatedFromDraft2020On) {
  const std::string rest =
      R"("type": "array", "contains": {"type": "string"}, "unevaluatedItems": {"type": "integer"}})";
  const std::string draft = R"({"$schema": "https://json-schema.org/draft/)";
  const auto lets = [&](const std::string& schema) {
    return lets_through(*walk_factory().json_schema(schema), R"(["a",1])");
  };
  EXPECT_TRUE(lets("{" + rest));
  EXPECT_TRUE(lets(draft + "2020-12/schema\", " + rest));
  EXPECT_NE(schema_error(draft + "2019-09/schema\", " + rest).find("no finite text"),
            std::string::npos);
  // Its opposite is exact; a condition alone evaluates, too.
  const auto opposite =
      walk_factory().json_schema(R"({"type": "array", "items": {"enum": [1, "a"]}, "not": {)" +
                                 rest.substr(rest.find("\"contains")) + "}");
  EXPECT_TRUE(lets_through(*opposite, "[1]"));
  EXPECT_FALSE(lets_through(*opposite, R"([1,"a"])"));
  const auto alone = walk_factory().json_schema(
      R"({"type": "array", "if": {"contains": {"const": "a"}}, "unevaluatedItems": false})");
  for (const char* text : {"[]", R"(["a","a"])"}) EXPECT_TRUE(lets_through(*alone, text)) << text;
  for (const char* text : {R"(["b"])", R"(["a","b"])"})
    EXPECT_FALSE(lets_through(*alone, text)) << text;
}

/// In draft 4 an integer is written without a point, so a listed 1.0 is written as 1, which is
/// equal to it; later 1.0 is an integer.
TEST(JsonSchemaConstraint, IntegersOfDraft4) {
  const std::string listed = R"("type": ["integer", "string"], "enum": [1.0, 2, "a"]})";
  const auto lets = [&](const char* draft, const char* text) {
    return lets_through(
        *walk_factory().json_schema(
            fmt::format(R"({{"$schema": "http://json-schema.org/{}/schema#", )", draft) + listed),
        text);
  };
  EXPECT_TRUE(lets("draft-07", "1.0"));
  EXPECT_FALSE(lets("draft-04", "1.0"));
  EXPECT_TRUE(lets("draft-04", "1"));
  for (const char* draft : {"draft-04", "draft-07"}) {
    EXPECT_TRUE(lets(draft, "2"));
    EXPECT_TRUE(lets(draft, "\"a\""));
  }
  const auto draft_4 = [](const std::string& rest) {
    return walk_factory().json_schema(R"({"$schema": "http://json-schema.org/draft-04/schema#", )" +
                                      rest + "}");
  };
  const auto inside = draft_4(R"("type": "array", "items": {"type": "integer"},
                                 "enum": [[1.0, -2.0], [1.5], [3]])");
  EXPECT_TRUE(lets_through(*inside, "[1,-2]"));
  EXPECT_TRUE(lets_through(*inside, "[3]"));
  EXPECT_FALSE(lets_through(*inside, "[1.5]"));
  const auto number = draft_4(R"("type": "number", "enum": [1.5, 2.0])");
  EXPECT_TRUE(lets_through(*number, "1.5"));
  EXPECT_TRUE(lets_through(*number, "2"));
  const auto referred =
      draft_4(R"("type": "object", "required": ["a"], "additionalProperties": false,
      "properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"type": "integer", "enum": [4.0]}})");
  EXPECT_TRUE(lets_through(*referred, R"({"a":4})"));
  EXPECT_THROW(draft_4(R"("type": "integer", "enum": [1.5])"), UsageError);
}

TEST(JsonSchemaConstraint, LeapSeconds) {
  const auto check = [](const char* format, std::vector<const char*> right,
                        std::vector<const char*> wrong) {
    const auto constraint =
        walk_factory().json_schema(fmt::format(R"({{"type": "string", "format": "{}"}})", format));
    for (const char* text : right)
      EXPECT_TRUE(lets_through(*constraint, fmt::format("\"{}\"", text))) << text;
    for (const char* text : wrong)
      EXPECT_FALSE(lets_through(*constraint, fmt::format("\"{}\"", text))) << text;
  };
  check("time",
        {"23:59:60Z", "23:59:60.125z", "23:59:60+00:00", "23:59:60-00:00", "01:29:60+01:30",
         "23:29:60+23:30", "15:59:60-08:00", "00:29:60-23:30", "05:44:60+05:45", "23:59:59Z"},
        {"22:59:60Z", "23:58:60Z", "23:59:61Z", "22:59:60+00:00", "23:58:60+00:00",
         "23:59:60+01:00", "23:59:60+00:30", "23:59:60-01:00", "23:59:60-00:30", "24:59:60+01:00"});
  check("date-time",
        {"1998-12-31T23:59:60Z", "2015-06-30t23:59:60.5z", "1998-12-31T15:59:60.123-08:00",
         "1999-01-01T00:59:60+01:00", "2015-07-01T05:29:60+05:30", "1998-12-31T23:59:60+00:00"},
        {"1998-12-31T23:59:61Z", "1998-12-31T23:58:60Z", "1998-12-31T22:59:60Z",
         "1998-11-30T23:59:60Z", "1999-01-01T23:59:60Z", "1998-12-31T00:59:60+01:00",
         "1999-01-01T15:59:60-08:00", "2016-12-31T24:59:60+01:00"});
}

/// Small schemas that would take minutes.
std::vector<std::string> bombs() {
  Json depend = {{"type", "object"}}, names = {{"type", "object"}};
  Json one = {{"oneOf", Json::array()}};
  for (int i = 0; i < 60; ++i) {
    const auto name = [](int of) { return "p" + std::to_string(of % 60); };
    depend["properties"][name(i)] = {{"type", "integer"}};
    depend["dependentRequired"][name(i)] = {name(i * 7 + 3), name(i * 11 + 5)};
    one["oneOf"].push_back(
        {{"type", "object"}, {"properties", {{name(i), {{"type", "integer"}}}}}});
  }
  for (int i = 0; i < 400; ++i)
    names["patternProperties"]["^k" + std::to_string(i) + "_"] = {{"minimum", i}};
  return {depend.dump(), names.dump(), one.dump(),
          R"({"type": "string", "not": {"pattern": "^(a|b)*a(a|b){22}$"}})",
          R"({"type": "string", "pattern": "(?i)^([\\p{L}]{1,99}-?){1,99}$"})"};
}

TEST(JsonSchemaConstraint, WorkIsBounded) {
  constexpr uint64_t kLimit = 12'000'000, kPiece = 1'000'000, kMemory = uint64_t{256} << 20;
  std::string refusals;
  for (const std::string& schema : bombs()) {
    const WorkScope work(kLimit, kMemory, "too much work");
    try {
      schema_grammar(schema);
    } catch (const UsageError& error) {
      refusals += error.what() + std::string("\n");
    }
    EXPECT_LE(work.steps(), kLimit + kPiece) << schema;
    EXPECT_GT(work.steps(), 0u) << schema;
    EXPECT_GT(work.bytes(), 0u) << schema;
  }
  EXPECT_NE(refusals.find("too much work"), std::string::npos) << refusals;
}

TEST(JsonSchemaConstraint, LongListsOfNamesTakeLinearTime) {
  constexpr int kMany = 60'000;
  Json names = Json::array();
  for (int i = 0; i < kMany; ++i) names.push_back("n" + std::to_string(i));
  Json halves = {{"type", "object"}, {"allOf", Json::array()}}, flags = {{"type", "object"}};
  for (const int begin : {0, kMany / 2}) {
    const auto from = names.begin() + begin;
    halves["allOf"].push_back({{"required", Json(Json::array_t(from, from + kMany / 2))}});
  }
  for (int i = 0; i < 6000; ++i) flags["n" + std::to_string(i)] = 1;
  const std::vector<Json> schemas = {
      {{"type", "object"}, {"required", names}},
      {{"type", "object"}, {"dependentRequired", {{"a", names}}}},
      {{"const", {{"a", 1}}}, {"dependentRequired", {{"a", names}}}},
      {{"type", "object"}, {"not", {{"required", names}}}, {"required", names}},
      {{"enum", {flags}}, {"required", names}},
      {{"allOf", {{{"const", flags}}, {{"const", flags}}}}},
      halves};
  for (const Json& schema : schemas) {
    const std::clock_t begin = std::clock();
    const std::string error = schema_error(schema.dump());
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 4) << schema.dump().substr(0, 60) << ": " << error;
  }
}

TEST(JsonSchemaConstraint, RefusesWhatTakesTooMuchWork) {
  try {
    walk_factory().json_schema(bombs()[0]);
    FAIL() << "it was compiled";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("takes too much work"), std::string::npos)
        << error.what();
  }
}

TEST(JsonSchemaConstraint, MemoryIsBounded) {
  for (const std::string& schema : bombs()) {
    const WorkScope work(uint64_t{1} << 40, 1 << 20, "too much memory");
    try {
      schema_grammar(schema);
      FAIL() << schema;
    } catch (const UsageError& error) {
      EXPECT_STREQ(error.what(), "too much memory") << schema;
    }
  }
}

/// A size of the process in bytes: VmRSS, VmHWM.
size_t resident(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::stoull(line.substr(line.find(':') + 1)) << 10;
  return 0;
}

/// Compiles the schema, which takes too much, so often at once; the memory that took, in bytes.
size_t memory_of_compiles(const std::string& schema, unsigned times) {
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM begins anew
  const size_t before = resident("VmRSS");
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < times; ++i)
    threads.emplace_back([&] { EXPECT_THROW(walk_factory().json_schema(schema), UsageError); });
  for (std::thread& thread : threads) thread.join();
  return resident("VmHWM") - before;
}

TEST(JsonSchemaConstraint, ManyAtOnceTakeBoundedMemorySlow) {
  if (!counts_heap_calls()) GTEST_SKIP() << "a sanitizer keeps what is freed";
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const std::string schema = bombs()[0];
  const size_t one = memory_of_compiles(schema, 1);
  EXPECT_GT(one, size_t{10} << 20);
  EXPECT_LT(memory_of_compiles(schema, 5 * cores), 3 * cores * one);
}

TEST(ConstraintFactory, WaitsForAPlaceUnlessTheClientIsGone) {
  ConstraintFactory& factory = walk_factory();
  const std::string known = R"({"type": "null"})", fresh = R"({"type": "null", "title": "gate"})";
  factory.json_schema(known);
  std::list<Gate::Pass> all;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
    all.emplace_back(ConstraintFactory::compile_gate());
  EXPECT_NE(factory.json_schema(known), nullptr);
  {
    const StopScope scope([] { return true; });
    EXPECT_THROW(factory.json_schema(fresh), Stopped);
  }
  std::atomic<bool> made = false;
  std::thread waiting([&] {
    factory.json_schema(fresh);
    made = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(made);
  all.pop_back();
  waiting.join();
  EXPECT_TRUE(made);
}

TEST(JsonObjectConstraint, RandomWalksAreObjects) {
  const auto constraint = walk_factory().json_object();
  size_t longest = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const std::string text = random_walk(*constraint->clone(), seed, static_cast<int>(seed));
    ASSERT_TRUE(is_utf8(text)) << text;
    const Json value = Json::parse(text, nullptr, false);
    ASSERT_TRUE(value.is_object()) << text;
    longest = std::max(longest, text.size());
  }
  EXPECT_GT(longest, 100u);
  EXPECT_TRUE(lets_through(*constraint, R"({"a": [1, {"b": null}], "": "x\\"})"));
  EXPECT_FALSE(lets_through(*constraint, "[]"));
  EXPECT_FALSE(lets_through(*constraint, "{}{}"));
}

TEST(JsonObjectConstraint, NestingEndsAtTheDepthLimit) {
  const auto constraint = walk_factory().json_schema("{\"type\": \"array\"}");
  int depth = 0;
  for (; depth < 1000; ++depth) {
    std::vector<float> logits(walk_tokens().size(), 0.0f);
    constraint->mask(logits);
    if (std::isinf(logits['['])) break;
    constraint->accept('[');
  }
  EXPECT_GT(depth, 30);
  EXPECT_LT(depth, 100);
  EXPECT_TRUE(lets_through(*constraint, std::string(static_cast<size_t>(depth), ']')));
}

TEST(RegexConstraint, RandomWalksMatch) {
  const std::vector<std::string> patterns = {"abc",
                                             "[a-z]+@[a-z]+\\.(com|org)",
                                             "(a|b)*c{2,3}",
                                             "\\d{3}-\\d{4}",
                                             "^(yes|no)$",
                                             "a?b*c+",
                                             "[^a-z\\s]{1,5}",
                                             "(ab|a)(bc|c)?",
                                             "x{0}y{2}",
                                             "(?:[0-9a-f]{2}:){3}[0-9a-f]{2}",
                                             "\\x41\\u0042[\\]\\-]",
                                             "a{,2}",
                                             "(red|green)( (red|green)){0,2}",
                                             "-?(0|[1-9]\\d*)(\\.\\d+)?",
                                             "[\\w-]+",
                                             "^a|b$"};
  for (const std::string& pattern : patterns) {
    const auto constraint = walk_factory().regex(pattern);
    const bool braces =
        pattern == "a{,2}";  // std::regex refuses what Python and ECMAScript read as text
    for (uint64_t seed = 0; seed < 100; ++seed) {
      const std::string text = random_walk(*constraint->clone(), seed, 30);
      if (text.starts_with("! no end")) continue;  // a loop that only chance ends
      ASSERT_TRUE(braces ? text == pattern
                         : std::regex_match(wide(text), std::wregex(wide(pattern))))
          << pattern << "\n"
          << text;
    }
  }
}

TEST(RegexConstraint, KnownTexts) {
  const auto passes = [](const char* pattern, const char* text) {
    return lets_through(*walk_factory().regex(pattern), text);
  };
  EXPECT_TRUE(passes("", ""));
  EXPECT_FALSE(passes("", "a"));
  EXPECT_TRUE(passes(".", "日"));
  EXPECT_TRUE(passes(".{3}", "a🦆é"));
  EXPECT_FALSE(passes(".", "\n"));
  EXPECT_TRUE(passes("[^x]", "\n"));
  EXPECT_TRUE(passes("[α-ω]+", "λογος"));
  EXPECT_FALSE(passes("[α-ω]+", "logos"));
  EXPECT_TRUE(passes("(a*)*", "aaa"));
  EXPECT_TRUE(passes("(a*b?)*c", "abbac"));
  EXPECT_TRUE(passes("a{2,}", "aaaa"));
  EXPECT_FALSE(passes("a{2,}", "a"));
  EXPECT_TRUE(passes("\\S\\D\\W", "xy-"));
  EXPECT_TRUE(passes("{a}", "{a}"));
  EXPECT_TRUE(passes("a*?b+?", "aab"));
  EXPECT_TRUE(passes("(?<year>\\d+)(?P<x>y)", "2024y"));
}

TEST(ChoiceConstraint, OnlyTheTexts) {
  const std::vector<std::string> texts = {"yes", "no", "yesterday", "non", "été"};
  const auto constraint = walk_factory().choice(texts);
  std::map<std::string, int> seen;
  for (uint64_t seed = 0; seed < 300; ++seed) ++seen[random_walk(*constraint->clone(), seed, 50)];
  EXPECT_EQ(seen.size(), texts.size());
  for (const std::string& text : texts) {
    EXPECT_GT(seen[text], 0) << text;
    EXPECT_TRUE(lets_through(*constraint, text));
  }
  EXPECT_FALSE(lets_through(*constraint, "ye"));
  EXPECT_FALSE(lets_through(*constraint, "yesno"));
}

TEST(ChoiceConstraint, ThousandsOfTexts) {
  std::vector<std::string> texts;
  std::string schema = "{\"enum\": [0";
  for (int i = 0; i < 5000; ++i) {
    texts.push_back("item number " + std::to_string(i * i));
    schema += ", \"" + texts.back() + "\"";
  }
  const auto choice = walk_factory().choice(texts);
  const auto listed = walk_factory().json_schema(schema + "]}");
  for (const std::string& text : texts) {
    ASSERT_TRUE(lets_through(*choice, text)) << text;
    ASSERT_TRUE(lets_through(*listed, "\"" + text + "\"")) << text;
  }
}

TEST(RegexConstraint, AHostilePatternHasBoundedMasks) {
  // Determinised it has 2^40 states; ambiguous nested repeats have as many places.
  for (const char* pattern :
       {"(a|b|[a-z ])*a[a-z ]{40}", "((a*)*b*)*c{3}", "(.?){2000}(a?){2000}"}) {
    const auto constraint = walk_factory().regex(pattern);
    // (Few tokens: each costs all that a mask may cost, and sanitizers make it thirty times that.)
    const std::string text = random_walk(*constraint->clone(), 1, 25);
    EXPECT_FALSE(text.starts_with("! nothing")) << text;
  }
}

TEST(AfterThinking, EverythingPassesUntilItIsClosed) {
  const auto inner = walk_factory().choice(std::vector<std::string>{"yes"});
  auto constraint = after_thinking(inner->clone(), walk_eos() + 1);
  const auto allowed = [&] {
    std::vector<float> logits(walk_tokens().size(), 0.0f);
    constraint->mask(logits);
    return std::count(logits.begin(), logits.end(), 0.0f);
  };
  EXPECT_EQ(allowed(), std::ssize(walk_tokens()));
  constraint->accept('n');
  const auto before = constraint->clone();
  constraint->accept(walk_eos() + 1);
  EXPECT_EQ(allowed(), 2);  // "y" and "yes"
  constraint->accept('y');
  EXPECT_EQ(allowed(), 1);
  constraint = before->clone();
  EXPECT_EQ(allowed(), std::ssize(walk_tokens())) << "the copy has not gone on";
  constraint = after_thinking(inner->clone(), 3, false);
  EXPECT_EQ(allowed(), 2);
}

TEST(Constraint, CopiesGoTheirOwnWayAndForbiddenTokensAreIgnored) {
  const auto constraint = walk_factory().regex("ab|ac");
  constraint->accept('x');
  constraint->accept(walk_eos());
  constraint->accept(-1);
  constraint->accept(100000);
  constraint->accept('a');
  const auto copy = constraint->clone();
  copy->accept('b');
  EXPECT_TRUE(lets_through(*constraint, "c"));
  EXPECT_TRUE(lets_through(*copy, ""));
  copy->accept(walk_eos());
  std::vector<float> logits(walk_tokens().size(), 0.0f);
  copy->mask(logits);
  EXPECT_EQ(std::count(logits.begin(), logits.end(), 0.0f), 1) << "only the end behind the end";
  EXPECT_EQ(logits[static_cast<size_t>(walk_eos())], 0);
}

TEST(Constraint, AVocabularyWithoutTheBytesEnds) {
  ConstraintFactory factory(std::vector<std::string>{"a", "b", ""}, {2});
  const auto constraint = factory.regex("abc");
  std::vector<float> logits(3);
  for (const int id : {0, 1}) {
    logits.assign(3, 0);
    constraint->mask(logits);
    EXPECT_EQ(std::count(logits.begin(), logits.end(), 0.0f), 1);
    constraint->accept(id);
  }
  logits.assign(3, 0);
  constraint->mask(logits);
  EXPECT_EQ(logits[2], 0) << "at least one token is allowed";
}

/// Every mask equals what the automaton says of each token alone, and survives a move.
void check_masks(Grammar grammar, const char* name) {
  const auto shared = std::make_shared<const Grammar>(std::move(grammar));
  const auto trie = std::make_shared<const TokenTrie>(walk_tokens());
  Automaton automaton(shared, trie), other(shared, trie);
  const RandomStream random(7, hash_name(name));
  for (uint64_t walk = 0; walk < 25; ++walk) {
    int32_t state = Automaton::kStart;
    for (uint64_t step = 0; step < 40; ++step) {
      const TokenMask& mask = automaton.mask(state);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < trie->vocab_size(); ++id) {
        const bool bit = (mask.bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
        const bool goes_on = !trie->bytes(id).empty() &&
                             automaton.advance(state, trie->bytes(id)) != Automaton::kDead;
        ASSERT_EQ(bit, goes_on) << name << " token " << id << " " << quote(trie->bytes(id));
        if (bit) allowed.push_back(id);
      }
      const int32_t moved = other.move_state(automaton, state);
      ASSERT_EQ(other.mask(moved).bits, mask.bits);
      ASSERT_EQ(other.mask(moved).complete, mask.complete);
      if (allowed.empty()) {
        ASSERT_TRUE(mask.complete);
        break;
      }
      const int32_t id = allowed[random.bits(walk * 1000 + step) % allowed.size()];
      state = automaton.advance(state, trie->bytes(id));
    }
  }
}

TEST(Automaton, MasksEqualEachTokenAlone) {
  for (const SchemaCase& one : schema_cases())
    check_masks(schema_grammar(one.schema), one.schema.c_str());
  // Where only some characters outside ASCII lead to where everything is free.
  for (const char* schema : {R"({"type": "string", "pattern": "^[^\u00e9\u4e2d].*$"})",
                             R"({"type": "string", "not": {"pattern": "^\u00e9"}})",
                             R"({"propertyNames": {"not": {"pattern": "^\u00e9"}}})",
                             R"({"type": "string", "pattern": "^[a-z\u0080-\uffff].*$"})",
                             R"({"properties": {"\u00e9": {"type": "null"}, "ab": true}})"})
    check_masks(schema_grammar(schema), schema);
  for (const char* pattern :
       {".{0,40}", "(.{3}){2}abc[a-z]*", "[^,]*,.*", "(.|ab){0,3}x", "[^\"]{5}|abcdefgh"}) {
    Grammar grammar;
    const Grammar::Rule rule = grammar.add_rule();
    add_regex(grammar, Regex::parse(pattern, "regex"), grammar.start(rule), grammar.end(rule));
    grammar.finish(rule);
    check_masks(std::move(grammar), pattern);
  }
}

TEST(JsonSchemaConstraint, ErrorsNameThePlace) {
  const auto has = [](const std::string& schema, const std::string& part) {
    const std::string error = schema_error(schema);
    EXPECT_NE(error.find(part), std::string::npos) << schema << "\n" << error;
  };
  has(R"~({"type": "object", "properties": {"a": {"items": {"pattern": "(?<=a)"}}}})~",
      "schema #/properties/a/items: the pattern has look-behind");
  has(R"({"multipleOf": 0})", "\"multipleOf\": expected a number above 0");
  for (const char* limits :
       {R"("exclusiveMinimum": 0, "exclusiveMaximum": 1e-20)", R"("minimum": 1e300)",
        R"("maximum": -1e300)", R"("exclusiveMinimum": 5, "exclusiveMaximum": 5.000000000000001)"})
    has(fmt::format(R"({{"properties": {{"a": {{"type": "number", {}}}}}, "required": ["a"]}})",
                    limits),
        "no finite text fits it; schema #/properties/a: no number of at most 18 digits before the "
        "point and 17 behind it");
  has(R"({"multipleOf": "3"})", "\"multipleOf\": expected");
  has(R"({"multipleOf": 7, "minimum": 1, "maximum": 5, "type": "number"})", "no finite text");
  has(R"({"type": "object", "minProperties": 2})", "a name that is not listed may come twice");
  has(R"({"type": "object", "properties": {"a": true}, "minProperties": 2, "additionalProperties": false})",
      "no finite text");
  has(R"({"type": "object", "properties": {"a": true}, "required": ["a"], "maxProperties": 0})",
      "no finite text");
  has(R"({"maxProperties": 1.5})", "\"maxProperties\": expected a whole number");
  has(R"({"allOf": [{"type": "null"}, {"type": "string"}]})", "no finite text");
  has(R"({"type": "object", "allOf": [{"properties": {"a": true}, "required": ["a"]}, {"properties": {"a": false}}]})",
      "no finite text");
  has(R"({"anyOf": [{"$ref": "#"}], "minLength": 1})", "refers to itself");
  has(R"({"allOf": [{"$ref": "#"}, {"minLength": 1}]})", "refers to itself");
  has(R"({"type": "strin"})", "\"type\": expected");
  has(R"({"$ref": "http://x/y"})", "leads out of the schema, which is not supported; expected #/");
  has(R"({"$ref": "#/$defs/none"})", "leads nowhere");
  has(R"({"$ref": "#none"})", "leads nowhere");
  has(R"({"$ref": "#"})", "refers to itself");
  has(R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "refers to itself");
  has(R"({"$dynamicRef": "#a", "$defs": {"x": {"$id": "x", "$dynamicAnchor": "a"}, "y": {"$id": "y", "$dynamicAnchor": "a"}}})",
      "\"$dynamicRef\"");
  has(R"({"$schema": "http://json-schema.org/draft-03/schema#"})", "draft-03 is not supported");
  has(R"({"type": "array", "items": {"$ref": "#"}, "minItems": 1})", "no finite text");
  has(R"({"type": "integer", "minimum": 3, "maximum": 2})", "no finite text");
  has(R"({"type": "string", "minLength": 3, "maxLength": 2})", "no finite text");
  has(R"({"type": "string", "minLength": 70000})", "\"minLength\": expected at most 65536");
  has(R"({"type": "string", "maxLength": -1})", "\"maxLength\": expected a whole number");
  has(R"({"type": "array", "uniqueItems": true})", "\"uniqueItems\" is supported where");
  has(R"({"enum": []})", "\"enum\": expected");
  has(R"({"enum": [1], "minimum": 2})", "no finite text");
  has(R"({"not": true})", "no finite text");
  has(R"({"not": {"type": "array", "uniqueItems": true}})", "exact opposite");
  has(R"({"type": "string", "not": {"format": "email"}})", "exact opposite");
  // What only our narrowing of a format makes disjoint may overlap.
  has(R"({"oneOf": [{"const": "12:00:00.0123456789Z"}, {"type": "string", "format": "time"}]})",
      "exact opposite");
  has(R"([1])", "expected a schema");
  has(R"({"type": )", "not valid JSON");
  has(std::string(200, '[') + std::string(200, ']'), "nested deeper");
  has(R"({"properties": {"a": {"maxLength": 60000}, "b": {"maxLength": 60001}, "c": {"maxLength": 60002},
        "d": {"maxLength": 60003}}})",
      "too large");
}

TEST(JsonSchemaConstraint, ManyCombinationsEnd) {
  // However the schemas refer to each other.
  std::string many = R"({"$defs": {"n": {"anyOf": [{"$ref": "#/$defs/m"}, {"$ref": "#/$defs/m"}]},
    "m": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "oneOf": [{"type": "string"})";
  for (int i = 0; i < 900; ++i) many += R"(, {"$ref": "#/$defs/n"})";
  EXPECT_NE(schema_error(many + "]}"), "none");
  std::string values = R"({"oneOf": [{"enum": [0)", others = R"(]}, {"enum": [-1)";
  for (int i = 1; i < 30000; ++i) {
    values += "," + std::to_string(i);
    others += "," + std::to_string(-i - 1);
  }
  EXPECT_NE(schema_error(values + others + "]}]}").find("too much work"), std::string::npos);
  std::string wide = R"({"type": "object", "allOf": [)";
  for (int i = 0; i < 40; ++i) {
    const std::string name = std::to_string(i);
    wide +=
        R"({"anyOf": [{"required": ["a)" + name + R"("]}, {"required": ["b)" + name + R"("]}]},)";
  }
  EXPECT_NE(schema_error(wide + "true]}").find("combinations"), std::string::npos);
  // A union of many kinds is none too many.
  std::string kinds = R"({"oneOf": [{"type": "null"})";
  for (int i = 0; i < 150; ++i)
    kinds += R"(, {"type": "object", "properties": {"kind": {"const": ")" + std::to_string(i) +
             R"("}}, "required": ["kind"]})";
  EXPECT_EQ(schema_error(kinds + "]}"), "none");
}

TEST(RegexConstraint, Assertions) {
  const auto passes = [](const char* pattern, const char* text) {
    return lets_through(*walk_factory().regex(pattern), text);
  };
  EXPECT_TRUE(passes("(?!ab)[a-z]{2}", "ac"));
  EXPECT_FALSE(passes("(?!ab)[a-z]{2}", "ab"));
  EXPECT_TRUE(passes("(?=.*\\d)[a-z0-9]{3}", "a1b"));
  EXPECT_FALSE(passes("(?=.*\\d)[a-z0-9]{3}", "abc"));
  EXPECT_TRUE(passes("\\bab\\b c", "ab c"));
  EXPECT_FALSE(passes("\\bab\\b c|x", "abx c"));
  EXPECT_TRUE(passes("a\\Bb", "ab"));
  EXPECT_TRUE(passes("(^a|b)c$", "ac"));
  EXPECT_FALSE(passes("x(^a|b)c", "xac"));
  EXPECT_TRUE(passes("(?i)abC[d-f]", "AbcE"));
  EXPECT_FALSE(passes("(?i:a)b", "AB"));
  EXPECT_FALSE(passes("(?i)[^a]", "A"));
  EXPECT_TRUE(passes("\\p{Lu}\\p{Ll}+", "Été"));
  EXPECT_FALSE(passes("\\p{Lu}", "é"));
  EXPECT_TRUE(passes("\\u{1F986}|\\ud83e\\udd86x", "🦆x"));
  EXPECT_FALSE(passes("\\S", "\xC2\xA0"));
  // pydantic's Decimal
  const char* decimal = "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$";
  for (const char* right : {"1", "-0.5", "+12.", ".5", "007"})
    EXPECT_TRUE(passes(decimal, right)) << right;
  for (const char* wrong : {"", "-", "+.", "1.2.3", "a"})
    EXPECT_FALSE(passes(decimal, wrong)) << wrong;
}

TEST(RegexConstraint, RefusesByName) {
  const auto has = [](const char* pattern, const char* part) {
    try {
      walk_factory().regex(pattern);
      ADD_FAILURE() << pattern;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  has("(?:(?!a).)*b", "repeats an assertion");
  has("(?<=a)", "look-behind");
  has("(a)\\1", "back-reference");
  has("(?m)a", "flag");
  has("\\p{Greek}", "the property");
  has("(a", "without its )");
  has("a)", "without its (");
  has("[a", "without its ]");
  has("*a", "repeat of nothing");
  has("a**", "repeat of a repeat");
  has("a++", "possessive");
  has("a{3,2}", "m above n");
  has("a{99999}", "a count above");
  has("^*a", "repeat of an assertion");
  has("a$b", "no finite text");
  has("((((a{999}){999}){999}){999})", "too large");
  has("(((){9999}){9999}){9999}", "too large");
  has("[z-a]", "backwards");
  has("[[:alpha:]]", "POSIX");
  has("\\ud800", "surrogate");
  has("\xC3", "UTF-8");
  has("a\\", "backslash at the end");
  has("[^\\s\\S]", "no finite text");
}

TEST(JsonForm, TextMarksAndSchemasOfTheirOwn) {
  // Two tokens of a vocabulary are marks; each schema's references begin in itself.
  const JsonForm form{
      .open = "<",
      .pieces = {{form_mark(0) + "a:" + kFormSpace,
                  R"({"$ref": "#/$defs/x", "$defs": {"x": {"const": 1}}})", form_mark(1)},
                 {"b=", R"({"$ref": "#/$defs/x", "$defs": {"x": {"const": 2}}})", ""}},
      .repeat = true,
      .between = ",",
      .close = ">"};
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 128; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.insert(tokens.end(), {form_mark(0), form_mark(1), ""});
  ConstraintFactory factory(tokens, {130});
  const auto fits = [&](const std::string& text) {  // M and W stand for the marks
    const auto constraint = factory.json_form(form);
    for (const char c : text + "\x7f") {
      const size_t id = c == 'M'      ? 128
                        : c == 'W'    ? 129
                        : c == '\x7f' ? 130
                                      : static_cast<size_t>(c);
      std::vector<float> logits(tokens.size(), 0.0f);
      constraint->mask(logits);
      if (std::isinf(logits[id])) return false;
      constraint->accept(static_cast<int32_t>(id));
    }
    return true;
  };
  for (const char* right : {"<Ma:1W>", "<Ma: 1W>", "<b=2>", "<Ma:1W,b=2,Ma:1W>"})
    EXPECT_TRUE(fits(right)) << right;
  for (const char* wrong :
       {"<>", "<Ma:2W>", "<b=1>", "<a:1>", "<b= 2>", "<b=2", "<b=2,>", "<b=2,,b=2>", "<Ma:1>"})
    EXPECT_FALSE(fits(wrong)) << wrong;
  try {
    factory.json_form({.pieces = {{.schema = R"({"$ref": "x"})", .name = "look"}}});
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("schema look#: the reference \"x\""),
              std::string::npos)
        << error.what();
  }
}

TEST(ConstraintFactory, RefusesSenselessInput) {
  EXPECT_THROW(ConstraintFactory(walk_tokens(), {}), UsageError);
  EXPECT_THROW(walk_factory().choice({}), UsageError);
  EXPECT_THROW(walk_factory().choice(std::vector<std::string>{"a", ""}), UsageError);
  EXPECT_THROW(walk_factory().choice(std::vector<std::string>{"\xC3"}), UsageError);
}

TEST(ConstraintFactory, SharesAVocabularyUnderAnotherEnd) {
  ConstraintFactory other(walk_factory(), {walk_eos() + 1, 'z'});
  const auto constraint = other.regex("z?");
  std::vector<float> logits(walk_tokens().size(), 0.0f);
  constraint->mask(logits);
  EXPECT_EQ(logits[static_cast<size_t>(walk_eos()) + 1], 0);
  EXPECT_TRUE(std::isinf(logits[static_cast<size_t>(walk_eos())]));
  constraint->accept('z');  // ends, and is not read as text
  constraint->accept('z');
  logits.assign(walk_tokens().size(), 0.0f);
  constraint->mask(logits);
  EXPECT_EQ(std::count(logits.begin(), logits.end(), 0.0f), 2);
}

TEST(ConstraintFactory, AGrownAutomatonIsReplaced) {
  const auto constraint = walk_factory().json_schema(R"({"type": "string", "minLength": 60000})");
  const auto behind = constraint->clone();
  constraint->accept('"');
  for (int i = 0; i < 59999; ++i) constraint->accept(i % 5 == 0 ? 'a' : 'b');
  EXPECT_FALSE(lets_through(*constraint, "\""));
  constraint->accept('c');
  EXPECT_TRUE(lets_through(*constraint, "\""));
  EXPECT_TRUE(lets_through(*constraint, "more\""));
  EXPECT_FALSE(lets_through(*behind, "\"\""));
}

TEST(ConstraintFactory, ThreadsMayShareOne) {
  ConstraintFactory factory(walk_tokens(), {walk_eos()});
  std::vector<std::string> want, got(64);
  for (uint64_t seed = 0; seed < got.size(); ++seed)
    want.push_back(random_walk(*walk_factory().json_object(), seed, 40));
  std::vector<std::thread> threads;
  for (uint64_t part = 0; part < 4; ++part)
    threads.emplace_back([&, part] {
      for (uint64_t seed = part; seed < got.size(); seed += 4)
        got[seed] = random_walk(*factory.json_object(), seed, 40);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, want);
}

TEST(ConstraintFactory, WorksWithATokenizer) {
  const Tokenizer& tokenizer = tiny_tokenizer();
  const int32_t eos = tokenizer.id("[unused10]").value();
  ConstraintFactory factory(tokenizer, {eos});
  const auto constraint = factory.json_schema(schema_cases()[0].schema);
  const RandomStream random(5, 5);
  for (uint64_t walk = 0; walk < 20; ++walk) {
    const auto state = constraint->clone();
    std::vector<int32_t> ids;
    for (uint64_t step = 0; step < 2000; ++step) {
      std::vector<float> logits(static_cast<size_t>(tokenizer.vocab_size()), 0.0f);
      state->mask(logits);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
        if (logits[static_cast<size_t>(id)] == 0) allowed.push_back(id);
      const int32_t quote_id = tokenizer.id("<0x22>").value();
      int32_t id = allowed[random.bits(walk * 5000 + step) % allowed.size()];
      if (step > 50 && logits[static_cast<size_t>(quote_id)] == 0) id = quote_id;
      ASSERT_TRUE(id == eos || !tokenizer.is_special(id));
      if (id == eos) break;
      ids.push_back(id);
      state->accept(id);
    }
    const std::string text = tokenizer.decode(ids);
    const Json value = Json::parse(text, nullptr, false);
    ASSERT_TRUE(value.is_object()) << text;
    const Json schema = Json::parse(schema_cases()[0].schema);
    EXPECT_EQ(schema_fault(schema, schema, value), "") << text;
  }
}

}  // namespace
}  // namespace um
