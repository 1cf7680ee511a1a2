// Fuzzes the manifest of packed shards: it is refused with Error, or can be written and read back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "data/dataset.h"

std::vector<std::string> fuzz_seeds() {
  um::Manifest manifest;
  manifest.vocab_size = 320;
  manifest.tokenizer_hash = "0123abcd";
  manifest.document = "line";
  const std::string empty = manifest.json().dump();
  manifest.train = {.documents = 5,
                    .tokens = 70,
                    .text_bytes = 300,
                    .unigram_entropy = 4.5,
                    .shards = {{"train-0.tokens", 3, 40, 140, "00ff00ff"},
                               {"train-1.tokens", 2, 30, 100, "12345678"}}};
  manifest.sources = {{"corpus.txt", 300, 5}};
  return {empty, manifest.json().dump()};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const um::Manifest manifest = um::Manifest::parse(um::parse_json(text, "fuzz"), "fuzz");
    const um::Json written = manifest.json();
    try {
      if (um::Manifest::parse(written, "written").json() != written) std::abort();
    } catch (const um::Error&) {
      std::abort();  // what was read can be written and read again
    }
  } catch (const um::Error&) {
  }
  return 0;
}
