// `ultramoe eval`: loss, perplexity and bits per byte on any text, and how often the MTP heads
// would be right; or beside a base (eval_base.h); or on questions (eval_tasks.h).
#include <cmath>
#include <optional>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/eval_base.h"
#include "cli/eval_tasks.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "core/output_file.h"
#include "core/paths.h"
#include "data/loader.h"
#include "data/text_file.h"
#include "engine/base_file.h"
#include "engine/evaluate.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/model_texts.h"
#include "text/tokenizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

struct Flags {
  WeightFlags weights;
  BaseFlags base;
  TaskFlags tasks;
  std::string model, data, split = "val";
  std::vector<std::string> texts;
  int64_t max_tokens = 0, seq_len = 512, stride = 0, batch_tokens = 4096;
  bool json = false;
};

/// Runs batches until the limit, with a progress line.
class Run {
 public:
  Run(const Model& model, int64_t max_tokens, double expected_tokens)
      : evaluator_(model), max_tokens_(max_tokens), expected_(expected_tokens) {
    if (max_tokens > 0) expected_ = std::min(expected_, static_cast<double>(max_tokens));
  }

  /// False when the limit is reached.
  bool add(const Batch& batch) {
    evaluator_.add(batch);
    const EvalResult& now = evaluator_.result();
    if (line_.due())
      line_.show(fmt::format(
          "{} of {} tokens, loss {:.4f}, {} tokens/s  {}", digits(now.tokens),
          digits(static_cast<int64_t>(expected_)), now.loss(), short_count(now.tokens_per_s()),
          eta_text(line_.seconds(), static_cast<double>(now.tokens), expected_)));
    return max_tokens_ == 0 || now.tokens < max_tokens_;
  }
  const EvalResult& result() const { return evaluator_.result(); }

 private:
  Evaluator evaluator_;
  int64_t max_tokens_;
  double expected_;
  Progress line_;
};

struct Scored {
  EvalResult result;
  double bytes = 0;  // of the text that was predicted
};

void check_vocab(const Model& model, int64_t vocab, const std::string& what) {
  UM_CHECK(vocab <= model.config().vocab,
           "{} has {} tokens, the model's vocabulary {}: they do not belong together", what, vocab,
           model.config().vocab);
}

/// Cuts the batch after `limit` more targets.
void limit_targets(Batch& batch, int64_t limit) {
  for (int32_t& target : batch.targets)
    if (target >= 0 && --limit < 0) target = -1;
}

Scored score_data(const Model& model, const fs::path& directory, const Flags& flags) {
  if (flags.split != "val" && flags.split != "train")
    throw UsageError(fmt::format("--split {}: expected val or train", flags.split));
  const bool val = flags.split == "val";
  Loader loader({.sources = {{flags.data}},
                 .batch = std::max<int64_t>(1, flags.batch_tokens / flags.seq_len),
                 .seq_len = flags.seq_len,
                 .val = val,
                 .one_pass = true});
  require_tokenizer_of(directory, loader.tokenizer_hash(), flags.data, "pack the text with it");
  check_vocab(model, loader.vocab_size(), flags.data);
  const Manifest& manifest = loader.datasets()[0].manifest();
  const SplitInfo& split = val ? manifest.val : manifest.train;
  const auto targets = static_cast<double>(split.tokens - split.documents);
  Run run(model, flags.max_tokens, targets);
  Batch batch;
  while (loader.next(batch)) {
    if (flags.max_tokens > 0) limit_targets(batch, flags.max_tokens - run.result().tokens);
    if (!run.add(batch)) break;
  }
  const auto scored = static_cast<double>(run.result().tokens);
  return {run.result(), static_cast<double>(split.text_bytes) * scored / targets};
}

/// Bytes that tokens [1, end) stand for; the space that SentencePiece puts in front is none of the
/// text's.
double bytes_of(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  return static_cast<double>(tokenizer.decode({ids.begin(), ids.end()}).size());
}

