// See eval_tasks.h.
#include "cli/eval_tasks.h"

#include <algorithm>
#include <map>

#include "cli/input.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "core/output_file.h"
#include "engine/generator.h"
#include "engine/score.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/model_texts.h"
#include "post/ask.h"
#include "tasks/report.h"
#include "text/chat.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr int64_t kDefaultMaxTokens = 512;
constexpr size_t kShownSamples = 4;  // of a task, level and mode, in the report

/// One question in one mode, and its samples.
struct Asked {
  const Question* question;
  std::string mode;  // as the results name it
  std::vector<std::shared_ptr<const Answered>> answers = {};
};

/// One text of multiple choice.
struct Scored {
  std::shared_ptr<TokenScores> scores;
  size_t prompt_tokens;
};

class NoTokens : public RequestSink {
 public:
  size_t on_tokens(std::span<const TokenOutput>) override { return 0; }
  void on_finish(FinishReason, const RequestStats&, std::string_view) override {}
};

/// The modes in which a question is asked.
std::vector<std::string> modes_of(const Question& question, const TaskFlags& flags) {
  return flags.modes.empty() ? std::vector<std::string>{question.mode} : flags.modes;
}

class Run {
 public:
  Run(const std::vector<Question>& questions, const TaskFlags& flags, const AskOptions& options,
      const Tokenizer& tokenizer, Engine& engine, const fs::path& directory)
      : questions_(questions),
        flags_(flags),
        options_(options),
        tokenizer_(tokenizer),
        engine_(engine),
        asker_(engine, tokenizer, directory),
        seed_(flags.sampling.resolve_seed()) {}

  bool base() const { return asker_.base(); }
  uint64_t seed() const { return seed_; }

  void ask_all() {
    for (size_t i = 0; i < questions_.size(); ++i) {
      const Question& question = questions_[i];
      if (!question.choices.empty()) {
        ask_choices(question);
        continue;
      }
      for (const std::string& mode : modes_of(question, flags_)) {
        const Asker::Prompt prompt = asker_.prompt(question, mode);
        Asked asked{&question, mode.empty() ? "default" : mode};
        for (int64_t s = 0; s < flags_.samples; ++s)
          asked.answers.push_back(
              asker_.ask(prompt, mix64(seed_ + i) + static_cast<uint64_t>(s), options_));
        requests_ += std::ssize(asked.answers);
        asked_.push_back(std::move(asked));
      }
    }
    Progress line;
    while (engine_.step()) {
      if (!line.due()) continue;
      const EngineStats now = engine_.stats();
      line.show(fmt::format("{} of {} answers, {} tokens/s  {}", digits(now.finished),
                            digits(requests_),
                            short_count(static_cast<double>(now.generated_tokens) / line.seconds()),
                            eta_text(line.seconds(), static_cast<double>(now.finished),
                                     static_cast<double>(requests_))));
    }
    seconds_ = line.seconds();
  }

  double seconds() const { return seconds_; }

  /// What became of each question; `record` takes a line for each sample.
  template <class Record>
  std::vector<ProblemResult> grade(Record record) const {
    std::vector<ProblemResult> results;
    for (const Asked& asked : asked_) results.push_back(grade_samples(asked, record));
    for (const auto& [question, choices] : scored_)
      for (const bool per_byte : {false, true})
        results.push_back(grade_choices(*question, choices, per_byte, record));
    return results;
  }

 private:
  void ask_choices(const Question& question) {
    const std::vector<int32_t> prompt = encode_prompt(tokenizer_, question.base_prompt);
    std::vector<Scored> scored;
    for (const std::string& choice : question.choices) {
      const auto ids = encode_prompt(tokenizer_, question.base_prompt + " " + choice);
      UM_CHECK(std::ssize(ids) < engine_.options().context,
               "{}: a question and choice of {} tokens, the context has {}", question.id,
               ids.size(), engine_.options().context);
      // What the choice changes: the space may belong to its first token.
      const auto [own, ignored] =
          std::mismatch(ids.begin(), ids.end(), prompt.begin(), prompt.end());
      scored.push_back({std::make_shared<TokenScores>(engine_.model(), ids, 0),
                        static_cast<size_t>(own - ids.begin())});
      engine_.submit({.prompt = ids, .reader = scored.back().scores}, std::make_shared<NoTokens>());
    }
    requests_ += std::ssize(scored);
    scored_.emplace_back(&question, std::move(scored));
  }

