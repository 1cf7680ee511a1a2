// `eval --save-logits` and `eval --kl-base`: a base's predictions in a file, and models beside
// them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/base_file.h"
#include "engine/divergence.h"
#include "models/model.h"

namespace um {

struct BaseFlags {
  std::string save, compare;  ///< the base file to write, to read
  int64_t chunks = 0;

  void add_to(CLI::App* command);
  bool given() const { return !save.empty() || !compare.empty(); }
};

/// What both need to know beside the model.
struct BaseRun {
  const Model& model;
  std::filesystem::path directory;  ///< its tokenizer's
  int64_t context = 512, batch_tokens = 4096;
  bool json = false;
};

/// Writes the base file and prints the perplexity. Throws UsageError unless `flags` says what can
/// be done.
void save_base(const BaseRun& run, const BaseFlags& flags, const std::string& text_file);
/// Compares with the base, on its first `chunks` (0: all) chunks, and prints what came out.
void compare_base(const BaseRun& run, const BaseFile& base, int64_t chunks);

void print_divergence(const DivergenceReport& report);

}  // namespace um
