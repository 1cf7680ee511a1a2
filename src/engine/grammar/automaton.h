// Automaton: a Grammar made deterministic as far as it is visited. A state is a set of places in
// the grammar, each with its stack of open calls; transitions and token masks are kept per state.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/keyed_hash.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/token_trie.h"

namespace um {

/// Which tokens may come next.
struct TokenMask {
  TokenTrie::Bits bits;
  bool any = false;       ///< at least one bit is set
  bool complete = false;  ///< the text may end here
};

/// All methods lock: constraints of several threads may share one.
class Automaton {
 public:
  Automaton(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie);

  static constexpr int32_t kStart = 0;
  static constexpr int32_t kDead = -1;

  /// The state behind the bytes; kDead if no text goes on like that.
  int32_t advance(int32_t state, std::string_view bytes);
  /// Stays valid as long as the automaton.
  const TokenMask& mask(int32_t state);
  /// Whether it holds so much that a fresh one is better; see move_state().
  bool full() const;
  /// `state` of `from` as a state of this automaton over the same grammar.
  int32_t move_state(Automaton& from, int32_t state);

 private:
  struct Place {
    int32_t stack;  ///< index in stacks_
    Grammar::State state;
    auto operator<=>(const Place&) const = default;  // NOLINT(modernize-use-nullptr): not one
  };
  struct Frame {
    int32_t below;  ///< the stack under this one
    int32_t depth;
    Grammar::State back;  ///< where the call returns to
    auto operator<=>(const Frame&) const = default;
  };
  using Places = std::vector<Place>;
  struct Node {
    Places places;  ///< sorted; each reads a byte or a plain character
    bool complete;
    bool free, free_wide;  ///< every plain text may follow; every one that is not ASCII at first
    std::unique_ptr<TokenMask> mask;
  };

  int32_t next(int32_t state, uint8_t byte) {
    const auto byte_class = static_cast<size_t>(grammar_->byte_class(byte));
    const int32_t known = next_[static_cast<size_t>(state) * classes_ + byte_class];
    return known != kUnknown ? known : find_next(state, byte_class);
  }
  int32_t find_next(int32_t state, size_t byte_class);
  /// Adds what is reached from a place without reading; true if the whole text may end there.
  void close_over(Place from);
  void visit(Place place);
  int32_t intern(bool complete);
  int32_t push_frame(int32_t below, Grammar::State back);
  bool is_free(const Places& places, bool wide) const;
  void begin_walk(int32_t state);
  void walk_rest(int32_t state, TokenTrie::Bits& bits);
  void walk_plain(int32_t state, TokenTrie::Bits& bits);
  bool afford(int32_t state);
  bool is_called_by(const Place& place, const Place& from) const;
  std::unique_ptr<TokenMask> make_mask(int32_t state);

  static constexpr int32_t kUnknown = -2;

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  size_t classes_;
  mutable std::mutex mutex_;
  std::vector<Node> nodes_;
  std::vector<int32_t> next_;  // [state][byte class]
  std::unordered_multimap<uint64_t, int32_t, KeyedHash> by_hash_;
  std::vector<Frame> stacks_;
  NumberMap<int32_t> stack_of_;    // (below, back) → stack
  size_t held_ = 0;                // bytes, about
  std::vector<uint32_t> seen_in_;  // by state: the last walk that met it
  uint32_t walk_ = 0;
  size_t work_ = 0;  // of the present walk
  // Scratch of close_over().
  Places found_, open_;
  NumberMap<bool> visited_;
  bool complete_ = false;
};

}  // namespace um
