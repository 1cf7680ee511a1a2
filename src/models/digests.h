// Digests of a checkpoint's files: DIRECTORY/digests.json holds the size and CRC-32 of every other
// file, as they were written. A checkpoint without it is not checked.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace um {

/// Writes digests.json for the regular files of a directory. `is_training(name)` says which of them
/// only training reads.
void write_digests(const std::filesystem::path& directory,
                   const std::function<bool(std::string_view name)>& is_training);

/// Which files a reader needs.
enum class DigestScope { model, all };

/// Compares the files with digests.json, if there is one. Throws Error naming the first that is
/// missing, cut or changed, and the newest older checkpoint beside this one that is whole.
void check_digests(const std::filesystem::path& directory, DigestScope scope);

}  // namespace um
