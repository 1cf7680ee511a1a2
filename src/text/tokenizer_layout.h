// Which files of a directory make its tokenizer, as transformers reads them.
#pragma once

#include <filesystem>

#include "text/tokenizer.h"

namespace um {

/// The tokenizer of a directory: tokenizer.json, else tokenizer.model, else vocab.json and
/// merges.txt. Throws Error naming what is missing or not supported.
Tokenizer load_layout(const std::filesystem::path& directory);

}  // namespace um
