// Digests of a checkpoint's files: DIRECTORY/digests.json holds the size and CRC-32 of every other
// file, as they were written. Every directory that we write a model into gets it; one without it,
// from elsewhere, is not checked.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "core/unfinished.h"

namespace um {

/// What training adds to a checkpoint's model.
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kTrainingStateFile = "training_state.json";

/// A directory that a model is written into; without `keep()` what is new in it goes
/// (OutputDirectory). Until it is sealed its digests.json says that it is not complete, for what a
/// killed writer leaves.
class CheckpointDirectory {
 public:
  /// `is_training(name)` says which of the files only training reads.
  explicit CheckpointDirectory(
      const std::filesystem::path& directory,
      std::function<bool(std::string_view name)> is_training = [](std::string_view) {
        return false;
      });

  /// Writes digests.json for the regular files that are there, and syncs the directory.
  void seal();
  /// After `seal()`: everything stays.
  void keep() { output_.keep(); }

 private:
  OutputDirectory output_;
  std::function<bool(std::string_view name)> is_training_;
};

/// Whether the writer of a directory was ended before it was complete.
bool is_unfinished(const std::filesystem::path& directory);

/// Which files a reader needs.
enum class DigestScope { model, all };

/// Compares the files with digests.json, if there is one, which must name the config, the weights
/// and what training reads, as far as they are there. Throws Error naming the first that is
/// missing, cut, changed or not named, and the newest older checkpoint beside this one that is
/// whole.
void check_digests(const std::filesystem::path& directory, DigestScope scope);

}  // namespace um
