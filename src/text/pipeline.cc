// See pipeline.h.
#include "text/pipeline.h"

#include <numeric>

namespace um {

Pipeline::Pipeline(Normalizer normalizer, PreTokenizer pre_tokenizer, Bpe bpe,
                   const std::vector<AddedToken>& added, const std::vector<AddedToken>& literal)
    : normalizer_(std::move(normalizer)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      bpe_(std::move(bpe)),
      all_(make_cut(added)),
      literal_(make_cut(literal)) {
  for (const AddedToken& token : literal) literal_ids_.insert(token.id);
}

Pipeline::Cut Pipeline::make_cut(const std::vector<AddedToken>& tokens) const {
  PcreScratch scratch;
  const auto add = [](size_t sum, const AddedToken& token) { return sum + token.text.size(); };
  TextRoom room("normalizer", std::accumulate(tokens.begin(), tokens.end(), size_t{0}, add));
  Cut cut;
  for (AddedToken token : tokens) {
    const bool normalized = token.normalized;
    if (normalized) token.text = normalizer_.apply(token.text, scratch, room);
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
  TextRoom normal_room("normalizer", text.size()), word_room("pre_tokenizer", text.size());
  bool first = true;
  const PreTokenizer::Sink word = [&](std::string_view part) {
    bpe_.encode(part, work->bpe, ids);
    guard.check(ids.size());
  };
  const auto token = [&](const AddedToken& added) {
    ids.push_back(added.id);
    guard.check(ids.size());
    first = false;
  };
  const auto plain = [&](std::string_view part) {
    pre_tokenizer_.split(part, first, work->regex, word_room, word);
    first = false;
  };
  /// Special tokens count where no byte of theirs is from outside.
  const auto inside = [&](std::string_view marks) -> AddedTokens::Accept {
    if (marks.empty()) return {};
    return [this, marks](const AddedToken& added, size_t at) {
      const bool own =
          marks.substr(at, added.text.size()).find_first_not_of('\0') == std::string_view::npos;
      return own || literal_ids_.contains(added.id);
    };
  };
  cut.raw.cut(
      text,
      [&](std::string_view part) {
        const auto marks =
            outside.empty()
                ? std::string_view()
                : outside.substr(static_cast<size_t>(part.data() - text.data()), part.size());
        if (normalizer_.empty()) return cut.normalized.cut(part, plain, token, inside(marks));
        const std::string normal = normalizer_.apply(std::string(part), work->regex, normal_room);
        if (normal == part) return cut.normalized.cut(normal, plain, token, inside(marks));
        // The places have moved: with any byte from outside, nothing here is certain.
        const bool own = marks.find_first_not_of('\0') == std::string_view::npos;
        (own ? cut : literal_).normalized.cut(normal, plain, token);
      },
      token, inside(outside));
}

}  // namespace um
