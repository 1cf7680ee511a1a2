// See pipeline.h.
#include "text/pipeline.h"

namespace um {

Pipeline::Pipeline(Normalizer normalizer, PreTokenizer pre_tokenizer, Bpe bpe,
                   const std::vector<AddedToken>& added, const std::vector<AddedToken>& literal)
    : normalizer_(std::move(normalizer)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      bpe_(std::move(bpe)),
      all_(make_cut(added)),
      literal_(make_cut(literal)) {}

Pipeline::Cut Pipeline::make_cut(const std::vector<AddedToken>& tokens) const {
  PcreScratch scratch;
  Cut cut;
  for (AddedToken token : tokens) {
    const bool normalized = token.normalized;
    if (normalized) token.text = normalizer_.apply(token.text, scratch);
    (normalized ? cut.normalized : cut.raw).add(std::move(token));
  }
  cut.raw.finish();
  cut.normalized.finish();
  return cut;
}

void Pipeline::encode(std::string_view text, bool parse_special, std::vector<int32_t>& ids) const {
  const Cut& cut = parse_special ? all_ : literal_;
  auto work = pool_.borrow();
  bool first = true;
  const PreTokenizer::Sink word = [&](std::string_view part) { bpe_.encode(part, work->bpe, ids); };
  const auto token = [&](const AddedToken& added) {
    ids.push_back(added.id);
    first = false;
  };
  const auto plain = [&](std::string_view part) {
    pre_tokenizer_.split(part, first, work->regex, word);
    first = false;
  };
  cut.raw.cut(
      text,
      [&](std::string_view part) {
        if (normalizer_.empty()) return cut.normalized.cut(part, plain, token);
        cut.normalized.cut(normalizer_.apply(std::string(part), work->regex), plain, token);
      },
      token);
}

}  // namespace um
