// Whether two tokenizers are the same one, and where a tokenizer is.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace um {

/// Whether the directory or .gguf file `path` has a tokenizer.
bool has_tokenizer(const std::filesystem::path& path);

/// What Tokenizer::hash() was before it looked into the files: a checksum of their bytes. It stands
/// in the manifests of corpora that were packed then.
std::string file_hash(const Tokenizer& tokenizer);

/// Throws Error unless the tokens of `data` are those of `model`: both are hash()es, with names for
/// the message. `remedy`: what to do.
void require_same_tokenizer(const std::string& data_hash, const std::string& data,
                            const std::string& model_hash, const std::string& model,
                            std::string_view remedy);

}  // namespace um
