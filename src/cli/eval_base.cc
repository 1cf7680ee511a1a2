// See eval_base.h.
#include "cli/eval_base.h"

#include <algorithm>

#include "cli/input.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "data/text_file.h"
#include "engine/compare.h"
#include "text/tokenizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

CompareOptions options_with(Progress& line, int64_t batch_tokens) {
  return {batch_tokens, [&line](int64_t scored, int64_t all, double nats) {
            if (!line.due()) return;
            const auto done = static_cast<double>(scored), whole = static_cast<double>(all);
            line.show(fmt::format("{} of {} tokens, loss {:.4f}, {} tokens/s  {}", digits(scored),
                                  digits(all), nats, short_count(done / line.seconds()),
                                  eta_text(line.seconds(), done, whole)));
          }};
}

/// Whether the text that the ids stand for gives the same ids again. The half is compared: where
/// the ids end, a word may be cut.
bool made_by(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  if (ids[0] == tokenizer.bos_id()) ids = ids.subspan(1);
  const std::vector<int32_t> again =
      tokenizer.encode(tokenizer.decode({ids.begin(), ids.end()}, false), {.parse_special = true});
  const size_t half = ids.size() / 2;
  return again.size() >= half &&
         std::equal(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(half), ids.begin());
}

std::string text_of(const Estimate& of, int decimals, double unit = 1) {
  return fmt::format("{:.{}f} ± {:.{}f}", unit * of.value, decimals, unit * of.uncertainty,
                     decimals);
}

void print_row(const std::string& label, const std::string& text) {
  fmt::print("  {:<16}{}\n", label, text);
}

}  // namespace

void BaseFlags::add_to(CLI::App* command) {
  command
      ->add_option("--save-logits", save,
                   "write the model's predictions of --text to a base file, as llama.cpp's "
                   "--save-all-logits does")
      ->type_name("FILE");
  command
      ->add_option("--kl-base", compare,
                   "compare the model with the base of this file, on the file's text: KL "
                   "divergence, perplexity, first choices")
      ->type_name("FILE");
  command->add_option("--chunks", chunks, "with a base file: only so many chunks (0: all)")
      ->type_name("N");
}

void save_base(const BaseRun& run, const BaseFlags& flags, const std::string& text_file) {
  const Tokenizer tokenizer = load_tokenizer(run.directory);
  const std::string text = read_text_file(text_file, kMaxTextBytes);
  const int32_t bos = tokenizer.add_bos() ? tokenizer.bos_id() : -1;
  const ChunkedText chunked = ChunkedText::cut(tokenizer.encode(text, {.add_bos = bos >= 0}),
                                               run.context, bos, flags.chunks);
  Progress line;
  const Estimate perplexity =
      save_base_file(run.model, chunked, flags.save, options_with(line, run.batch_tokens));
  line.clear();
  if (run.json)
    return print_json({{"perplexity", perplexity.value},
                       {"uncertainty", perplexity.uncertainty},
                       {"tokens", chunked.scored()},
                       {"chunks", chunked.chunks()},
                       {"context", chunked.context},
                       {"file", flags.save},
                       {"bytes", fs::file_size(flags.save)}});
  print_row("perplexity", text_of(perplexity, 4));
  print_row("over", fmt::format("{} tokens, in {} chunks of {}", digits(chunked.scored()),
                                digits(chunked.chunks()), chunked.context));
  print_row("written", fmt::format("{}, {}", flags.save,
                                   bytes_text(static_cast<double>(fs::file_size(flags.save)))));
}

void compare_base(const BaseRun& run, const BaseFile& base, int64_t chunks) {
  const Tokenizer tokenizer = load_tokenizer(run.directory);
  Progress line;
  const auto sample = std::span(base.tokens()).first(static_cast<size_t>(base.context()));
  if (!made_by(tokenizer, sample))
    line.warn(
        fmt::format("{}: its tokens are not those that this model's tokenizer makes of their "
                    "text; figures mean nothing if the base has another tokenizer",
                    base.name()));
  const DivergenceReport report = compare_with_base(run.model, base, tokenizer.bos_id(), chunks,
                                                    options_with(line, run.batch_tokens));
  line.clear();
  if (run.json) return print_json(to_json(report));
  print_divergence(report);
}

void print_divergence(const DivergenceReport& report) {
  print_row("perplexity", fmt::format("{}, of the base {}", text_of(report.perplexity, 4),
                                      text_of(report.base_perplexity, 4)));
  print_row(
      "", fmt::format("{} times the base's: ln {}, correlation {:.2f} %", text_of(report.ratio, 5),
                      text_of(report.log_ratio, 5), 100 * report.correlation));
  print_row("KL divergence", bold(text_of(report.kl.mean, 6)) + " nats from the base");
  print_row("first choice", text_of(report.same_top, 3, 100) + " % are the base's");
  print_row("RMS Δp", text_of(report.rms_delta_p, 3, 100) + " % of probability");
  print_row("over", digits(report.tokens) + " tokens");
  fmt::print("\n  {:<12}{:>24}{:>24}{:>20}\n", "", "KL(base‖model)", "KL(model‖base)", "Δp, %");
  fmt::print("  {:<12}{:>24}{:>24}{:>20}\n", "mean", text_of(report.kl.mean, 6),
             text_of(report.reverse_kl.mean, 6), text_of(report.delta_p.mean, 3, 100));
  for (size_t i = Spread::kAt.size(); i-- > 0;) {
    const double at = Spread::kAt[i];
    const std::string label = at == 1     ? "maximum"
                              : at == 0.5 ? "median"
                              : at == 0   ? "minimum"
                                          : fmt::format("{:.3g} %", 100 * at);
    fmt::print("  {:<12}{:>24.6f}{:>24.6f}{:>20.3f}\n", label, report.kl.quantiles[i],
               report.reverse_kl.quantiles[i], 100 * report.delta_p.quantiles[i]);
  }
}

}  // namespace um
