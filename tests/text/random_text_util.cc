// See random_text_util.h.
#include "tests/text/random_text_util.h"

#include "text/utf8.h"

namespace um {

std::string random_text(std::mt19937_64& random) {
  static const std::vector<std::string> kParts = {" ",        "  ",         "\n",
                                                  "\r\n",     "\t",         "the",
                                                  "hello",    "'s",         "'LL",
                                                  "12",       "345",        "3.14",
                                                  "_",        "ǅ",          "é",
                                                  "e\u0301",  "ﬁ",          "ß",
                                                  "鸭",       "门前大桥下", "、",
                                                  "。",       "ー",         "カタ",
                                                  "한국",     "ไทย",        "नमस्ते",
                                                  "\u00A0",   "\u3000",     "\u200B",
                                                  "\u2028",   "😀",          "👩‍👩‍👧",
                                                  "🇩🇪",       "<|end|>",    "<think>",
                                                  "</think>", "<",          ">",
                                                  "!?",       "...",        "«",
                                                  "½",        "Ⅷ",          "٣",
                                                  "µ",        "Å",          "\u212B",
                                                  "\uFFFD",   "A",          "bc",
                                                  "\u0301",   "ſ",          "K",
                                                  "<mask>",   "word",       "[word]",
                                                  "e0",       "\u0085",     "\x01",
                                                  "~",        "{}",         "<s>",
                                                  "\u2581",   "İ",          "\u0323\u0301",
                                                  "</s>",     "[UNK]",      "river"};
  std::string text;
  for (size_t n = random() % 24; n > 0; --n) {
    if (random() % 8 != 0) {
      text += kParts[random() % kParts.size()];
      continue;
    }
    std::string bytes;  // any character below U+3100, surrogates and unassigned ones left out
    for (int k = 0; k < 3; ++k) bytes += static_cast<char>(random() % 256);
    text += repair_utf8(bytes);
  }
  return text;
}

std::vector<std::string> random_texts(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> texts = {"", " ", "hello the <|end|> 12"};
  while (texts.size() < count) texts.push_back(random_text(random));
  return texts;
}

}  // namespace um