  static OrderedJson line_of(const Question& question, const std::string& mode) {
    return {{"id", question.id},
            {"task", question.task},
            {"level", question.level},
            {"mode", mode},
            {"question", question.messages.back()["content"]},
            {"answer", question.answer}};
  }

  template <class Record>
  ProblemResult grade_samples(const Asked& asked, Record& record) const {
    const Question& question = *asked.question;
    ProblemResult result{.task = question.task, .level = question.level, .mode = asked.mode};
    for (const auto& answer : asked.answers) {
      if (answer->reason == FinishReason::error) fail("{}: {}", question.id, answer->text);
      const Verdict verdict =
          question.checker.check({answer->text, answer->calls},
                                 flags_.strict ? Strictness::kStrict : Strictness::kLenient);
      OrderedJson line = line_of(question, asked.mode);
      line["sample"] = result.samples;
      line["right"] = verdict.right;
      line["reason"] = verdict.reason;
      line["text"] = answer->text;
      if (!answer->reasoning.empty()) line["reasoning"] = answer->reasoning;
      for (const SpokenCall& call : answer->calls)
        line["calls"].push_back({{"name", call.name}, {"arguments", call.arguments}});
      line["tokens"] = answer->tokens;
      line["finish_reason"] = finish_reason_name(answer->reason);
      record(std::move(line));
      ++result.samples;
      result.right += verdict.right ? 1 : 0;
      result.tokens += answer->tokens;
      result.cut += answer->cut() ? 1 : 0;
    }
    return result;
  }

  template <class Record>
  ProblemResult grade_choices(const Question& question, const std::vector<Scored>& choices,
                              bool per_byte, Record& record) const {
    std::vector<double> likelihoods;
    int64_t tokens = 0;
    for (size_t c = 0; c < choices.size(); ++c) {
      double sum = 0;
      const auto& scores = choices[c].scores->scores();
      for (size_t i = choices[c].prompt_tokens; i < scores.size(); ++i)
        sum += static_cast<double>(scores[i].logprob), ++tokens;
      likelihoods.push_back(per_byte ? sum / static_cast<double>(question.choices[c].size()) : sum);
    }
    const auto best = std::max_element(likelihoods.begin(), likelihoods.end());
    const auto chosen = static_cast<size_t>(best - likelihoods.begin());
    const bool right = chosen == question.right_choice;
    const std::string mode = per_byte ? "likelihood/byte" : "likelihood";
    OrderedJson line = line_of(question, mode);
    line["right"] = right;
    line["reason"] = right ? "right" : "wrong";
    line["text"] = question.choices[chosen];
    line["likelihoods"] = likelihoods;
    record(std::move(line));
    return {.task = question.task,
            .level = question.level,
            .mode = mode,
            .samples = 1,
            .right = right ? 1 : 0,
            .tokens = tokens / std::ssize(choices)};
  }

  const std::vector<Question>& questions_;
  const TaskFlags& flags_;
  AskOptions options_;
  const Tokenizer& tokenizer_;
  Engine& engine_;
  Asker asker_;
  uint64_t seed_;
  std::vector<Asked> asked_;
  std::vector<std::pair<const Question*, std::vector<Scored>>> scored_;
  int64_t requests_ = 0;
  double seconds_ = 0;
};

/// Everything may wait at once.
EngineOptions engine_options(const std::vector<Question>& questions, const TaskFlags& flags) {
  int64_t requests = 0;
  for (const Question& one : questions)
    requests += one.choices.empty() ? flags.samples * std::max<int64_t>(1, std::ssize(flags.modes))
                                    : std::ssize(one.choices);
  return {.cache_type = cache_type_of(flags.cache_dtype), .max_queue = requests};
}

