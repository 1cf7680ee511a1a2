// Which files a corpus is made of: the inputs that are named, and what lies below directories.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace um {

/// Whether each line of a file is a record, by its name.
bool is_jsonl(const std::filesystem::path& path);

/// The files of `inputs` in order: a file stands for itself, a directory for all .txt, .jsonl and
/// .ndjson files below it, also with .gz or .zst behind, sorted by path. Links to directories are
/// followed, but for those that lead back up; what is hidden (its name begins with a dot) is left
/// out. `warn`, if there is one, is told what is left out of a directory. Throws Error for an input
/// that does not exist, a directory without such files, or an empty list.
std::vector<std::filesystem::path> list_corpus(
    const std::vector<std::filesystem::path>& inputs,
    const std::function<void(const std::string&)>& warn = {});

}  // namespace um
