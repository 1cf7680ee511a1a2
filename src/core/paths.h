// Looking at what is there, and copying it. What cannot be read is an error: it must not
// count as missing.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>
#include <vector>

namespace um {

/// What is no regular file, by its st_mode: "a directory", "a pipe", "a socket", "a device".
std::string_view kind_of_file(mode_t mode);

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
/// The same for writers of this one file; a directory that cannot be read is passed over.
void remove_leftovers_of(const std::filesystem::path& file);

}  // namespace um