/// How the questions are asked.
std::string form_of(bool base, const std::vector<Question>& questions) {
  const auto choices = static_cast<size_t>(std::ranges::count_if(
      questions, [](const Question& question) { return !question.choices.empty(); }));
  std::string form;
  if (choices < questions.size())
    form = base ? "base model: asked as \"Question: …\\nAnswer:\" (records with a prompt as it is)"
                : "chat model: asked by its chat template";
  if (choices == 0) return form;
  return form + (form.empty() ? "" : "; ") +
         "choices by likelihood behind \"Question: …\\nAnswer:\"";
}

void check_files(const TaskFlags& flags) {
  for (const std::string& file : {flags.out, flags.report})
    if (!file.empty()) output_file(file);
  for (const std::string& mode : flags.modes) parse_think_mode(mode);
}

void print_report(const TaskReport& report, bool json) {
  if (json) return print_json(to_json(report));
  fmt::print("{}; {}\n", bold(report.file), report.form);
  for (const std::string& line : table_of(report.rows)) fmt::print("  {}\n", line);
}

}  // namespace

void TaskFlags::add_to(CLI::App* command) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command->add_option(name, value, help)->group("Tasks");
  };
  add("--tasks", tasks, "questions with checkable answers: .jsonl of data tasks, GSM8K, …")
      ->type_name("FILE");
  add("--samples", samples, "answers to each question; more than one give pass@k")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("K")
      ->capture_default_str();
  add("--mode", modes, "how long it thinks: slow, fast, auto; several: all (default: the record's)")
      ->type_name("MODE,…")
      ->delimiter(',');
  add("--limit", limit, "questions of each task, level and mode; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40).description(""))
      ->type_name("N");
  command
      ->add_flag("--strict", strict,
                 "nothing but the answer may stand in the text, or behind its mark")
      ->group("Tasks");
  add("--out", out, "write every sample with its verdict")->type_name("FILE.jsonl");
  add("--report", report, "write a page with the table and samples")->type_name("FILE.html");
  add_cache_dtype_option(command, cache_dtype)->group("Tasks");
  sampling.add_to(command);
}

void TaskFlags::check() const {
  if (given()) return;
  if (!report.empty() || !out.empty() || !modes.empty() || samples != 1 || limit != 0 || strict ||
      sampling.given())
    throw UsageError(
        "--samples, --mode, --limit, --strict, --out, --report and how to sample go with --tasks");
}

void eval_tasks(const TaskRun& run, const TaskFlags& flags, Device& device) {
  check_files(flags);
  const std::vector<Question> questions = limited(read_questions(flags.tasks), flags.limit);
  const fs::path directory = find_model(run.model);
  if (!flags.modes.empty() && is_base_model(directory))
    throw UsageError("--mode: a base model has no modes, it continues texts");
  const Tokenizer tokenizer = load_tokenizer(directory);
  const AskOptions options = {
      .sampling = flags.sampling.resolve(sampling_defaults(directory)),
      .max_tokens = run.max_tokens > 0 ? run.max_tokens : kDefaultMaxTokens};
  const auto model = run.weights.load(directory, device);
  Engine engine(*model, engine_options(questions, flags));
  Run asking(questions, flags, options, tokenizer, engine, directory);
  asking.ask_all();

  TaskReport report{.model = directory.filename().string(),
                    .file = flags.tasks,
                    .form = form_of(asking.base(), questions)};
  report.settings = {
      {"samples", flags.samples},        {"temperature", options.sampling.temperature},
      {"top_p", options.sampling.top_p}, {"max_tokens", options.max_tokens},
      {"seed", asking.seed()},           {"checker", flags.strict ? "strict" : "lenient"}};
  std::string lines;
  std::map<std::string, size_t> shown;
  const std::vector<ProblemResult> results = asking.grade([&](OrderedJson line) {
    const std::string kind = fmt::format("{} {} {}", line["task"].get<std::string>(),
                                         line["level"].get<int>(), line["mode"].get<std::string>());
    if (!flags.out.empty())
      lines += line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
    if (!flags.report.empty() && ++shown[kind] <= kShownSamples)
      report.samples.push_back(std::move(line));
  });
  report.rows = summarise(results);
  report.seconds = asking.seconds();
  if (!flags.out.empty()) write_file_atomic(flags.out, lines);
  if (!flags.report.empty()) write_task_report(report, flags.report);
  print_report(report, run.json);
}

}  // namespace um
