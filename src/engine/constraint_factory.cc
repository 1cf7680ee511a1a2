// See constraint_factory.h.
#include "engine/constraint_factory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <thread>

#include "core/error.h"
#include "core/stop_scope.h"
#include "engine/grammar/automaton.h"
#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kRemembered = 16;               // compiled grammars
constexpr size_t kMaxChoices = size_t{1} << 18;  // bytes of all texts
/// Steps of check_stop() and bytes of count_memory() that one grammar may take: about a second.
constexpr uint64_t kMaxWork = 12'000'000, kMaxMemory = uint64_t{256} << 20;
constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::vector<std::string> bytes_of(const Tokenizer& tokenizer, const std::vector<int32_t>& marks) {
  std::vector<std::string> bytes;
  bytes.reserve(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    bytes.emplace_back(tokenizer.is_special(id) ? std::string_view() : tokenizer.bytes(id));
  // A byte that is in no text is not taken for the beginning of a mark.
  for (std::string& token : bytes)
    if (token.find('\xff') != std::string::npos) token.clear();
  for (size_t i = 0; i < marks.size(); ++i) bytes.at(static_cast<size_t>(marks[i])) = form_mark(i);
  return bytes;
}

std::shared_ptr<const std::vector<int32_t>> checked(std::vector<int32_t> eos) {
  if (eos.empty()) throw UsageError("constraints: expected a token that ends an answer");
  for (const int32_t id : eos) UM_CHECK(id >= 0, "constraints: the end token {} is negative", id);
  return std::make_shared<const std::vector<int32_t>>(std::move(eos));
}

Grammar json_object_grammar() {
  Grammar grammar;
  const Grammar::Rule text = grammar.add_rule();
  JsonRules rules(grammar);
  const Grammar::State begin = grammar.add_state();
  rules.space(grammar.start(text), begin);
  rules.any_object(begin, grammar.end(text));
  grammar.finish(text);
  return grammar;
}

Grammar regex_grammar(std::string_view pattern) {
  Grammar grammar;
  const Regex regex = Regex::parse(pattern, "regex");
  const Grammar::Rule text = grammar.add_rule();
  if (regex.plain)
    add_regex(grammar, regex, grammar.start(text), grammar.end(text));
  else
    add_match(grammar, regex, "regex", grammar.start(text), grammar.end(text));
  grammar.finish(text);
  return grammar;
}

Grammar choice_grammar(std::span<const std::string> texts) {
  Grammar grammar;
  const Grammar::Rule rule = grammar.add_rule();
  grammar.add_literals(grammar.start(rule), texts, grammar.end(rule));
  grammar.finish(rule);
  return grammar;
}

/// Forbids what has no bit. Mixed words are common (a string without quotes), so no branch per
/// token.
void forbid(std::span<float> logits, const TokenTrie::Bits& bits) {
  constexpr size_t kWord = 64, kHalf = 32;
  std::array<uint32_t, kHalf> lane_bit;
  for (size_t i = 0; i < kHalf; ++i) lane_bit[i] = uint32_t{1} << i;
  const size_t known = std::min(logits.size(), bits.size() * kWord);
  for (size_t begin = 0; begin < known; begin += kHalf) {
    const auto half = static_cast<uint32_t>(bits[begin / kWord] >> (begin % kWord));
    const size_t count = std::min(kHalf, known - begin);
    float* x = logits.data() + begin;
    if (half == ~uint32_t{0}) continue;
#pragma omp simd
    for (size_t i = 0; i < count; ++i) x[i] = (half & lane_bit[i]) != 0 ? x[i] : kForbidden;
  }
  std::fill(logits.begin() + static_cast<std::ptrdiff_t>(known), logits.end(), kForbidden);
}

}  // namespace

