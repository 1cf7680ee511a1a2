// The program: finds the command, turns errors into one line and an exit code (0 done, 1 failed, 2
// wrong usage, 128 + N ended by signal N).
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/threads.h"
#include "core/error.h"
#include "core/fields.h"
#include "core/json.h"
#include "core/suggest.h"
#include "core/unfinished.h"

namespace um {
namespace {

constexpr int kFailed = 1, kWrongUsage = 2;

constexpr const char* kFooter =
    "Start here:\n"
    "  ultramoe inspect pangu-ultra-moe-718b       what a model is made of\n"
    "  ultramoe generate --model DIR --prompt TEXT\n"
    "  ultramoe help COMMAND                       or COMMAND --help\n"
    "\nExit codes: 0 done, 1 failed, 2 wrong usage, 128 + N ended by signal N.";

void add_commands(CLI::App& app, Globals& globals) {
  const auto list = [&](const char* heading,
                        std::initializer_list<void (*)(CLI::App&, Globals&)> commands) {
    const size_t before = app.get_subcommands(nullptr).size();
    for (const auto add : commands) add(app, globals);
    const auto all = app.get_subcommands(nullptr);
    for (size_t i = before; i < all.size(); ++i) all[i]->group(heading);
  };
  list("Text and data", {add_tokenizer, add_data});
  list("Make a model", {add_init, add_train, add_sft, add_grpo, add_expand_mtp, add_merge,
                        add_convert, add_quantize, add_report});
  list("Use a model", {add_eval, add_generate, add_chat, add_serve});
  list("Look inside", {add_inspect, add_bench, add_debug, add_info});
}

/// The innermost command that the arguments name.
const CLI::App* innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return at;
}

/// "ultramoe tokenizer train"
std::string full_name(const CLI::App* command) {
  if (command->get_parent() == nullptr) return "ultramoe";
  return full_name(command->get_parent()) + " " + command->get_name();
}

/// Throws UsageError for an argument where a family's command should stand.
void refuse_unknown_command(const CLI::App& family) {
  const auto commands = family.get_subcommands(nullptr);
  const std::vector<std::string> extras = family.remaining();
  if (commands.empty() || extras.empty() || extras[0].starts_with('-')) return;
  std::vector<std::string> names;
  if (family.get_parent() == nullptr) names.emplace_back("help");
  for (const CLI::App* known : commands) names.push_back(known->get_name());
  throw UsageError(
      fmt::format("unknown command {}{}", quote(extras[0]), did_you_mean(extras[0], names)));
}

/// Throws UsageError for what is wrong with the arguments, which says more than what CLI11 missed
/// because of it. Somebody who asks for help may have options wrong, but no words.
void refuse_mistakes(const CLI::App& app, bool help) {
  for (const CLI::App* at = innermost(app); at != nullptr; at = at->get_parent()) {
    refuse_unknown_command(*at);
    const std::vector<std::string> extras = at->remaining();
    if (help && (extras.empty() || extras[0].starts_with('-'))) continue;
    refuse_extras(*at);
    refuse_repeats(*at);
  }
}

int usage_error(const CLI::App& app, std::string_view message) {
  fmt::print(stderr, "ultramoe: {} (see {} --help)\n", message, full_name(innermost(app)));
  return kWrongUsage;
}

/// A command's help under its full name, without the double blank lines that CLI11 leaves.
std::string help_text(const CLI::App* command) {
  const CLI::App* parent = command->get_parent();
  const std::string help = command->help(parent == nullptr ? "" : full_name(parent));
  std::string out;
  for (const char c : help)
    if (c != '\n' || !out.ends_with("\n\n")) out += c;
  return out;
}

int parse_error(const CLI::App& app, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::RuntimeError*>(&error) != nullptr) return error.get_exit_code();
  const CLI::App* command = innermost(app);
  const bool help = dynamic_cast<const CLI::CallForHelp*>(&error) != nullptr;
  try {
    refuse_mistakes(app, help);
  } catch (const UsageError& mistake) {
    return usage_error(app, mistake.what());
  }
  if (help) {
    fmt::print("{}", help_text(command));
    return 0;
  }
  if (error.get_exit_code() == 0) return app.exit(error);  // --version
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      !command->get_subcommands(nullptr).empty()) {
    fmt::print(stderr, "{}", help_text(command));
    return kWrongUsage;
  }
  std::string message = error.what();
  for (char& c : message)
    if (c == '\n') c = ' ';
  return usage_error(app, message);
}

/// Throws UsageError for words that `help` is given behind a command: the command might take them
/// for its arguments.
void refuse_words(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  for (const std::string& word : words) {
    if (word.starts_with('-')) return;
    const bool family = !command->get_subcommands(nullptr).empty();
    const CLI::App* next = command_named(*command, word);
    if (next == nullptr && family) return;  // an unknown command, which is refused as one
    if (next == nullptr) throw UsageError(fmt::format("unexpected argument {}", quote(word)));
    command = next;
  }
}

/// `help COMMAND` means `COMMAND --help`.
std::vector<std::string> arguments_of(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments[0] != "help") return arguments;
  arguments.erase(arguments.begin());
  if (arguments == std::vector<std::string>{"help"}) arguments.clear();
  refuse_words(app, arguments);
  arguments.emplace_back("--help");
  return arguments;
}

int run(int argc, char** argv) {
  CLI::App app("ultramoe " UM_VERSION
               " - train, measure and run mixture-of-experts language models");
  app.name("ultramoe");
  app.set_version_flag("--version", "ultramoe " UM_VERSION);
  app.set_help_flag("-h,--help", "show this help");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.require_subcommand(1);
  app.allow_extras();
  Globals globals;
  add_commands(app, globals);
  try {
    std::vector<std::string> arguments = plain_arguments(app, arguments_of(app, argc, argv));
    std::reverse(arguments.begin(), arguments.end());  // the order that parse() takes
    app.parse(std::move(arguments));
    flush_output();
    return 0;
  } catch (const CLI::ParseError& error) {
    return parse_error(app, error);
  } catch (const UsageError& error) {
    return usage_error(app, error.what());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "ultramoe: out of memory\n");
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "ultramoe: {}\n", error.what());
  }
  return kFailed;
}

}  // namespace
}  // namespace um

int main(int argc, char** argv) {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);  // what is large goes back to the system at once
  std::signal(SIGPIPE, SIG_DFL);         // `ultramoe ... | head` ends quietly, as other tools do
  std::signal(SIGXFSZ, SIG_IGN);         // a write over `ulimit -f` fails, and says so
  um::remove_unfinished_on_signals();
  um::settle_openmp_waiting(argv);
  return um::run(argc, argv);
}
