// See prompt.h.
#include "text/prompt.h"

namespace um {

std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text,
                                   bool parse_special) {
  std::vector<int32_t> ids =
      tokenizer.encode(text, {.add_bos = tokenizer.add_bos(), .parse_special = parse_special});
  const int32_t begin = tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : tokenizer.eos_id();
  if (ids.empty() && begin >= 0) ids.push_back(begin);
  return ids;
}

}  // namespace um