/// A compiled grammar and the automaton that present constraints use.
struct ConstraintFactory::Entry {
  std::string key;
  std::shared_ptr<const Grammar> grammar;
  std::shared_ptr<const TokenTrie> trie;
  std::shared_ptr<const std::vector<int32_t>> eos;
  std::mutex mutex;  // of the pointer below
  std::shared_ptr<Automaton> automaton;

  /// The automaton, a fresh one if it has grown too large.
  std::shared_ptr<Automaton> current() {
    const std::lock_guard lock(mutex);
    if (automaton->full()) automaton = std::make_shared<Automaton>(grammar, trie);
    return automaton;
  }
};

class GrammarConstraint : public Constraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<ConstraintFactory::Entry> entry)
      : entry_(std::move(entry)), automaton_(entry_->current()) {}

  void mask(std::span<float> logits) override {
    static const TokenMask nothing;
    const TokenMask& mask = ended_ ? nothing : automaton_->mask(state_);
    // A vocabulary that cannot write what must come next leaves nothing else than to end.
    const bool may_end = ended_ || mask.complete || !mask.any;
    std::vector<float> kept;
    for (const int32_t id : *entry_->eos)
      kept.push_back(static_cast<size_t>(id) < logits.size() ? logits[static_cast<size_t>(id)] : 0);
    forbid(logits, mask.bits);
    for (size_t i = 0; i < kept.size(); ++i) {
      const auto id = static_cast<size_t>((*entry_->eos)[i]);
      if (id < logits.size()) logits[id] = may_end ? kept[i] : kForbidden;
    }
  }

  void accept(int32_t id) override {
    if (ended_) return;
    if (std::find(entry_->eos->begin(), entry_->eos->end(), id) != entry_->eos->end()) {
      const TokenMask& mask = automaton_->mask(state_);
      ended_ = mask.complete || !mask.any;
      return;
    }
    if (id < 0 || id >= entry_->trie->vocab_size() || entry_->trie->bytes(id).empty()) return;
    const int32_t next = automaton_->advance(state_, entry_->trie->bytes(id));
    if (next == Automaton::kDead) return;
    state_ = next;
    if (automaton_->full()) {
      const auto fresh = entry_->current();
      if (fresh == automaton_) return;
      state_ = fresh->move_state(*automaton_, state_);
      automaton_ = fresh;
    }
  }

  std::unique_ptr<Constraint> clone() const override {
    return std::make_unique<GrammarConstraint>(*this);
  }

 private:
  std::shared_ptr<ConstraintFactory::Entry> entry_;
  std::shared_ptr<Automaton> automaton_;
  int32_t state_ = Automaton::kStart;
  bool ended_ = false;
};

namespace {

class AfterThinking : public Constraint {
 public:
  AfterThinking(std::unique_ptr<Constraint> inner, int32_t close)
      : inner_(std::move(inner)), close_(close) {}

  void mask(std::span<float> logits) override {
    if (!open_) inner_->mask(logits);
  }
  void accept(int32_t id) override {
    if (!open_)
      inner_->accept(id);
    else
      open_ = id != close_;
  }
  std::unique_ptr<Constraint> clone() const override {
    auto copy = std::make_unique<AfterThinking>(inner_->clone(), close_);
    copy->open_ = open_;
    return copy;
  }

 private:
  std::unique_ptr<Constraint> inner_;
  int32_t close_;
  bool open_ = true;
};

}  // namespace

ConstraintFactory::ConstraintFactory(const Tokenizer& tokenizer, std::vector<int32_t> eos,
                                     const std::vector<int32_t>& marks)
    : ConstraintFactory(bytes_of(tokenizer, marks), std::move(eos)) {}

ConstraintFactory::ConstraintFactory(const ConstraintFactory& other, std::vector<int32_t> eos)
    : trie_(other.trie_), eos_(checked(std::move(eos))) {}

ConstraintFactory::ConstraintFactory(std::vector<std::string> token_bytes, std::vector<int32_t> eos)
    : eos_(checked(std::move(eos))) {
  for (const int32_t id : *eos_)
    if (static_cast<size_t>(id) < token_bytes.size()) token_bytes[static_cast<size_t>(id)].clear();
  trie_ = std::make_shared<TokenTrie>(std::move(token_bytes));
}

