// What the SentencePiece library takes on trust in a model: it follows the offsets in the table of
// rewritings without looking where they lead.
#pragma once

#include <string>
#include <string_view>

namespace um {

/// Throws Error `NAME: ...` for a model (the bytes of a tokenizer.model) whose normaliser would
/// read outside its tables. All else that can be wrong the library finds itself.
void check_sentencepiece(std::string_view model, const std::string& name);

}  // namespace um