Scored score_texts(const Model& model, const fs::path& directory, const Flags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(directory);
  check_vocab(model, tokenizer.vocab_size(), "the tokenizer");
  const bool bos = tokenizer.add_bos();
  std::vector<std::vector<int32_t>> texts;
  std::vector<double> bytes;
  double tokens = 0;
  for (const std::string& file : flags.texts) {
    const std::string text = read_text_file(file, kMaxTextBytes);
    UM_CHECK(!text.empty(), "{}: no text", file);
    texts.push_back(tokenizer.encode(text, {.add_bos = bos}));
    bytes.push_back(static_cast<double>(text.size()));
    tokens += static_cast<double>(texts.back().size()) - 1;
  }
  Run run(model, flags.max_tokens, tokens);
  Scored scored;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::span<const int32_t> ids = texts[i];
    const int64_t left = flags.max_tokens - run.result().tokens;
    if (flags.max_tokens > 0 && left <= 0) break;
    const bool cut = flags.max_tokens > 0 && left < std::ssize(ids) - 1;
    if (cut) ids = ids.first(static_cast<size_t>(left) + 1);
    // Without BOS the first token has nothing to be predicted from.
    const double unscored = bos ? 0 : bytes_of(tokenizer, ids.first(1));
    scored.bytes += (cut ? bytes_of(tokenizer, ids) : bytes[i]) - unscored;
    for_each_window(ids, {flags.seq_len, flags.stride, flags.batch_tokens},
                    [&](const Batch& batch) { return run.add(batch), true; });
  }
  scored.result = run.result();
  return scored;
}

void print_scored(const Scored& scored, bool json) {
  const EvalResult& r = scored.result;
  const double bits = bits_per_byte(r.nats, scored.bytes);
  std::vector<double> acceptance, chained;
  for (size_t k = 0; k < r.offered.size(); ++k) {
    acceptance.push_back(r.acceptance(k));
    chained.push_back(r.acceptance_given_earlier(k));
  }
  if (json)
    return print_json({{"loss", r.loss()},
                       {"perplexity", r.perplexity()},
                       {"bits_per_byte", bits},
                       {"accuracy", r.accuracy()},
                       {"mtp_acceptance", acceptance},
                       {"mtp_acceptance_given_earlier", chained},
                       {"tokens", r.tokens},
                       {"bytes", static_cast<int64_t>(std::llround(scored.bytes))},
                       {"seconds", r.seconds},
                       {"tokens_per_s", r.tokens_per_s()}});
  const auto row = [](const char* label, const std::string& text) {
    fmt::print("  {:<16}{}\n", label, text);
  };
  row("loss", fmt::format("{:.4f} nats per token", r.loss()));
  row("perplexity", fmt::format("{:.2f}", r.perplexity()));
  row("bits per byte", bold(fmt::format("{:.4f}", bits)));
  row("accuracy", fmt::format("{:.1f} % of tokens were the first choice", 100 * r.accuracy()));
  for (size_t k = 0; k < acceptance.size(); ++k)
    row(fmt::format("MTP head {}", k + 1).c_str(),
        fmt::format(
            "{:.1f} % of drafts accepted{}", 100 * acceptance[k],
            k == 0 ? ""
                   : fmt::format(", {:.1f} % where the earlier heads' were", 100 * chained[k])));
  row("over", fmt::format("{} tokens, {}, at {} tokens/s", digits(r.tokens),
                          bytes_text(scored.bytes), short_count(r.tokens_per_s())));
}

/// Refuses options that say nothing where a base file is written or read.
void check_base(const Flags& flags) {
  if (!flags.base.given()) {
    if (flags.base.chunks != 0) throw UsageError("--chunks goes with --save-logits or --kl-base");
    return;
  }
  if (!flags.base.save.empty() && !flags.base.compare.empty())
    throw UsageError("expected either --save-logits FILE or --kl-base FILE");
  if (!flags.data.empty() || flags.stride > 0 || flags.max_tokens > 0)
    throw UsageError("--data, --stride and --max-tokens do not go with a base file");
  if (!flags.base.save.empty() && flags.texts.size() != 1)
    throw UsageError("--save-logits: expected one --text FILE");
  if (!flags.base.compare.empty() && !flags.texts.empty())
    throw UsageError("--kl-base FILE has the text: expected no --text");
  if (flags.base.chunks < 0) throw UsageError("--chunks: expected a positive number");
  if (flags.base.compare.empty() && flags.seq_len < kLeastContext)
    throw UsageError(fmt::format("--seq-len {}: a chunk of a base file has at least {} tokens",
                                 flags.seq_len, kLeastContext));
}

