// Random texts that are hard on tokenizers.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace um {

/// Words, blanks, marks, signs and scripts in a row; valid UTF-8.
std::string random_text(std::mt19937_64& random);
/// `count` of them, the first few by hand.
std::vector<std::string> random_texts(size_t count, uint64_t seed);

}  // namespace um
