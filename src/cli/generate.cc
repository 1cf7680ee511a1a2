// `ultramoe generate`: the model continues a text.
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/model_texts.h"
#include "text/utf8.h"

namespace um {
namespace {

struct Flags {
  WeightFlags weights;
  std::string model, prompt, prompt_file, cache_dtype = "auto";
  SamplingFlags sampling;
  int64_t max_tokens = 256;
  std::vector<std::string> stop;
  std::string draft_model;
  int64_t drafts = -1;
  bool no_stream = false, json = false, ignore_eos = false, special = false, ngram_drafts = false;
};

std::string end_of(const Generation& out, int64_t max_tokens) {
  switch (out.reason) {
    case FinishReason::eos:
      return "ended by the model";
    case FinishReason::stop:
      return "ended at a stop text";
    case FinishReason::max_tokens:
      return fmt::format("cut at --max-tokens {}", max_tokens);
    case FinishReason::context:
      return "cut: the context is full";
    default:
      return std::string(finish_reason_name(out.reason));
  }
}

std::string speed_line(const Generation& out, uint64_t seed, int64_t max_tokens) {
  std::string drafts;
  if (out.stats.drafted > 0)
    drafts = fmt::format(
        ", {:.0f} % of {} drafts accepted",
        100.0 * static_cast<double>(out.stats.accepted) / static_cast<double>(out.stats.drafted),
        out.stats.drafted);
  return fmt::format("{} tokens, {} tokens/s{}; prompt {} tokens, {} tokens/s; seed {}, {}",
                     out.tokens.size(), short_count(out.decode_tokens_per_s()), drafts,
                     out.stats.prompt_tokens, short_count(out.prefill_tokens_per_s()), seed,
                     end_of(out, max_tokens));
}

void print_result(const std::string& prompt, const Generation& out, uint64_t seed) {
  print_json({{"prompt", prompt},
              {"text", out.text},
              {"tokens", out.tokens},
              {"finish_reason", finish_reason_name(out.reason)},
              {"prompt_tokens", out.stats.prompt_tokens},
              {"seed", seed},
              {"drafted_tokens", out.stats.drafted},
              {"accepted_tokens", out.stats.accepted},
              {"prefill_tokens_per_s", out.prefill_tokens_per_s()},
              {"decode_tokens_per_s", out.decode_tokens_per_s()}});
}

void run_generate(const Flags& flags, const Globals& globals) {
  const std::string prompt = flags.prompt_file.empty()
                                 ? repair_utf8(flags.prompt)
                                 : read_input(flags.prompt, flags.prompt_file, "prompt");
  const std::filesystem::path directory = find_model(flags.model);
  const Tokenizer tokenizer = load_tokenizer(directory);
  GenerateOptions options{.sampling = flags.sampling.resolve(sampling_defaults(directory)),
                          .seed = flags.sampling.resolve_seed(),
                          .max_tokens = flags.max_tokens,
                          .stop = flags.stop,
                          .skip_special = !flags.special};
  const auto model = flags.weights.load(directory, globals.device());
  if (!flags.ignore_eos) {
    options.eos = find_ends(model->config(), tokenizer, directory).text;
    for (std::string& stop : find_stops(directory)) options.stop.push_back(std::move(stop));
  }
  const std::vector<int32_t> ids = encode_prompt(tokenizer, prompt, flags.special);
  std::unique_ptr<Model> drafter;
  if (!flags.draft_model.empty()) {
    const std::filesystem::path draft = find_model(flags.draft_model);
    require_tokenizer_of(draft, tokenizer.hash(), directory.string(), kSameTokenizer);
    drafter = load_model(draft, globals.device(), nullptr, weights_of(flags.weights.dtype));
  }
  Engine engine(*model, {.cache_tokens = std::ssize(ids) + flags.max_tokens + 1,
                         .cache_type = cache_type_of(flags.cache_dtype),
                         .draft_tokens = flags.drafts,
                         .ngram_drafts = flags.ngram_drafts,
                         .draft_model = drafter.get()});

  const bool stream = !flags.no_stream && !flags.json;
  const auto show = [&](std::string_view text) {
    if (!stream || text.empty()) return;
    fmt::print("{}", text);
    std::fflush(stdout);
  };
  const Generation out = generate(
      engine, &tokenizer, ids, options,
      [&](int32_t, std::string_view text) {
        show(text);
        return true;
      },
      [&] { show(bold(prompt)); });
  if (flags.json) return print_result(prompt, out, options.seed);
  if (!stream) fmt::print("{}{}", prompt, out.text);
  fmt::print("\n");
  std::fflush(stdout);
  fmt::print(stderr, "{}\n", dim(speed_line(out, options.seed, flags.max_tokens), true));
  const EngineStats stats = engine.stats();
  if (const int64_t wanted = stats.expert_hits + stats.expert_misses; wanted > 0)
    fmt::print(stderr, "{}\n",
               dim(fmt::format(
                       "{:.1f} % of {} wanted experts were in memory",
                       100.0 * static_cast<double>(stats.expert_hits) / static_cast<double>(wanted),
                       digits(wanted)),
                   true));
}

}  // namespace

void add_generate(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(app, "generate", "let a model continue a text", globals);
  auto flags = std::make_shared<Flags>();
  add_model_option(command, flags->model);
  flags->weights.add_to(command);
  add_cache_dtype_option(command, flags->cache_dtype);
  command->add_option("--prompt", flags->prompt, "the text to continue (default: none)");
  command->add_option("--prompt-file", flags->prompt_file, "file with it, - for standard input")
      ->type_name("FILE");
  command->add_option("--max-tokens", flags->max_tokens, "longest continuation, in tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--stop", flags->stop, "end before this text; may be given several times")
      ->type_name("TEXT")
      ->check([](const std::string& text) { return text.empty() ? "expected a text" : ""; })
      ->allow_extra_args(false);
  command->add_flag("--ignore-eos", flags->ignore_eos, "go on when the model ends its text");
  command->add_flag("--special", flags->special,
                    "special tokens count in the prompt and show in the text");
  command->add_flag("--no-stream", flags->no_stream, "print the text when it is complete");
  command
      ->add_option("--drafts", flags->drafts,
                   "tokens to draft per step, 0: none (default: by the model's MTP heads)")
      ->check(CLI::Range(0, 16).description(""))
      ->type_name("N");
  command
      ->add_option("--draft-model", flags->draft_model,
                   "a small model of the same tokenizer that drafts")
      ->type_name(kModelType);
  command->add_flag("--ngram-drafts", flags->ngram_drafts,
                    "draft what followed the last tokens when they stood in the text before");
  add_json_flag(command, flags->json);
  flags->sampling.add_to(command);
  run_with(command, globals, [flags, &globals] { run_generate(*flags, globals); });
}

}  // namespace um
