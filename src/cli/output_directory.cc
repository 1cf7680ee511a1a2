// See output_directory.h.
#include "cli/output_directory.h"

#include <algorithm>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/paths.h"
#include "data/dataset.h"
#include "models/digests.h"
#include "models/weights.h"
#include "text/tokenizer_hash.h"
#include "train/resume.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// A model, run or corpus has a tokenizer, or may have one, which is a part of it.
Holding holding_of(const fs::path& directory) {
  if (is_unfinished(directory)) return Holding::nothing;
  if (path_exists(directory / "config.json") || has_weights(directory)) return Holding::model;
  if (has_run(directory)) return Holding::run;
  if (path_exists(directory / kManifestName)) return Holding::corpus;
  return has_tokenizer(directory) ? Holding::tokenizer : Holding::nothing;
}

std::string_view name_of(Holding holding) {
  switch (holding) {
    case Holding::model:
      return "a model";
    case Holding::run:
      return "a training run";
    case Holding::corpus:
      return "a packed corpus";
    default:
      return "a tokenizer";
  }
}

}  // namespace

void check_output_directory(const fs::path& directory, std::initializer_list<Holding> replaced,
                            const fs::path& tokenizer) {
  if (!path_exists(directory)) return;
  UM_CHECK(fs::is_directory(directory), "{}: expected a directory to write into, found a file",
           directory.string());
  const Holding found = holding_of(directory);
  if (found == Holding::nothing || std::ranges::count(replaced, found) > 0) return;
  std::error_code ignored;
  if (found == Holding::tokenizer && !tokenizer.empty() &&
      fs::equivalent(directory, tokenizer, ignored))
    return;
  fail("{}: there is {} here; name a new directory or remove it", directory.string(),
       name_of(found));
}

}  // namespace um
