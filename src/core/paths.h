// Looking at directories, and copying what is there. What cannot be read is an error: it must not
// count as missing.
#pragma once

#include <filesystem>
#include <vector>

namespace um {

/// Whether there is a file or directory of this name. Throws Error where that cannot be told (no
/// permission, an I/O error).
bool path_exists(const std::filesystem::path& path);

/// The entries of a directory, sorted; none if it does not exist. Throws Error if it cannot be
/// read.
std::vector<std::filesystem::path> list_directory(const std::filesystem::path& directory);

/// Copies a file of any size; it appears complete or not at all.
void copy_whole_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Removes the temporaries that writers of a directory's files (AtomicFile) left when they were
/// killed. Those of running processes stay.
void remove_leftovers(const std::filesystem::path& directory);

}  // namespace um
