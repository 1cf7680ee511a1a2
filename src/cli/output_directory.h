// What a command's output directory may hold before: none writes over a model, a run, a corpus or a
// tokenizer that it does not replace.
#pragma once

#include <filesystem>
#include <initializer_list>

namespace um {

enum class Holding { nothing, model, run, corpus, tokenizer };

/// Throws Error if `directory` holds something that is not in `replaced`, nor is the tokenizer that
/// the command puts there (`tokenizer`: the directory it comes from, if not empty).
void check_output_directory(const std::filesystem::path& directory,
                            std::initializer_list<Holding> replaced,
                            const std::filesystem::path& tokenizer = {});

}  // namespace um
