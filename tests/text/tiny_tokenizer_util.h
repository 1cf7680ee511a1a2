// A small tokenizer trained once per test process on made-up sentences.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "text/train.h"

namespace um {

/// `count` sentences, always the same.
std::vector<std::string> tiny_corpus(size_t count);

/// A source over a list of texts.
TextSource texts_source(std::vector<std::string> texts);

/// Vocabulary 400, with the Pangu special tokens.
const Tokenizer& tiny_tokenizer();

}  // namespace um
