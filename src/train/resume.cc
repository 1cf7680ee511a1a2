// See resume.h.
#include "train/resume.h"

#include <algorithm>

#include "core/error.h"
#include "core/paths.h"
#include "train/run_checkpoint.h"

namespace um {
namespace {

/// Why a field must stay as it is; null if it may change.
const char* reason_to_keep(std::string_view field) {
  if (field.starts_with("model."))
    return "a run keeps its model; --model.from with a checkpoint and a new --out starts another";
  if (field == "data.seed" || field == "data.weights" || field == "data.hold_out" ||
      field == "grpo.seed")
    return "a run keeps the order of its data; --model.from with a checkpoint and a new --out "
           "starts another";
  return nullptr;
}

}  // namespace

bool has_run(const std::filesystem::path& directory) {
  return path_exists(directory / kRunFile) || latest_checkpoint(directory) ||
         !incomplete_checkpoints(directory).empty();
}

std::vector<std::string> resume_changes(const std::filesystem::path& run_dir, RunOptions options) {
  RunOptions saved;
  if (options.chat) saved.chat.emplace();
  if (options.grpo) saved.grpo.emplace();
  Fields before, now;
  saved.fields(before);
  options.fields(now);
  before.read_file(run_dir / kRunFile);
  std::vector<std::string> lines;
  for (const Fields::Change& change : now.changes_since(before)) {
    lines.push_back(fmt::format("{} {} -> {}", change.name, change.from, change.to));
    if (const char* reason = reason_to_keep(change.name))
      throw UsageError(fmt::format("--resume: {}: {}", lines.back(), reason));
  }
  return lines;
}

void check_stream(const Json& saved, const BatchSource& source, const Phase& phase, size_t index,
                  int64_t step) {
  const Json fresh = source.state();
  const JsonObject state(saved, "loader state"), begin(fresh, "loader state");
  const std::string corpora = state.string("corpora"), now = begin.string("corpora");
  if (corpora != now)
    throw UsageError(
        fmt::format("--resume: {}: this is not the data that the run was trained on ({}, found "
                    "{}); a run keeps its data",
                    now.starts_with("questions-") ? "grpo.path" : "data.path", corpora, now));
  if (step <= phase.begin) return;  // the phase begins, with a stream of its own
  const int64_t first_seed = begin.integer("seed") - static_cast<int64_t>(index);
  const int64_t saved_index = state.integer("seed") - first_seed;
  if (saved_index != static_cast<int64_t>(index))
    throw UsageError(
        fmt::format("--resume: step {} was in phase {} (0 is the main one), by these options it is "
                    "in phase {}; "
                    "leave the lengths of phases that have begun as they were",
                    step, saved_index, index));
  const int64_t seq_len = state.integer("seq_len");
  if (seq_len != phase.seq_len)
    throw UsageError(fmt::format(
        "--resume: seq_len {} -> {}: the run is in the middle of an epoch cut into sequences of {} "
        "tokens; only a new phase can have others",
        seq_len, phase.seq_len, seq_len));
}

}  // namespace um
