// See automaton.h.
#include "engine/grammar/automaton.h"

#include <algorithm>
#include <array>

#include "core/rng.h"

namespace um {
namespace {

constexpr size_t kMaxHeld = size_t{16} << 20;
/// Places looked at for one state. An ambiguous grammar may have more; leaving some out forbids
/// texts that would be right, but never lets a wrong one through, and each place can be finished.
constexpr size_t kMaxPlaces = 2048;

/// What one walk over the vocabulary may cost, in places of new states. A hostile grammar has a new
/// state for every token; then some tokens are left out, as above.
constexpr size_t kMaxWork = 20'000;

uint64_t pair_key(int32_t a, int32_t b) {
  return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
}

}  // namespace

Automaton::Automaton(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::move(grammar)),
      trie_(std::move(trie)),
      classes_(static_cast<size_t>(grammar_->byte_classes())) {
  stacks_.push_back({-1, 0, -1});
  close_over({0, grammar_->start(grammar_->root())});
  intern(complete_);
}

int32_t Automaton::push_frame(int32_t below, Grammar::State back) {
  const auto [at, is_new] =
      stack_of_.try_emplace(pair_key(below, back), static_cast<int32_t>(stacks_.size()));
  if (is_new) {
    stacks_.push_back({below, stacks_[static_cast<size_t>(below)].depth + 1, back});
    held_ += sizeof(Frame) + 48;
  }
  return at->second;
}

void Automaton::visit(Place place) {
  const int depth = stacks_[static_cast<size_t>(place.stack)].depth;
  if (depth + grammar_->need(place.state) > Grammar::kMaxDepth) return;
  if (visited_.size() >= kMaxPlaces) return;
  if (visited_.try_emplace(pair_key(place.stack, place.state), true).second) open_.push_back(place);
}

void Automaton::close_over(Place from) {
  visit(from);
  while (!open_.empty()) {
    const Place place = open_.back();
    open_.pop_back();
    if (grammar_->is_end(place.state)) {
      const Frame frame = stacks_[static_cast<size_t>(place.stack)];
      if (frame.below < 0)
        complete_ = true;
      else
        visit({frame.below, frame.back});
      continue;
    }
    bool reads = false;
    const int depth = stacks_[static_cast<size_t>(place.stack)].depth;
    for (const Grammar::Edge& edge : grammar_->edges(place.state)) {
      reads = reads || edge.kind == Grammar::Edge::kBytes;
      if (edge.kind == Grammar::Edge::kEmpty) visit({place.stack, edge.to});
      if (edge.kind != Grammar::Edge::kCall) continue;
      // Both sides of the call must have room on the stack to be finished.
      const Grammar::State start = grammar_->start(edge.rule);
      if (depth + grammar_->need(edge.to) > Grammar::kMaxDepth ||
          depth + 1 + grammar_->need(start) > Grammar::kMaxDepth)
        continue;
      visit({push_frame(place.stack, edge.to), start});
    }
    if (reads || grammar_->room(place.state) > 0) found_.push_back(place);
  }
}

/// Whether every plain text, up to a token's length, may follow; `wide`: if it begins outside
/// ASCII.
bool Automaton::is_free(const Places& places, bool wide) const {
  return std::any_of(places.begin(), places.end(), [&](const Place& place) {
    return stacks_[static_cast<size_t>(place.stack)].depth < Grammar::kMaxDepth &&
           (wide ? grammar_->free_wide(place.state)
                 : grammar_->room(place.state) == Grammar::kRoom);
  });
}

/// The state of found_, which it empties together with the scratch.
int32_t Automaton::intern(bool complete) {
  std::sort(found_.begin(), found_.end());
  uint64_t hash = complete ? 1 : 0;
  for (const Place& place : found_) hash = mix64(hash ^ pair_key(place.stack, place.state));
  int32_t state = kDead;
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto at = begin; at != end && state == kDead; ++at) {
    const Node& node = nodes_[static_cast<size_t>(at->second)];
    if (node.complete == complete && node.places == found_) state = at->second;
  }
  const bool dead = found_.empty() && !complete && !nodes_.empty();
  if (state == kDead && !dead) {
    state = static_cast<int32_t>(nodes_.size());
    held_ += sizeof(Node) + 64 + found_.size() * sizeof(Place) + classes_ * sizeof(int32_t);
    nodes_.push_back({found_, complete, is_free(found_, false), is_free(found_, true), nullptr});
    next_.resize(next_.size() + classes_, kUnknown);
    by_hash_.emplace(hash, state);
  }
  found_.clear();
  visited_.clear();
  complete_ = false;
  return state;
}

