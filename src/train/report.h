// The report of a run: one self-contained HTML file with charts of RUN/metrics.jsonl, the model
// card and the samples. It needs no network, no server and no other file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace um {

/// Facts about a run that are known when it starts, kept as RUN/model_card.json (a flat object).
/// What is left at its default is left out of the file and of the page.
struct ModelCard {
  struct Part {
    std::string name;    ///< "embedding", "attention", "experts", ...
    int64_t total = 0;   ///< parameters
    int64_t active = 0;  ///< parameters used per token
  };
  std::string name, architecture;
  std::string command;  ///< a command line that repeats the run
  std::string machine;  ///< processor, cores, memory, GPU
  int64_t planned_steps = 0;
  int64_t total_params = 0, active_params = 0;
  std::vector<Part> parts;
  double unigram_entropy_nats = 0;  ///< of the validation tokens under the training unigrams
  double bytes_per_token = 0;       ///< of the validation text
  double bytes_per_target = 0;      ///< the same by predicted tokens: gives bits per byte
  /// Shown as they are, in this order: {"Training tokens", "12,345,678"}, {"Licence", "..."}.
  std::vector<std::pair<std::string, std::string>> data;
  std::vector<std::pair<std::string, std::string>> facts;  ///< same, about the model or the run
};

/// Writes RUN/model_card.json atomically.
void write_model_card(const std::filesystem::path& run_dir, const ModelCard& card);

struct ReportOptions {
  bool live = false;   ///< training goes on: the page reloads itself
  int refresh_s = 10;  ///< seconds between reloads of a live page
};

/// Reads RUN/metrics.jsonl, samples.jsonl, run.toml and model_card.json, each of which may be
/// missing, partial or damaged, and writes RUN/report.html atomically. Returns its path. Memory is
/// bounded whatever the run's length; time is that of one pass over the files.
/// Throws Error if RUN is not a directory or the page cannot be written.
std::filesystem::path write_report(const std::filesystem::path& run_dir,
                                   const ReportOptions& options = {});

}  // namespace um
