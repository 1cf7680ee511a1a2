// Fuzz target: files of a base's predictions over arbitrary bytes; every row of one that is
// accepted can be read, or is refused.
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "engine/base_file.h"

std::vector<std::string> fuzz_seeds() {
  namespace fs = std::filesystem;
  const fs::path path = fs::temp_directory_path() / ("um_base_fuzz_" + std::to_string(::getpid()));
  std::vector<std::string> seeds;
  for (const int64_t vocab : {4, 7}) {
    const std::vector<int32_t> tokens = {0, 1, 2, 3, 3, 2};
    um::BaseFileWriter writer(path, 3, vocab, tokens);
    std::vector<float> logits(static_cast<size_t>(vocab), 1.0F);
    std::vector<std::byte> row(um::base_row_bytes(vocab));
    for (int i = 0; i < 2; ++i) {
      logits[0] = static_cast<float>(5 * i);
      um::encode_base_row(logits, row);
      writer.add(row);
    }
    writer.commit();
    seeds.push_back(um::read_file(path));
  }
  fs::remove(path);
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const um::BaseFile file(std::as_bytes(std::span(data, size)), "fuzz");
    for (const int32_t id : file.tokens())
      if (id < 0 || id >= file.vocab()) __builtin_trap();
    std::vector<double> log_probs(static_cast<size_t>(file.vocab()));
    for (int64_t r = 0; r < file.rows(); ++r) {
      file.row(r).log_probs(log_probs);
      for (const double log_p : log_probs)
        if (!std::isfinite(log_p) || log_p > 0.02) __builtin_trap();
    }
  } catch (const um::Error&) {
  }
  return 0;
}
