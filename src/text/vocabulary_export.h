// The inverse of vocabulary.h: any tokenizer as the vocabulary of a GGUF file.
#pragma once

#include <string>
#include <vector>

#include "core/gguf_write.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace um {

/// The tokenizer's tables, with unused tokens up to `size` ids (rows of the embedding), without
/// chat templates. Throws Error for a tokenizer.json that is not BPE.
Vocabulary vocabulary_of(const Tokenizer& tokenizer, int64_t size);

/// The keys `tokenizer.*`. A tokenizer.json is carried whole as well, so that nothing of it is lost
/// on the way back; `pre` is "default" where no published pre-tokenizer is the same.
std::vector<GgufEntry> vocabulary_entries(const Vocabulary& vocabulary);

}  // namespace um