int32_t Automaton::find_next(int32_t state, size_t byte_class) {
  const uint8_t byte = grammar_->class_byte(static_cast<int>(byte_class));
  for (const Place& place : nodes_[static_cast<size_t>(state)].places)
    for (const Grammar::Edge& edge : grammar_->edges(place.state))
      if (edge.kind == Grammar::Edge::kBytes && edge.low <= byte && byte <= edge.high)
        close_over({place.stack, edge.to});
  const int32_t to = intern(complete_);
  next_[static_cast<size_t>(state) * classes_ + byte_class] = to;
  return to;
}

int32_t Automaton::advance(int32_t state, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  for (const char byte : bytes) {
    if (state == kDead) break;
    state = next(state, static_cast<uint8_t>(byte));
  }
  return state;
}

bool Automaton::full() const {
  const std::lock_guard lock(mutex_);
  return held_ > kMaxHeld;
}

int32_t Automaton::move_state(Automaton& from, int32_t state) {
  // Each place as the states its stack returns to, from the bottom.
  std::vector<std::pair<std::vector<Grammar::State>, Grammar::State>> places;
  bool complete = false;
  {
    const std::lock_guard lock(from.mutex_);
    const Node& node = from.nodes_[static_cast<size_t>(state)];
    complete = node.complete;
    for (const Place& place : node.places) {
      std::vector<Grammar::State> stack;
      for (int32_t at = place.stack; at > 0; at = from.stacks_[static_cast<size_t>(at)].below)
        stack.push_back(from.stacks_[static_cast<size_t>(at)].back);
      places.emplace_back(std::vector(stack.rbegin(), stack.rend()), place.state);
    }
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [stack, at] : places) {
    int32_t frame = 0;
    for (const Grammar::State back : stack) frame = push_frame(frame, back);
    found_.push_back({frame, at});
  }
  return intern(complete);
}

const TokenMask& Automaton::mask(int32_t state) {
  const std::lock_guard lock(mutex_);
  if (!nodes_[static_cast<size_t>(state)].mask) {
    auto made = make_mask(state);  // nodes_ may grow meanwhile
    held_ += made->bits.size() * sizeof(uint64_t);
    nodes_[static_cast<size_t>(state)].mask = std::move(made);
  }
  return *nodes_[static_cast<size_t>(state)].mask;
}

/// False if the present walk has met too much to go on into a state that is new to it. That depends
/// on the grammar and the state alone, not on what is known from earlier walks.
bool Automaton::afford(int32_t state) {
  seen_in_.resize(nodes_.size(), 0);
  uint32_t& seen = seen_in_[static_cast<size_t>(state)];
  if (seen == walk_) return true;
  if (work_ > kMaxWork) return false;
  work_ += 8 + nodes_[static_cast<size_t>(state)].places.size();
  seen = walk_;
  return true;
}

/// The first bytes are always affordable: with tokens for single bytes there is a way on.
void Automaton::begin_walk(int32_t state) {
  ++walk_;
  for (size_t byte_class = 0; byte_class < classes_; ++byte_class) {
    const int32_t to = next(state, grammar_->class_byte(static_cast<int>(byte_class)));
    work_ = 0;
    if (to != kDead) afford(to);
  }
  work_ = 0;
}

/// Adds the tokens that are not plain and go on from `state`.
void Automaton::walk_rest(int32_t state, TokenTrie::Bits& bits) {
  std::array<int32_t, 257> path;
  path[0] = state;
  begin_walk(state);
  const TokenTrie::Part& part = trie_->rest();
  const TokenTrie::Node* nodes = part.nodes.data();
  for (size_t i = 0; i + 1 < part.nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const int32_t to = next(path[node.depth], node.byte);
    if (to == kDead || !afford(to)) {
      i += node.branch;
      continue;
    }
    path[node.depth + 1u] = to;
    ++i;
    for (uint32_t token = node.first_token; token < nodes[i].first_token; ++token)
      set_bit(bits, part.tokens[token]);
  }
}

