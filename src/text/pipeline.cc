// See pipeline.h.
#include "text/pipeline.h"

#include <algorithm>

#include "text/utf8.h"

namespace um {
namespace {

bool any_marked(std::string_view marks) {
  return marks.find_first_not_of('\0') != std::string_view::npos;
}

}  // namespace

Pipeline::Pipeline(Normalizer normalizer, PreTokenizer pre_tokenizer, Bpe bpe,
                   std::optional<Bpe> whole, const std::vector<AddedToken>& added,
                   const std::vector<AddedToken>& literal)
    : normalizer_(std::move(normalizer)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      bpe_(std::move(bpe)),
      whole_(std::move(whole)),
      all_(make_cut(added)),
      literal_(make_cut(literal)) {
  for (const AddedToken& token : literal) literal_ids_.insert(token.id);
}

Pipeline::Cut Pipeline::make_cut(const std::vector<AddedToken>& tokens) {
  Cut cut;
  for (AddedToken token : tokens) {
    const bool normalized = token.normalized;
    if (normalized) token.text = token.normal;
    (normalized ? cut.normalized : cut.raw).add(std::move(token));
  }
  cut.raw.finish();
  cut.normalized.finish();
  return cut;
}

void Pipeline::encode(std::string_view text, bool parse_special, EncodeGuard& guard,
                      std::vector<int32_t>& ids, std::string_view outside) const {
  const Cut& cut = parse_special ? all_ : literal_;
  auto work = pool_.borrow();
  work->bpe.guard = &guard;
  const bool two = parse_special && whole_;
  if (two && !work->whole) work->whole.emplace();
  if (two) work->whole->guard = &guard;
  TextRoom normal_room("normalizer", text.size()), word_room("pre_tokenizer", text.size());
  const PreTokenizer::Sink word = [&](std::string_view part) {
    bpe_.encode(part, work->bpe, ids);
    guard.check(ids.size());
  };
  const PreTokenizer::Sink whole_word = [&](std::string_view part) {
    whole_->encode(part, *work->whole, ids);
    guard.check(ids.size());
  };
  const auto token = [&](const AddedToken& added) {
    ids.push_back(added.id);
    guard.check(ids.size());
  };
  /// Special tokens count where no byte of theirs is from outside.
  const auto inside = [&](std::string_view marks) -> AddedTokens::Accept {
    if (marks.empty()) return {};
    return [this, marks](const AddedToken& added, size_t at) {
      return !any_marked(marks.substr(at, added.text.size())) || literal_ids_.contains(added.id);
    };
  };
  const auto stretch = [&](std::string_view part) {  // between tokens of the text as it is
    const auto begin = static_cast<size_t>(part.data() - text.data());
    const std::string_view marks = outside.empty() ? outside : outside.substr(begin, part.size());
    size_t lead = begin == 0 ? utf8_step(part).bytes : 0;
    std::string changed;
    std::string_view normal = part;
    if (!normalizer_.empty())
      normal = changed = normalizer_.apply(std::string(part), work->regex, normal_room,
                                           begin == 0 ? &lead : nullptr);
    // Where places have moved, nothing is certain with any byte from outside.
    const bool moved = !normalizer_.empty() && normal != part, own = !any_marked(marks);
    (moved && !own ? literal_ : cut)
        .normalized.cut(
            normal,
            [&](std::string_view words) {
              const auto at = static_cast<size_t>(words.data() - normal.data());
              const bool trusted =
                  two && (own || (!moved && !any_marked(marks.substr(at, words.size()))));
              pre_tokenizer_.split(words, lead - std::min(lead, at), work->regex, word_room,
                                   trusted ? whole_word : word);
            },
            token, moved ? AddedTokens::Accept() : inside(marks));
  };
  cut.raw.cut(text, stretch, token, inside(outside));
}

}  // namespace um
