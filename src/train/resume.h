// What a resumed run may change: its options (RUN/run.toml) are compared with those that it goes on
// with, and where it stands with where these say that it stands.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/batch_source.h"
#include "train/options.h"
#include "train/schedule.h"

namespace um {

constexpr const char* kRunFile = "run.toml";

/// Whether a directory is that of a run.
bool has_run(const std::filesystem::path& directory);

/// The changes from RUN/run.toml to `options`, a line each: "train.lr 0.004 -> 1". Throws
/// UsageError for one that would make another run of it: of the model, or of the order of the data.
std::vector<std::string> resume_changes(const std::filesystem::path& run_dir, RunOptions options);

/// Throws UsageError unless the stream of batches that stood at `saved` (BatchSource::state) goes
/// on exactly in `phase`, number `index`, of which `source` is the beginning.
void check_stream(const Json& saved, const BatchSource& source, const Phase& phase, size_t index,
                  int64_t step);

}  // namespace um
