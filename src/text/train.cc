// See train.h.
#include "text/train.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <random>
#include <unordered_map>

#include "core/error.h"
#include "text/utf8.h"

namespace um {
namespace {

// SentencePiece drops sentences above max_sentence_length (4192 bytes), so lines are cut below it.
constexpr size_t kMaxLine = 4096;

/// An even sample of a stream of lines (reservoir sampling, Vitter 1985, algorithm R).
class LineSample {
 public:
  LineSample(int64_t limit, uint64_t seed) : limit_(static_cast<uint64_t>(limit)), random_(seed) {}

  void add(std::string_view line) {
    if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
    ++seen_;
    if (lines_.size() < limit_) {
      lines_.emplace_back(line);
    } else if (const uint64_t at = random_() % seen_; at < limit_) {
      lines_[at] = line;
    }
  }

  /// Cuts a text into lines, tabs (which the trainer reserves) and long lines too, and adds them.
  void add_text(std::string_view text) {
    size_t begin = 0, at = 0;
    const auto cut = [&](size_t skip) {
      add(text.substr(begin, at - begin));
      at += skip;
      begin = at;
    };
    while (at < text.size()) {
      const bool separator = text[at] == '\n' || text[at] == '\t' || text[at] == '\0';
      const size_t step = separator ? 1 : utf8_step(text.substr(at)).bytes;
      if (separator) {
        cut(1);
      } else if (at + step - begin > kMaxLine) {
        cut(0);
      } else {
        at += step;
      }
    }
    cut(0);
  }

  std::vector<std::string> take() { return std::move(lines_); }

 private:
  uint64_t limit_, seen_ = 0;
  std::mt19937_64 random_;
  std::vector<std::string> lines_;
};

class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool done() const override { return at_ >= lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  size_t at_ = 0;
};

void check_options(const TrainTokenizerOptions& options) {
  const auto reserved =
      static_cast<int64_t>(options.specials.size()) + 3 + (options.byte_fallback ? 256 : 0);
  UM_CHECK(
      options.vocab_size > reserved && options.vocab_size <= (1 << 22),
      "tokenizer train: vocab_size {}, expected more than {} (special tokens and bytes) and at "
      "most {}",
      options.vocab_size, reserved, 1 << 22);
  UM_CHECK(options.model_type == "bpe" || options.model_type == "unigram",
           "tokenizer train: model type \"{}\", expected bpe or unigram", options.model_type);
  UM_CHECK(options.character_coverage > 0 && options.character_coverage <= 1,
           "tokenizer train: character_coverage {}, expected above 0 and at most 1",
           options.character_coverage);
  UM_CHECK(options.max_lines > 0 && options.threads > 0,
           "tokenizer train: max_lines {} and threads {} must be positive", options.max_lines,
           options.threads);
  for (const std::string& special : options.specials) {
    UM_CHECK(!special.empty() && special.find(',') == std::string::npos && is_utf8(special),
             "tokenizer train: special token \"{}\" is empty or has a comma", special);
  }
}

std::unordered_map<std::string, std::string> trainer_arguments(
    const TrainTokenizerOptions& options) {
  std::string specials;
  for (const std::string& special : options.specials) {
    specials += (specials.empty() ? "" : ",") + special;
  }
  return {{"vocab_size", std::to_string(options.vocab_size)},
          {"model_type", options.model_type},
          {"byte_fallback", options.byte_fallback ? "true" : "false"},
          {"character_coverage", std::to_string(options.character_coverage)},
          {"control_symbols", specials},
          {"hard_vocab_limit", "false"},  // fewer pieces where the text has no more
          {"num_threads", std::to_string(options.threads)},
          {"normalization_rule_name", "identity"},
          {"remove_extra_whitespaces", "false"},
          {"add_dummy_prefix", "true"},
          {"split_digits", "true"},
          {"allow_whitespace_only_pieces", "true"},
          {"unk_id", "0"},
          {"bos_id", "1"},
          {"eos_id", "2"},
          {"pad_id", "-1"},
          {"minloglevel", "2"}};
}

/// SentencePiece's message without its source line and assertion: "INTERNAL: FILE(LINE) [WHAT]
/// WHY".
std::string reason_of(const sentencepiece::util::Status& status) {
  const std::string text = status.ToString();
  const size_t end = text.rfind("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

}  // namespace

Tokenizer train_tokenizer(const TrainTokenizerOptions& options, const TextSource& next) {
  check_options(options);
  LineSample sample(options.max_lines, options.seed);
  std::string text;
  while (next(text)) sample.add_text(repair_utf8(text));
  std::vector<std::string> lines = sample.take();
  UM_CHECK(!lines.empty(), "tokenizer train: the corpus has no text");
  Sentences sentences(std::move(lines));
  std::string model;
  const auto status =
      sentencepiece::SentencePieceTrainer::Train(trainer_arguments(options), &sentences, &model);
  UM_CHECK(status.ok(), "tokenizer train: {}", reason_of(status));
  return Tokenizer::parse(std::move(model), "", "trained tokenizer");
}

}  // namespace um
