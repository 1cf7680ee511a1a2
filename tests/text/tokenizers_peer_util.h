// Small files of the kind tokenizer.json, and Hugging Face's tokenizers as the peer of tests with
// them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "text/tokenizer.h"

namespace um {

/// A file of the smallest byte-level vocabulary: 256 bytes, merges, two special tokens.
Json tiny_json(const std::vector<std::pair<std::string, std::string>>& merges = {
                   {"h", "e"}, {"Ġ", "t"}, {"Ġt", "he"}, {"l", "l"}, {"he", "ll"}, {"1", "2"}});

/// A file in the manner of Llama 2: characters, byte fallback, a mark for the space. `metaspace`:
/// put there by the pre-tokenizer, and no byte fallback.
Json llama_json(bool metaspace);

/// A part of type Sequence; `key`: what its list is called.
Json sequence_of(const char* key, const Json& steps);

struct PeerJob {
  Tokenizer tokenizer;
  std::vector<std::string> texts;
  bool framed = false;  ///< also with what the file says stands around texts
};

/// Saves the tokenizers, asks the peer, compares ids, and texts where `decoded`. Files and texts at
/// which the package itself fails are passed over.
void expect_peer_agrees(const std::vector<PeerJob>& jobs, bool decoded);

}  // namespace um
