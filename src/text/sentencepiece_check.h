// What the SentencePiece library takes on trust in a model: it follows the offsets in the table of
// rewritings without looking where they lead.
#pragma once

#include <string>
#include <string_view>

namespace um {

struct SentencePieceFacts {
  bool unigram = true;    ///< else BPE (or words, or characters)
  bool rewrites = false;  ///< the normaliser rewrites characters, and not only spaces
};

/// Throws Error `NAME: ...` for a model (the bytes of a tokenizer.model) whose normaliser would
/// read outside its tables, or with a zero byte in a piece, at which the library throws. All else
/// that can be wrong the library finds itself.
SentencePieceFacts check_sentencepiece(std::string_view model, const std::string& name);

}  // namespace um
