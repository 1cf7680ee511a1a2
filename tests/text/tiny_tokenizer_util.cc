// See tiny_tokenizer_util.h.
#include "tests/text/tiny_tokenizer_util.h"

#include <random>

namespace um {

std::vector<std::string> tiny_corpus(size_t count) {
  static const std::vector<std::string> kWords = {
      "the",   "river",  "runs",  "under",  "a",     "stone", "bridge", "and",   "seven", "grey",
      "geese", "cross",  "water", "every",  "night", "while", "old",    "bell",  "rings", "slowly",
      "门前",  "大桥下", "游过",  "一群鸭", "2024",  "3.14",  "don't",  "naïve", "café",  "winter"};
  std::mt19937_64 random(7);
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    std::string text;
    for (size_t n = 4 + random() % 12; n > 0; --n) {
      text += kWords[random() % kWords.size()];
      text += n > 1 ? " " : ".";
    }
    texts.push_back(text);
  }
  return texts;
}

TextSource texts_source(std::vector<std::string> texts) {
  return [texts = std::move(texts), at = size_t{0}](std::string& text) mutable {
    if (at == texts.size()) return false;
    text = texts[at++];
    return true;
  };
}

const Tokenizer& tiny_tokenizer() {
  static const Tokenizer kTokenizer = [] {
    TrainTokenizerOptions options;
    options.vocab_size = 400;
    return train_tokenizer(options, texts_source(tiny_corpus(500)));
  }();
  return kTokenizer;
}

}  // namespace um
