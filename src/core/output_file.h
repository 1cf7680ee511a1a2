// Files that are written: only a regular file is replaced, and links to one are followed. Every
// file that the program writes under a name from outside goes through here.
#pragma once

#include <filesystem>

namespace um {

/// The file that is written under the name `path`: what its symbolic links lead to, which need not
/// be there yet. Throws Error for what a new file must not take the place of: a directory, pipe,
/// socket or device, a link to a file that a process has open (/dev/stdout), another user's link in
/// a directory like /tmp.
std::filesystem::path output_file(const std::filesystem::path& path);

/// Removes a file (of a link, the link) that others take the place of, if it is there. Throws Error
/// for what output_file() refuses.
void remove_output_file(const std::filesystem::path& path);

}  // namespace um
