// `ultramoe chat`: a conversation on the terminal. One KV cache serves all turns: a turn runs only
// what is new since the last one.
#include "text/chat.h"

#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/model_texts.h"
#include "server/chat_marks.h"
#include "text/chat_template.h"
#include "text/utf8.h"

namespace um {
namespace {

struct Flags {
  WeightFlags weights;
  std::string model, system, mode = "default", cache_dtype = "auto";
  SamplingFlags sampling;
  int64_t max_tokens = 512, context = 0;
};

volatile std::sig_atomic_t interrupted = 0;

/// Ctrl-C sets a flag, and interrupts a read from the terminal, while this lives.
class InterruptFlag {
 public:
  InterruptFlag() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    ::sigaction(SIGINT, &action, &before_);
  }
  InterruptFlag(const InterruptFlag&) = delete;
  ~InterruptFlag() { ::sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

enum class Input { line, interrupted, end };

Input read_line(std::string& line) {
  line.clear();
  interrupted = 0;
  for (int c; (c = std::getc(stdin)) != '\n';) {
    if (c != EOF) {
      line += static_cast<char>(c);
      continue;
    }
    if (interrupted != 0) {
      std::clearerr(stdin);
      return Input::interrupted;
    }
    return line.empty() ? Input::end : Input::line;
  }
  return Input::line;
}

class Chat {
 public:
  Chat(const Flags& flags, const Globals& globals)
      : mode_(parse_optional_mode(flags.mode)),
        system_(repair_utf8(flags.system)),
        directory_(find_model(flags.model)),
        tokenizer_(load_tokenizer(directory_)),
        template_(ChatTemplate::load(directory_, tokenizer_)),
        marks_(ChatMarks::of(tokenizer_, template_)),
        model_(flags.weights.load(directory_, globals.device())),
        engine_(*model_,
                {.cache_type = cache_type_of(flags.cache_dtype), .context = context(flags)}),
        base_(is_base_model(directory_)) {
    const Ends ends = find_ends(model_->config(), tokenizer_, directory_, &template_);
    options_ = {.sampling = flags.sampling.resolve(sampling_defaults(directory_)),
                .seed = flags.sampling.resolve_seed(),
                .max_tokens = flags.max_tokens,
                .stop = find_stops(directory_),
                .eos = base_ ? ends.text : ends.turn};
    reset();
    check_conversation();
    fmt::print(stderr, "{}\n", dim(engine_.describe_cache(), true));
  }

  /// The model only continues texts: each line begins a new one.
  bool base() const { return base_; }

  void reset() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({"system", system_});
  }

  /// Answers on standard output.
  void answer(const std::string& user) {
    if (base_) messages_.clear();
    messages_.push_back({"user", repair_utf8(user)});
    std::vector<int32_t> prompt = prompt_ids();
    while (std::ssize(prompt) + options_.max_tokens > engine_.options().context && forget_oldest())
      prompt = prompt_ids();
    interrupted = 0;
    bool thinking = !base_ && marks_.opens_thinking(tokenizer_, prompt);
    const Generation out =
        generate(engine_, &tokenizer_, prompt, options_, [&](int32_t id, std::string_view text) {
          if (id == marks_.think_open && id >= 0) thinking = true;
          if (id == marks_.think_close && id >= 0) thinking = false, fmt::print("\n");
          fmt::print("{}", thinking ? dim(text) : std::string(text));
          std::fflush(stdout);
          return interrupted == 0;
        });
    fmt::print("\n");
    std::fflush(stdout);
    if (stderr_is_terminal()) fmt::print(stderr, "{}\n\n", dim(speed_line(out), true));
    messages_.push_back({"assistant", tokenizer_.decode(out.tokens, false)});
    ++options_.seed;  // the same question again may get another answer
  }

  /// Forgets a question that could not be answered.
  void drop_question() { messages_.pop_back(); }

 private:
  /// What is wrong with the template or the system's text fails here, not in the first turn.
  void check_conversation() const {
    if (base_ && !system_.empty())
      throw UsageError("--system: a base model is told nothing, it continues text");
    if (base_) return;
    UM_CHECK(template_.fault().empty(), "{}: {}", directory_.string(), template_.fault());
    if (template_.is_pangu()) prompt_ids();
  }

  int64_t context(const Flags& flags) const {
    const int64_t longest = model_->config().max_positions;
    return std::min(longest, flags.context > 0 ? flags.context : 8192);
  }

  std::vector<int32_t> prompt_ids() const {
    if (base_)
      return tokenizer_.encode(messages_.back().content, {.add_bos = tokenizer_.add_bos()});
    if (template_.is_pangu())
      return encode_chat(tokenizer_, messages_, {.mode = mode_.value_or(ThinkMode::kSlow)});
    TemplateInput input;
    for (const Message& message : messages_)
      input.messages.push_back({{"role", message.role}, {"content", message.content}});
    if (mode_ && *mode_ != ThinkMode::kAuto) input.thinking = *mode_ == ThinkMode::kSlow;
    input.trust_assistant = true;  // what the model wrote
    return template_.encode(tokenizer_, input);
  }

  /// Drops the oldest question and its answer; false if only the last question is left.
  bool forget_oldest() {
    const size_t first = messages_.front().role == "system" ? 1 : 0;
    if (messages_.size() < first + 3) return false;
    const auto begin = messages_.begin() + static_cast<std::ptrdiff_t>(first);
    messages_.erase(begin, begin + 2);
    return true;
  }

  static std::string speed_line(const Generation& out) {
    const char* end = out.reason == FinishReason::cancelled    ? ", stopped"
                      : out.reason == FinishReason::max_tokens ? ", cut at --max-tokens"
                      : out.reason == FinishReason::context    ? ", the context is full"
                                                               : "";
    return fmt::format("{} tokens, {} tokens/s; prompt {} tokens, {} of them new{}",
                       out.tokens.size(), short_count(out.decode_tokens_per_s()),
                       out.stats.prompt_tokens, out.stats.prompt_tokens - out.stats.cached_tokens,
                       end);
  }

  std::optional<ThinkMode> mode_;
  std::string system_;
  std::filesystem::path directory_;
  Tokenizer tokenizer_;
  ChatTemplate template_;
  ChatMarks marks_;
  std::unique_ptr<Model> model_;
  Engine engine_;
  bool base_;
  GenerateOptions options_;
  std::vector<Message> messages_;
};

void run_chat(const Flags& flags, const Globals& globals) {
  Chat chat(flags, globals);
  const bool terminal = stderr_is_terminal();
  if (chat.base())
    fmt::print(stderr, "{}\n",
               dim(std::string(kBaseModel) + "; each line that you write begins a new one", true));
  if (terminal)
    fmt::print(stderr, "{}\n\n",
               dim("/reset begins anew, /quit ends, Ctrl-C stops an answer", true));
  const InterruptFlag flag;
  std::string line;
  for (bool asked_to_end = false;;) {
    if (terminal) fmt::print(stderr, "{}", bold("> ", true));
    const Input got = read_line(line);
    if (got == Input::end || line == "/quit" || line == "/exit") break;
    if (got == Input::interrupted) {
      if (asked_to_end) break;
      asked_to_end = true;
      fmt::print(stderr, "\n{}\n", dim("Ctrl-C again ends, so does /quit", true));
      continue;
    }
    asked_to_end = false;
    if (line == "/reset") {
      chat.reset();
      if (terminal) fmt::print(stderr, "{}\n", dim("a new conversation", true));
    } else if (line.starts_with('/')) {
      fmt::print(stderr, "{}\n", dim("commands: /reset, /quit", true));
    } else if (line.find_first_not_of(" \t\r") != std::string::npos) {
      try {
        chat.answer(line);
      } catch (const Error& error) {
        if (!terminal) throw;
        chat.drop_question();
        fmt::print(stderr, "{}\n\n", error.what());
      }
    }
  }
  if (terminal) fmt::print(stderr, "\n");
}

}  // namespace

void add_chat(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(app, "chat", "talk with a model on the terminal", globals);
  auto flags = std::make_shared<Flags>();
  add_model_option(command, flags->model);
  flags->weights.add_to(command);
  add_cache_dtype_option(command, flags->cache_dtype);
  command->add_option("--system", flags->system, "what the model is told first");
  command
      ->add_option("--mode", flags->mode,
                   "how long it thinks: slow, fast, auto or as the model does by itself")
      ->capture_default_str();
  command->add_option("--max-tokens", flags->max_tokens, "longest answer, in tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""))
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--context", flags->context,
                   "tokens of conversation kept (default: the model's context, at most 8192)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40).description(""))
      ->type_name("N");
  flags->sampling.add_to(command);
  run_with(command, globals, [flags, &globals] { run_chat(*flags, globals); });
}

}  // namespace um
