// Generators: every task, level and language against its checker, against Python, and against
// itself; splits.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "tasks/checker.h"
#include "tasks/questions.h"
#include "tasks/records.h"
#include "tests/text/peer_util.h"

namespace um {
namespace {

constexpr const char* kWordnet = "/usr/share/wordnet";

bool have_wordnet() {
  return std::filesystem::exists(std::filesystem::path(kWordnet) / "data.noun");
}

/// A few nouns and opposites where WordNet is not installed.
const TaskInputs& inputs() {
  static const TaskInputs real = [] {
    if (have_wordnet()) return load_inputs(all_tasks(), kWordnet);
    TaskInputs few;
    for (const char* word :
         {"robin", "oak", "hammer", "violin", "salmon", "emerald", "sonnet", "tango", "cello",
          "maple", "wrench", "trout", "ruby", "waltz", "ode", "eagle"})
      few.words.nouns.push_back(
          {word, std::string(word) + "kind", {std::string(word) + "kind"}, "x"});
    for (const char* word : {"hot", "big", "old", "wet", "loud", "rich", "tall", "hard"})
      few.words.opposites.push_back({word, std::string("un") + word});
    return few;
  }();
  return real;
}

Problem make(const Task& task, int level, Language language, uint64_t index, uint64_t seed = 1) {
  TaskRandom random(seed, task.name, level, index);
  return task.make(random, level, language, inputs());
}

Checker checker_of(const Problem& problem) {
  const Json answer = problem.call.is_null() ? Json(problem.answer) : Json(problem.call);
  return Checker::from_json(Json(problem.checker), answer, "test");
}

std::vector<SpokenCall> call_of(const Problem& problem, const std::string& name,
                                const Json& arguments) {
  if (problem.call.is_null()) return {};
  return {{name, arguments.dump()}};
}

template <class Use>
void for_every_problem(int count, Use use) {
  for (const Task& task : all_tasks())
    for (int level = 1; level <= kTaskLevels; ++level)
      for (const Language language : {Language::kEnglish, Language::kChinese})
        for (int i = 0; i < count; ++i)
          use(task, level, language, make(task, level, language, static_cast<uint64_t>(i)));
}

TEST(Tasks, CheckersAcceptTheAnswer) {
  for_every_problem(20, [](const Task& task, int level, Language language, const Problem& problem) {
    SCOPED_TRACE(fmt::format("{} {} {}\n{}\n{}", task.name, level, language_name(language),
                             problem.question, problem.steps));
    const Checker checker = checker_of(problem);
    if (!problem.call.is_null()) {
      const auto calls = call_of(problem, problem.call["name"], Json(problem.call["arguments"]));
      EXPECT_TRUE(checker.check({"", calls}).right);
      return;
    }
    for (const Strictness how : {Strictness::kLenient, Strictness::kStrict}) {
      EXPECT_TRUE(checker.check({problem.answer}, how).right);
      EXPECT_TRUE(checker.check({"The answer is " + problem.answer + "."}, how).right);
      EXPECT_TRUE(checker.check({"答案：" + problem.answer}, how).right);
      EXPECT_TRUE(checker.check({"So \\boxed{" + problem.answer + "}"}, how).right);
    }
    EXPECT_TRUE(problem.steps.ends_with(problem.answer));
    EXPECT_TRUE(checker.check({problem.steps}).right);
  });
}

/// Other answers that one could take for right ones.
std::vector<std::string> wrong_answers(const Problem& problem) {
  const std::string& answer = problem.answer;
  const std::string kind = problem.checker["kind"];
  std::vector<std::string> wrong = {"", "I do not know.", answer + " or 17171717",
                                    "The answer is " + answer + ". The answer is 31313131."};
  if (kind == "number") {
    if (answer != "0") wrong.insert(wrong.end(), {answer + "0", answer + "/7"});
    wrong.insert(wrong.end(),
                 {answer + ".5", "1" + answer, std::to_string(std::stoll(answer) + 1)});
    if (answer != "0") wrong.push_back(answer[0] == '-' ? answer.substr(1) : "-" + answer);
  } else if (kind == "text") {
    wrong.insert(wrong.end(), {answer + "x", answer + " " + answer, "x" + answer});
  } else if (kind == "list") {
    wrong.insert(wrong.end(), {answer + ", 4", "0, " + answer, answer + ", " + answer});
    if (const size_t comma = answer.find(", "); comma != std::string::npos)
      wrong.insert(wrong.end(), {answer.substr(comma + 2),
                                 answer.substr(comma + 2) + ", " + answer.substr(0, comma)});
  } else {
    wrong.insert(wrong.end(),
                 {answer + " + 1", "(" + answer, answer + " = 0", answer + " * (" + answer + ")",
                  problem.checker["target"].dump() + " + 0"});
  }
  return wrong;
}

TEST(Tasks, CheckersRefuseOtherAnswers) {
  for_every_problem(20, [](const Task& task, int level, Language, const Problem& problem) {
    SCOPED_TRACE(fmt::format("{} {}\n{}\n{}", task.name, level, problem.question, problem.answer));
    const Checker checker = checker_of(problem);
    if (problem.call.is_null()) {
      for (const std::string& wrong : wrong_answers(problem))
        for (const Strictness how : {Strictness::kLenient, Strictness::kStrict})
          EXPECT_FALSE(checker.check({wrong}, how).right) << wrong;
      return;
    }
    const std::string name = problem.call["name"];
    const Json arguments = problem.call["arguments"];
    Json other = arguments, more = arguments;
    other.begin().value() = "x";
    more["x"] = 1;
    for (const auto& calls :
         {call_of(problem, name, other), call_of(problem, name, more),
          call_of(problem, name, Json::object()), call_of(problem, name + "s", arguments),
          call_of(problem, name, name)})
      EXPECT_FALSE(checker.check({"", calls}).right);
    EXPECT_FALSE(checker.check({problem.answer}).right);
    std::vector<SpokenCall> twice(2, call_of(problem, name, arguments)[0]);
    EXPECT_FALSE(checker.check({"", twice}).right);
  });
}

TEST(Tasks, PythonComesToTheSameAnswers) {
  Json request = Json::array();
  std::vector<std::string> answers;
  for_every_problem(30, [&](const Task& task, int, Language language, const Problem& problem) {
    if (language != Language::kEnglish || task.needs_wordnet || task.name == "lookup") return;
    request.push_back(
        {{"task", task.name}, {"question", problem.question}, {"answer", problem.answer}});
    answers.push_back(problem.answer);
  });
  const auto reply = ask_python("../tasks/tasks_peer.py", request);
  if (!reply) GTEST_SKIP() << "no Python (set UM_PYTHON)";
  ASSERT_EQ(reply->size(), answers.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    const Json wanted = request[i]["task"] == "countdown" ? Json(true) : Json(answers[i]);
    EXPECT_EQ((*reply)[i], wanted) << request[i];
  }
}

/// The same problems in both languages, where these are no matter of words.
TEST(Tasks, LanguagesAskTheSame) {
  for (const Task& task : find_tasks({"addition", "multiplication", "chain", "precedence",
                                      "sort_numbers", "countdown", "calculator"}))
    for (int level = 1; level <= kTaskLevels; ++level) {
      const Problem en = make(task, level, Language::kEnglish, 3),
                    zh = make(task, level, Language::kChinese, 3);
      EXPECT_EQ(en.answer, zh.answer);
      EXPECT_TRUE(task.calls_tools || en.key == zh.key);
      EXPECT_NE(en.question, zh.question);
    }
}

/// The work grows with the level.
TEST(Tasks, LevelsGetLonger) {
  for (const Task& task : all_tasks()) {
    size_t before = 0;
    for (int level = 1; level <= kTaskLevels; ++level) {
      size_t length = 0;
      for (uint64_t i = 0; i < 50; ++i) {
        const Problem problem = make(task, level, Language::kEnglish, i);
        length +=
            problem.question.size() + (problem.tools.is_null() ? 0 : problem.tools.dump().size());
      }
      const bool same = task.name == "lookup" && level <= 2;  // as many tools
      EXPECT_TRUE(same || length > before) << task.name << level;
      before = length;
    }
  }
}

uint64_t fingerprint(std::string_view task, int level) {
  const Task one = find_tasks({std::string(task)})[0];
  std::string text;
  for (uint64_t i = 0; i < 20; ++i) {
    const Problem problem = make(one, level, Language::kEnglish, i, 7);
    text += problem.question + problem.steps + problem.answer;
  }
  return hash_name(text);
}

/// Problems are pure functions of seed, task, level and index: on every machine, for ever. Data
/// sets that were made must be made again, so a change here is a change that users notice.
TEST(Tasks, ProblemsStayWhatTheyAre) {
  EXPECT_EQ(fingerprint("addition", 3), 2322588591230861698U);
  EXPECT_EQ(fingerprint("countdown", 4), 10430854862137232623U);
  EXPECT_EQ(fingerprint("truth_tellers", 5), 4519522276999946828U);
  EXPECT_EQ(fingerprint("precedence", 2), 11401675954488134929U);
}

RecordOptions options_with(const std::vector<std::string>& tasks, Split split, uint64_t seed,
                           int64_t count) {
  return {.tasks = find_tasks(tasks), .count = count, .seed = seed, .split = split};
}

TEST(Tasks, SplitsNeverOverlap) {
  const std::vector<std::string> tasks = {"addition", "multiplication", "countdown", "reverse",
                                          "ordering", "calculator",     "sort_words"};
  std::set<std::string> seen[3];
  for (const Split split : {Split::kTrain, Split::kValid, Split::kTest})
    for (const uint64_t seed : {1, 2}) {
      RecordOptions options = options_with(tasks, split, seed, 20);
      options.first_level = 2, options.last_level = 3;
      options.languages = {Language::kEnglish, Language::kChinese};
      make_records(options, inputs(), [&](std::string_view line) {
        const Json record = Json::parse(line);
        seen[static_cast<int>(split)].insert(record["messages"][0]["content"].get<std::string>());
      });
    }
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < a; ++b)
      for (const std::string& question : seen[a])
        EXPECT_FALSE(seen[b].contains(question)) << question;
  EXPECT_GT(seen[2].size(), 700U);
}

/// 2 * 3 and 3 * 2 are one problem.
TEST(Tasks, OrderDoesNotMakeAProblemNew) {
  const Task task = find_tasks({"multiplication"})[0];
  std::map<std::string, Split> splits;
  for (uint64_t i = 0; i < 500; ++i) {
    const Problem problem = make(task, 1, Language::kEnglish, i);
    const auto [at, added] = splits.emplace(problem.key, split_of(task.name, problem));
    EXPECT_EQ(at->second, split_of(task.name, problem));
  }
  EXPECT_EQ(splits.size(), 36U);  // pairs of 2 to 9
}

TEST(Tasks, RepeatsAreTold) {
  RecordOptions options = options_with({"multiplication"}, Split::kTrain, 1, 60);
  options.last_level = 1;
  std::set<std::string> keys;
  const RecordCount count = make_records(options, inputs(), [&](std::string_view line) {
    keys.insert(Json::parse(line)["messages"][0]["content"].get<std::string>());
  });
  EXPECT_EQ(count.records, 60);
  ASSERT_EQ(count.notes.size(), 1U);
  EXPECT_NE(count.notes[0].find("of 60 repeat one"), std::string::npos) << count.notes[0];
  options.count = 20;
  EXPECT_TRUE(make_records(options, inputs(), [](std::string_view) {}).notes.empty());
}

TEST(Tasks, RecordsHaveTheFormsOfChats) {
  RecordOptions options = options_with({"addition", "calculator"}, Split::kTest, 5, 1);
  options.modes = {"slow", "fast"};
  options.first_level = options.last_level = 3;
  std::vector<Json> records;
  make_records(options, inputs(),
               [&](std::string_view line) { records.push_back(Json::parse(line)); });
  ASSERT_EQ(records.size(), 4U);
  const Json& slow = records[0]["messages"][1];
  EXPECT_EQ(records[0]["mode"], "slow");
  EXPECT_EQ(slow["content"], records[0]["answer"]);
  EXPECT_NE(slow["reasoning_content"].get<std::string>().find("carry"), std::string::npos);
  EXPECT_EQ(records[1]["mode"], "fast");
  EXPECT_FALSE(records[1]["messages"][1].contains("reasoning_content"));
  EXPECT_EQ(records[1]["messages"][0], records[0]["messages"][0]);
  const Json& called = records[2]["messages"];
  ASSERT_EQ(called.size(), 4U);
  EXPECT_EQ(called[1]["tool_calls"][0]["function"]["name"], "calculator");
  EXPECT_EQ(Json::parse(called[1]["tool_calls"][0]["function"]["arguments"].get<std::string>()),
            records[2]["answer"]["arguments"]);
  EXPECT_EQ(called[2]["role"], "tool");
  EXPECT_EQ(called[2]["tool_call_id"], called[1]["tool_calls"][0]["id"]);
  EXPECT_EQ(records[2]["tools"].size(), 2U);
  options.tasks = find_tasks({"addition"});
  options.form = RecordForm::kPrompt;
  records.clear();
  make_records(options, inputs(),
               [&](std::string_view line) { records.push_back(Json::parse(line)); });
  const std::string answer = records[0]["answer"];
  EXPECT_TRUE(records[0]["prompt"].get<std::string>().ends_with("\nAnswer:"));
  EXPECT_TRUE(records[0]["completion"].get<std::string>().ends_with("\nThe answer is " + answer));
  EXPECT_EQ(records[1]["completion"], " " + answer);
}

TEST(Tasks, NamesThatDoNotExist) {
  const auto message = [](const std::vector<std::string>& names) -> std::string {
    try {
      find_tasks(names);
    } catch (const UsageError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_NE(message({"additon"}).find("did you mean addition?"), std::string::npos);
  EXPECT_EQ(find_tasks({"all"}).size(), all_tasks().size());
  EXPECT_THROW(load_inputs(all_tasks(), "/nonexistent"), Error);
}

}  // namespace
}  // namespace um
