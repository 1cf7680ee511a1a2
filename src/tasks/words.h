// Words and names that problems are made of.
#pragma once

#include <span>
#include <string_view>

#include "tasks/task.h"

namespace um {

/// Short common words without capitals.
std::span<const std::string_view> common_words(Language language);
std::span<const std::string_view> first_names(Language language);
/// Letters that words are put together of: a to z, or frequent Chinese characters.
std::span<const std::string_view> letters(Language language);

}  // namespace um
