// See pre_tokenizer.h.
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "text/normalizer.h"

namespace um {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxSteps = 64;
// What ByteLevel splits by (GPT-2).
constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

PreTokenizer::PreTokenizer(const Json& spec, const std::string& where) {
  if (!spec.is_null()) add(spec, where, 0);
}

PreTokenizer::Behavior PreTokenizer::behavior_of(const std::string& name,
                                                 const std::string& where) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fail(
      "{}: behavior {}, expected Removed, Isolated, MergedWithPrevious, MergedWithNext or "
      "Contiguous",
      where, quote(name));
}

void PreTokenizer::add_split(std::string_view pattern, Behavior behavior, const std::string& where,
                             bool invert) {
  steps_.push_back({.regex = {Pcre(pattern, where)}, .behavior = behavior, .invert = invert});
}

void PreTokenizer::add_byte_level(const Json& spec, const std::string& where) {
  const JsonObject fields(spec, where);
  if (fields.boolean_or("add_prefix_space", true)) steps_.push_back({.kind = Step::kPrefixSpace});
  if (fields.boolean_or("use_regex", true)) {
    add_split(kByteLevelPattern, Behavior::kIsolated, where);
  }
  byte_level_ = true;
}

void PreTokenizer::add_metaspace(const Json& spec, const std::string& where) {
  const JsonObject fields(spec, where);
  Step step{.kind = Step::kMetaspace};
  step.mark = fields.string_or("replacement", "\xE2\x96\x81");
  UM_CHECK(!step.mark.empty() && step.mark.size() <= 4, "{}: replacement is not one character",
           where);
  const bool prefix = fields.boolean_or("add_prefix_space", true);
  const std::string scheme = fields.string_or("prepend_scheme", prefix ? "always" : "never");
  step.prepend = scheme == "always"  ? Step::kAlways
                 : scheme == "first" ? Step::kFirst
                                     : Step::kNever;
  const std::string mark = step.mark;
  steps_.push_back(std::move(step));
  if (fields.boolean_or("split", true)) {
    steps_.push_back(
        {.regex = {Pcre::literal(mark, where)}, .behavior = Behavior::kMergedWithNext});
  }
}

void PreTokenizer::add(const Json& spec, const std::string& where, int depth) {
  const JsonObject fields(spec, where);
  const std::string type = fields.string("type");
  UM_CHECK(depth < kMaxDepth && steps_.size() < kMaxSteps, "{}: too many or too deep steps", where);
  UM_CHECK(!byte_level_, "{}: {} after ByteLevel, which has to be the last", where, quote(type));
  if (type == "Sequence") {
    const Json* list = fields.find("pretokenizers");
    if (list == nullptr || !list->is_array()) fields.wrong("pretokenizers", "a list");
    for (size_t i = 0; i < list->size(); ++i) {
      add((*list)[i], fmt::format("{}.pretokenizers[{}]", where, i), depth + 1);
    }
  } else if (type == "Split") {
    steps_.push_back({.regex = {read_pattern(spec, where)},
                      .behavior = behavior_of(fields.string("behavior"), where),
                      .invert = fields.boolean_or("invert", false)});
  } else if (type == "ByteLevel") {
    add_byte_level(spec, where);
  } else if (type == "Digits") {
    const bool each = fields.boolean_or("individual_digits", false);
    add_split(R"(\p{N})", each ? Behavior::kIsolated : Behavior::kContiguous, where);
  } else if (type == "Punctuation") {
    add_split(R"([\p{P}!-/:-@\[-`{-~])",
              behavior_of(fields.string_or("behavior", "Isolated"), where), where);
  } else if (type == "Whitespace") {
    add_split(fmt::format(R"([{0}]+|[^{0}\s]+)", kWordCodes), Behavior::kRemoved, where, true);
  } else if (type == "WhitespaceSplit") {
    add_split(R"(\s)", Behavior::kRemoved, where);
  } else if (type == "Metaspace") {
    add_metaspace(spec, where);
  } else {
    fail(
        "{}: pre_tokenizer {} is not known; known: Split, ByteLevel, Digits, Punctuation, "
        "Whitespace, WhitespaceSplit, Metaspace, Sequence",
        where, quote(type));
  }
}

bool PreTokenizer::drops() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.kind == Step::kSplit && step.behavior == Behavior::kRemoved;
  });
}

void PreTokenizer::split(std::string_view text, size_t lead, PcreScratch& scratch, TextRoom& room,
                         const Sink& sink) const {
  Run state{scratch, room, sink};
  run(text, lead, 0, state);
}

void PreTokenizer::run(std::string_view text, size_t lead, size_t index, Run& state) const {
  if (text.empty()) return;
  if (index == steps_.size()) return state.sink(text);
  const Step& step = steps_[index];
  if (step.kind == Step::kSplit) return run_split(text, lead, index, state);
  if (step.kind == Step::kMetaspace) return run_metaspace(text, lead, index, state);
  if (text[0] == ' ') return run(text, lead, index + 1, state);
  state.room.take(text.size() + 1);
  run(" " + std::string(text), lead, index + 1, state);
}

/// Matches (empty ones, too) and what lies between them are parts; the behavior says which are kept
/// and which become one with a neighbour.
void PreTokenizer::run_split(std::string_view text, size_t lead, size_t index, Run& state) const {
  const Step& step = steps_[index];
  const auto emit = [&](PcreMatch part) {
    run(text.substr(part.begin, part.end - part.begin), lead - std::min(lead, part.begin),
        index + 1, state);
  };
  std::optional<PcreMatch> held;  // a part that the next may join
  bool held_match = false;        // whether the part before was a match
  const auto take = [&](PcreMatch part, bool match) {
    if (step.behavior == Behavior::kIsolated) return emit(part);
    if (step.behavior == Behavior::kRemoved) return match ? void() : emit(part);
    bool join = held.has_value();
    if (step.behavior == Behavior::kContiguous) join = join && match == held_match;
    if (step.behavior == Behavior::kMergedWithPrevious) join = join && match && !held_match;
    if (step.behavior == Behavior::kMergedWithNext) join = join && !match && held_match;
    if (held && !join) emit(*held);
    held = {join ? held->begin : part.begin, part.end};
    held_match = match;
  };
  size_t at = 0;
  PcreMatches matches(step.regex[0], text, state.scratch);
  for (PcreMatch match; matches.next(match); at = match.end) {
    if (match.begin > at) take({at, match.begin}, step.invert);
    take(match, !step.invert);
  }
  if (at < text.size()) take({at, text.size()}, step.invert);
  if (held) emit(*held);
}

void PreTokenizer::run_metaspace(std::string_view text, size_t lead, size_t index,
                                 Run& state) const {
  const Step& step = steps_[index];
  std::string marked;
  for (const char c : text) c == ' ' ? marked += step.mark : marked += c;
  const bool wanted = step.prepend == Step::kAlways || (step.prepend == Step::kFirst && lead > 0);
  if (wanted && !marked.starts_with(step.mark)) marked.insert(0, step.mark);
  state.room.take(marked.size());
  run(marked, lead, index + 1, state);
}

}  // namespace um