void run_base(const Flags& flags, const Globals& globals) {
  std::optional<BaseFile> base;  // a damaged one is found before the model is loaded
  if (!flags.base.compare.empty()) base.emplace(flags.base.compare);
  if (!flags.base.save.empty()) output_file(flags.base.save);
  const fs::path directory = find_model(flags.model);
  const auto model = flags.weights.load(directory, globals.device());
  const int64_t context = std::min(flags.seq_len, model->config().max_positions);
  const BaseRun run = {*model, directory, context, flags.batch_tokens, flags.json};
  if (base)
    compare_base(run, *base, flags.base.chunks);
  else
    save_base(run, flags.base, flags.texts[0]);
}

void run_tasks(const Flags& flags, const Globals& globals) {
  if (!flags.texts.empty() || !flags.data.empty() || flags.stride > 0 || flags.base.given())
    throw UsageError("--tasks FILE has its own texts: expected no --text, --data or base file");
  eval_tasks({flags.weights, flags.model, flags.max_tokens, flags.json}, flags.tasks,
             globals.device());
}

void run_eval(const Flags& flags, const Globals& globals) {
  flags.tasks.check();
  check_base(flags);
  if (flags.seq_len < 1 || flags.batch_tokens < 1 || flags.max_tokens < 0)
    throw UsageError("--seq-len, --batch-tokens and --max-tokens: expected positive numbers");
  if (flags.tasks.given()) return run_tasks(flags, globals);
  if (flags.base.given()) return run_base(flags, globals);
  if (flags.texts.empty() == flags.data.empty())
    throw UsageError("expected either --text FILE..., --data DIR or --tasks FILE");
  if (flags.stride > 0 && !flags.data.empty())
    throw UsageError("--stride is for --text; packed documents are cut without overlap");
  const fs::path directory = find_model(flags.model);
  const auto model = flags.weights.load(directory, globals.device());
  Flags fitted = flags;
  fitted.seq_len = std::min(flags.seq_len, model->config().max_positions);
  const Scored scored = fitted.data.empty() ? score_texts(*model, directory, fitted)
                                            : score_data(*model, directory, fitted);
  UM_CHECK(scored.result.tokens > 0, "nothing to predict: the text has a single token");
  UM_CHECK(std::isfinite(scored.result.nats),
           "{}: the loss is {}; the weights are damaged or the training has diverged",
           directory.string(), scored.result.nats);
  print_scored(scored, flags.json);
}

}  // namespace

void add_eval(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "eval", "how well a model predicts text, or answers questions", globals);
  auto flags = std::make_shared<Flags>();
  add_model_option(command, flags->model);
  flags->weights.add_to(command);
  add_files_option(command, "--text", flags->texts, "text files, each one document");
  command->add_option("--data", flags->data, "packed corpus")->type_name("DIR");
  command->add_option("--split", flags->split, "split of the packed corpus: val or train")
      ->capture_default_str();
  command
      ->add_option("--max-tokens", flags->max_tokens,
                   "stop after so many (0: all); of an answer to --tasks (0: 512)")
      ->type_name("N");
  command
      ->add_option("--seq-len,--context", flags->seq_len,
                   "tokens that the model sees at once; the length of a base file's chunks")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--stride", flags->stride,
                   "start a window every N tokens, so that all have context (0: no overlap)")
      ->type_name("N");
  command->add_option("--batch-tokens", flags->batch_tokens, "tokens run together")
      ->type_name("N")
      ->capture_default_str();
  flags->base.add_to(command);
  flags->tasks.add_to(command);
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags, &globals] { run_eval(*flags, globals); });
}

}  // namespace um
