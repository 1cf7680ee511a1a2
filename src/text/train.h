// Training a SentencePiece tokenizer on a stream of texts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace um {

/// Fills `text` with the next text and returns true, or returns false at the end.
using TextSource = std::function<bool(std::string& text)>;

struct TrainTokenizerOptions {
  int32_t vocab_size = 4096;       // with the special tokens and the 256 bytes
  std::string model_type = "bpe";  // or "unigram"
  bool byte_fallback = true;       // characters outside the vocabulary become bytes
  double character_coverage =
      0.9995;       // share of the corpus' characters that get pieces of their own
  int threads = 1;  // unigram only: BPE training is serial
  /// At most so many lines are used, drawn evenly from all (deterministic).
  int64_t max_lines = 500000;
  uint64_t seed = 1;
  /// Special tokens, on ids 3, 4, …; the chat format needs these.
  std::vector<std::string> specials = {"[unused9]",  "[unused10]", "[unused11]",
                                       "[unused12]", "[unused16]", "[unused17]"};
};

/// Trains a tokenizer: ids 0 `<unk>`, 1 `<s>`, 2 `</s>`, the specials, 256 bytes, pieces. Text is
/// not normalised (decoding gives it back exactly), digits are split, white space may form pieces.
/// The same texts and options give the same tokenizer. Throws Error for an empty corpus or a
/// vocabulary size that the corpus cannot fill or that does not hold the bytes and specials.
Tokenizer train_tokenizer(const TrainTokenizerOptions& options, const TextSource& next);

}  // namespace um