/// Adds the plain tokens that go on from `state`. Where every plain text may follow, a branch is
/// taken whole: names of properties that are not listed are like that soon.
void Automaton::walk_plain(int32_t state, TokenTrie::Bits& bits) {
  constexpr uint8_t kWide = 0xc0;  // from here on first bytes of characters outside ASCII
  std::array<int32_t, 257> path;
  path[0] = state;
  begin_walk(state);
  const TokenTrie::Part& part = trie_->plain();
  const TokenTrie::Node* nodes = part.nodes.data();
  std::vector<std::pair<uint32_t, uint32_t>> allowed;  // from, to: in part.tokens
  uint32_t count = 0;
  const auto allow = [&](uint32_t from, uint32_t to) {
    count += to - from;
    if (!allowed.empty() && allowed.back().second == from)
      allowed.back().second = to;
    else if (from < to)
      allowed.emplace_back(from, to);
  };
  for (size_t i = 0; i + 1 < part.nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const int32_t from = path[node.depth];
    const bool wide = node.byte >= kWide && nodes_[static_cast<size_t>(from)].free_wide;
    const int32_t to = wide ? from : next(from, node.byte);
    const bool enters = to != kDead && (wide || afford(to));
    if (enters && !wide && !nodes_[static_cast<size_t>(to)].free) {
      path[node.depth + 1u] = to;
      ++i;
      allow(node.first_token, nodes[i].first_token);
      continue;
    }
    i += node.branch;
    if (enters) allow(node.first_token, nodes[i].first_token);
  }
  if (count < part.tokens.size() / 2) {
    for (const auto& [from, to] : allowed)
      for (uint32_t token = from; token < to; ++token) set_bit(bits, part.tokens[token]);
    return;
  }
  TokenTrie::Bits plain = trie_->plain_up_to(Grammar::kRoom);  // and without the few others
  uint32_t next_token = 0;
  allowed.emplace_back(part.tokens.size(), part.tokens.size());
  for (const auto& [from, to] : allowed) {
    for (; next_token < from; ++next_token) clear_bit(plain, part.tokens[next_token]);
    next_token = to;
  }
  for (size_t i = 0; i < bits.size(); ++i) bits[i] |= plain[i];
}

/// Does `place` read the character that `from`, a place that knows its room, has just called for?
bool Automaton::is_called_by(const Place& place, const Place& from) const {
  const Frame& frame = stacks_[static_cast<size_t>(place.stack)];
  if (frame.below != from.stack) return false;
  const auto edges = grammar_->edges(from.state);
  return std::any_of(edges.begin(), edges.end(), [&](const Grammar::Edge& edge) {
    return edge.kind == Grammar::Edge::kCall && edge.to == frame.back &&
           grammar_->start(edge.rule) == place.state;
  });
}

/// A token is allowed if any place of the state allows it. Places that take every plain token up to
/// some length give those at once; the plain part of the trie is walked for the others alone.
std::unique_ptr<TokenMask> Automaton::make_mask(int32_t state) {
  auto mask = std::make_unique<TokenMask>();
  const Places places = nodes_[static_cast<size_t>(state)].places;
  mask->complete = nodes_[static_cast<size_t>(state)].complete;
  int room = 0;
  Places known, others;
  for (const Place& place : places) {
    const bool may_call = stacks_[static_cast<size_t>(place.stack)].depth < Grammar::kMaxDepth;
    if (!may_call || grammar_->room(place.state) == 0) continue;
    room = std::max(room, grammar_->room(place.state));
    if (grammar_->closed(place.state)) known.push_back(place);
  }
  mask->bits = trie_->plain_up_to(room);
  walk_rest(state, mask->bits);
  if (room < Grammar::kRoom) {
    for (const Place& place : places) {
      if (std::none_of(known.begin(), known.end(), [&](const Place& from) {
            return place == from || is_called_by(place, from);
          }))
        others.push_back(place);
    }
    found_ = std::move(others);
    const int32_t rest = intern(false);
    if (rest != kDead) walk_plain(rest, mask->bits);
  }
  mask->any = std::any_of(mask->bits.begin(), mask->bits.end(), [](uint64_t w) { return w != 0; });
  return mask;
}

}  // namespace um
