// What a tokenizer.json does to a text: cut out added tokens, normalise, split into words, BPE.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/workspace_pool.h"

namespace um {

class Pipeline {
 public:
  /// `whole`: with the pieces that are special tokens, for texts in which these count; none if that
  /// makes no difference. `literal`: of the added tokens those which count in any text, and not
  /// only where special tokens are asked for.
  Pipeline(Normalizer normalizer, PreTokenizer pre_tokenizer, Bpe bpe, std::optional<Bpe> whole,
           const std::vector<AddedToken>& added, const std::vector<AddedToken>& literal);

  /// Appends the ids of `text`, valid UTF-8. `outside` as in EncodeOptions. May be called from
  /// several threads.
  void encode(std::string_view text, bool parse_special, EncodeGuard& guard,
              std::vector<int32_t>& ids, std::string_view outside = {}) const;

  /// Whether some characters may get no token of their own.
  bool shrinks() const {
    return normalizer_.shrinks() || pre_tokenizer_.drops() || !bpe_.covers_all();
  }

 private:
  struct Workspace {
    PcreScratch regex;
    Bpe::Scratch bpe;
    std::optional<Bpe::Scratch> whole;
  };
  /// Added tokens looked for in the text as it is, and in the normalised text.
  struct Cut {
    AddedTokens raw, normalized;
  };
  static Cut make_cut(const std::vector<AddedToken>& tokens);

  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
  std::optional<Bpe> whole_;
  Cut all_, literal_;
  std::set<int32_t> literal_ids_;
  mutable WorkspacePool<Workspace> pool_;
};

}  // namespace um