Gate& ConstraintFactory::compile_gate() {
  static Gate gate(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  return gate;
}

std::unique_ptr<Constraint> ConstraintFactory::make(std::string key,
                                                    const std::function<Grammar()>& compile) {
  {
    const std::lock_guard lock(mutex_);
    const auto at = std::find_if(recent_.begin(), recent_.end(),
                                 [&](const auto& entry) { return entry->key == key; });
    if (at != recent_.end()) {
      recent_.splice(recent_.begin(), recent_, at);
      return std::make_unique<GrammarConstraint>(*at);
    }
  }
  auto entry = std::make_shared<Entry>();
  entry->key = std::move(key);
  {
    const Gate::Pass pass(compile_gate());
    const WorkScope work(kMaxWork, kMaxMemory,
                         "the schema takes too much work: simplify its combinations (oneOf, not, "
                         "dependentRequired, ...) and its patterns");
    entry->grammar = std::make_shared<Grammar>(compile());
  }
  entry->trie = trie_;
  entry->eos = eos_;
  entry->automaton = std::make_shared<Automaton>(entry->grammar, trie_);
  const std::lock_guard lock(mutex_);
  recent_.push_front(entry);
  if (recent_.size() > kRemembered) recent_.pop_back();
  return std::make_unique<GrammarConstraint>(entry);
}

std::unique_ptr<Constraint> ConstraintFactory::json_object() {
  return make("object", json_object_grammar);
}

std::unique_ptr<Constraint> ConstraintFactory::json_schema(std::string_view schema) {
  return make("schema " + std::string(schema), [&] { return schema_grammar(schema); });
}

std::unique_ptr<Constraint> ConstraintFactory::json_form(const JsonForm& form) {
  std::string key = fmt::format("form {}", form.repeat);
  const auto add = [&](const std::string& text) {
    key += fmt::format(" {} {}", text.size(), text);
  };
  for (const std::string* text : {&form.open, &form.between, &form.close}) add(*text);
  for (const JsonForm::Piece& piece : form.pieces) {
    for (const std::string* text :
         {&piece.before, &piece.schema, &piece.after, &piece.extra, &piece.name, &piece.separator})
      add(*text);
    key += fmt::format(" {}{}",
                       piece.object        ? 'o'
                       : piece.many_values ? 'v'
                                           : 's',
                       piece.values.size());
    for (const JsonForm::Value& value : piece.values) {
      for (const std::string* text : {&value.before, &value.schema, &value.after, &value.name})
        add(*text);
      key += fmt::format(" {}{}{}", value.required, static_cast<int>(value.texts), value.constants);
    }
  }
  return make(std::move(key), [&] { return form_grammar(form); });
}

std::unique_ptr<Constraint> ConstraintFactory::regex(std::string_view pattern) {
  return make("regex " + std::string(pattern), [&] { return regex_grammar(pattern); });
}

std::unique_ptr<Constraint> ConstraintFactory::choice(std::span<const std::string> texts) {
  std::string key = "choice";
  for (const std::string& text : texts) {
    if (text.empty() || !is_utf8(text))
      throw UsageError("choice: a text is empty or not valid UTF-8");
    key += fmt::format(" {} {}", text.size(), text);
  }
  if (texts.empty()) throw UsageError("choice: expected at least one text");
  if (key.size() > kMaxChoices)
    throw UsageError(fmt::format("choice: the texts have more than {} bytes", kMaxChoices));
  return make(std::move(key), [&] { return choice_grammar(texts); });
}

std::unique_ptr<Constraint> after_thinking(std::unique_ptr<Constraint> constraint, int32_t close,
                                           bool open) {
  if (!open) return constraint;
  return std::make_unique<AfterThinking>(std::move(constraint), close);
}

}  // namespace um
