// See data_tasks.h.
#include "cli/data_tasks.h"

#include <charconv>

#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "tasks/records.h"

namespace um {
namespace {

struct Flags {
  std::string out, levels = "1-5", split = "train", form = "messages",
                   wordnet = "/usr/share/wordnet";
  std::vector<std::string> tasks, languages = {"en"}, modes = {"slow"};
  int64_t count = 100;
  uint64_t seed = 0;
  bool list = false;
};

/// "3" or "1-5".
void read_levels(const std::string& text, RecordOptions& options) {
  const auto read = [&](std::string_view part) {
    int level = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), level);
    if (parsed.ec != std::errc() || parsed.ptr != part.data() + part.size() || level < 1 ||
        level > kTaskLevels)
      throw UsageError(
          fmt::format("--levels {}: expected one or a range of 1 to {}", text, kTaskLevels));
    return level;
  };
  const std::string_view all = text;
  const size_t dash = all.find('-');
  options.first_level = read(all.substr(0, dash));
  options.last_level =
      dash == std::string_view::npos ? options.first_level : read(all.substr(dash + 1));
  if (options.first_level > options.last_level)
    throw UsageError(fmt::format("--levels {}: the first is above the last", text));
}

std::vector<std::string> read_modes(const std::vector<std::string>& names) {
  std::vector<std::string> modes;
  for (const std::string& name : names) {
    if (name != "slow" && name != "fast" && name != "both")
      throw UsageError(fmt::format("--mode {}: expected slow, fast or both", name));
    if (name != "fast") modes.emplace_back("slow");
    if (name != "slow") modes.emplace_back("fast");
  }
  return modes;
}

RecordOptions options_of(const Flags& flags) {
  RecordOptions options{
      .tasks = find_tasks(flags.tasks),
      .count = flags.count,
      .seed = flags.seed,
      .split = parse_split(flags.split),
      .languages = {},
      .form = flags.form == "prompt" ? RecordForm::kPrompt : RecordForm::kMessages,
      .modes = read_modes(flags.modes)};
  read_levels(flags.levels, options);
  for (const std::string& name : flags.languages) options.languages.push_back(parse_language(name));
  if (options.form == RecordForm::kPrompt)
    for (const Task& task : options.tasks)
      if (task.calls_tools)
        throw UsageError(
            fmt::format("--form prompt: {} calls tools, which needs a chat", task.name));
  return options;
}

void print_list() {
  for (const Task& task : all_tasks()) fmt::print("  {:<16}{}\n", task.name, task.about);
}

void run(const Flags& flags) {
  if (flags.list) return print_list();
  if (flags.tasks.empty() || flags.out.empty())
    throw UsageError("expected --out FILE and --task NAME[,NAME…]|all (--list shows the tasks)");
  const RecordOptions options = options_of(flags);
  const TaskInputs inputs = load_inputs(options.tasks, flags.wordnet);
  AtomicFile file(flags.out);
  const RecordCount count =
      make_records(options, inputs, [&](std::string_view line) { file.write(line); });
  file.commit();
  for (const std::string& note : count.notes) fmt::print(stderr, "warning: {}\n", note);
  fmt::print("{}  {} records, {}\n", bold(flags.out), digits(count.records),
             bytes_text(static_cast<double>(file.size())));
}

}  // namespace

void add_data_tasks(CLI::App& family, Globals& globals) {
  CLI::App* command = add_command(
      family, "tasks", "problems with levels and checkable answers, to train on and to evaluate",
      globals);
  auto flags = std::make_shared<Flags>();
  command->add_option("--out", flags->out, "JSONL file to write")->type_name("FILE");
  command->add_option("--task", flags->tasks, "tasks, or all")->type_name("NAME,…")->delimiter(',');
  command->add_flag("--list", flags->list, "show the tasks");
  command->add_option("--levels", flags->levels, "from easy (1) to hard (5)")
      ->type_name("N|N-N")
      ->capture_default_str();
  command->add_option("--count", flags->count, "problems of each task, level and language")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "the same seed gives the same problems")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--split", flags->split,
                   "train, valid or test; a problem is in one of them whatever the seed")
      ->capture_default_str();
  command->add_option("--language", flags->languages, "en, zh or both: en,zh")
      ->type_name("NAME,…")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--form", flags->form,
                   "messages: chats; prompt: a prompt and its completion, for base models")
      ->check(CLI::IsMember({"messages", "prompt"}))
      ->type_name("messages|prompt")
      ->capture_default_str();
  command
      ->add_option("--mode", flags->modes,
                   "slow: with written steps as thinking; fast: the answer alone; both: each "
                   "problem in both")
      ->type_name("MODE")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--wordnet", flags->wordnet, "directory of WordNet's data files")
      ->type_name("DIR")
      ->capture_default_str();
  run_with(command, globals, [flags] { run(*flags); });
}

}  // namespace um
