// Fuzz target: the document reader over arbitrary bytes, as .jsonl and as each kind of text.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/text_reader.h"
#include "text/utf8.h"

std::vector<std::string> fuzz_seeds() {
  return {
      "\x01{\"text\": \"one\"}\n{\"text\": \"two\\u00e9\", \"meta\": {\"n\": [1, 2.5, null]}}\n",
      "\x02one line\r\n\r\ntwo \xE9\x97\xA8 lines\n\n\xEF\xBB\xBF",
      "\x01{\"text\": \"\\ud83e\\udd86\"}"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  um::ReadOptions options;
  options.document = static_cast<um::DocumentRule>(data[0] / 2 % 4);
  options.block_bytes = 20;
  options.max_document_bytes = 4096;
  const size_t step = 1 + data[0] % 16;
  um::DocumentReader reader(
      [&, at = size_t{0}](char* buffer, size_t capacity) mutable {
        const size_t count = std::min({capacity, step, bytes.size() - at});
        bytes.copy(buffer, count, at);
        at += count;
        return count;
      },
      "fuzz", data[0] % 2 == 1, options);
  try {
    std::string text;
    while (reader.next(text)) {
      if (!um::is_utf8(text) || text.empty()) __builtin_trap();
    }
  } catch (const um::Error&) {
  }
  return 0;
}
