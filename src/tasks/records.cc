// See records.h.
#include "tasks/records.h"

#include "core/error.h"
#include "core/keyed_hash.h"

namespace um {
namespace {

using OrderedJson = nlohmann::ordered_json;

/// In a row without a new problem of the split: then there are no others, or hardly any.
constexpr int64_t kMostMisses = 2000;
/// A draw for each record that may repeat, and more where few problems are in the split.
constexpr uint64_t kMostDraws = 100'000;

OrderedJson message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

/// Question, call, result and answer, or question and answer; thinking in front where it is slow.
OrderedJson messages_of(const Problem& problem, bool slow) {
  OrderedJson messages = OrderedJson::array({message("user", problem.question)});
  OrderedJson first = {{"role", "assistant"}};
  if (slow) first["reasoning_content"] = problem.steps;
  if (problem.call.is_null()) {
    first["content"] = problem.answer;
    messages.push_back(std::move(first));
    return messages;
  }
  const std::string id = "call_1";
  OrderedJson function = problem.call;
  function["arguments"] = function["arguments"].dump();
  first["content"] = nullptr;
  first["tool_calls"] =
      OrderedJson::array({{{"id", id}, {"type", "function"}, {"function", std::move(function)}}});
  messages.push_back(std::move(first));
  messages.push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", problem.result}});
  messages.push_back(message("assistant", problem.answer));
  return messages;
}

/// Behind base_prompt(): with the steps, the answer is marked.
std::string completion_of(const Problem& problem, Language language, bool slow) {
  if (!slow) return " " + problem.answer;
  return say(language, " {}\nThe answer is {}", " {}\n答案是{}", problem.steps, problem.answer);
}

}  // namespace

Split parse_split(std::string_view name) {
  if (name == "train") return Split::kTrain;
  if (name == "valid") return Split::kValid;
  if (name == "test") return Split::kTest;
  throw UsageError(fmt::format("--split {}: expected train, valid or test", name));
}

Split split_of(std::string_view task, const Problem& problem) {
  const uint64_t tenth = mix64(hash_name(task) ^ mix64(hash_name(problem.key))) % 10;
  return tenth == 0 ? Split::kTest : tenth == 1 ? Split::kValid : Split::kTrain;
}

std::vector<Drawn> draw_problems(const Task& task, int level, Language language,
                                 const RecordOptions& options, const TaskInputs& inputs,
                                 int64_t& repeats) {
  std::vector<Drawn> drawn;
  NameSet known;
  int64_t misses = 0;
  for (uint64_t index = 0; std::ssize(drawn) < options.count; ++index) {
    UM_CHECK(!drawn.empty() || index < kMostDraws,
             "{} level {}: no problem of this split among {} draws", task.name, level, kMostDraws);
    TaskRandom random(options.seed, task.name, level, index);
    Problem problem = task.make(random, level, language, inputs);
    if (split_of(task.name, problem) != options.split) continue;
    const bool is_new = known.insert(problem.key).second;
    if (!is_new && ++misses <= kMostMisses) continue;
    if (is_new) misses = 0;
    repeats += is_new ? 0 : 1;
    drawn.push_back({index, std::move(problem)});
  }
  return drawn;
}

OrderedJson make_record(const Task& task, int level, Language language, const Drawn& drawn,
                        const RecordOptions& options, std::string_view mode) {
  const Problem& problem = drawn.problem;
  const bool slow = mode == "slow";
  OrderedJson record = {
      {"id", fmt::format("{}-{}-{}-{}-{}-{}", task.name, level, language_name(language),
                         options.seed, drawn.index, mode)},
      {"task", task.name},
      {"level", level},
      {"language", language_name(language)},
      {"mode", mode}};
  if (options.form == RecordForm::kMessages) {
    record["messages"] = messages_of(problem, slow);
    if (!problem.tools.is_null()) record["tools"] = problem.tools;
  } else {
    record["prompt"] = base_prompt(problem.question, language);
    record["completion"] = completion_of(problem, language, slow);
  }
  record["answer"] = problem.call.is_null() ? OrderedJson(problem.answer) : problem.call;
  record["checker"] = problem.checker;
  return record;
}

RecordCount make_records(const RecordOptions& options, const TaskInputs& inputs,
                         const std::function<void(std::string_view line)>& write) {
  RecordCount count;
  for (const Task& task : options.tasks)
    for (int level = options.first_level; level <= options.last_level; ++level)
      for (const Language language : options.languages) {
        int64_t repeats = 0;
        for (const Drawn& drawn : draw_problems(task, level, language, options, inputs, repeats))
          for (const std::string& mode : options.modes) {
            write(make_record(task, level, language, drawn, options, mode).dump() + "\n");
            ++count.records;
          }
        if (repeats > 0)
          count.notes.push_back(fmt::format(
              "{} level {} ({}): this split has about {} problems; {} of {} repeat one", task.name,
              level, language_name(language), options.count - repeats, repeats, options.count));
      }
  return count;
}

std::string base_prompt(std::string_view question, Language language) {
  return say(language, "Question: {}\nAnswer:", "问题：{}\n答案：", question);
}

}  // namespace um
