// See compare.h. T rows of a batch, V vocabulary.
#include "engine/compare.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/batch.h"
#include "engine/evaluate.h"

namespace um {
namespace {

/// Chunks [begin, end) as one batch. The last token of a chunk is only a target.
Batch batch_of(const ChunkedText& text, int64_t begin, int64_t end) {
  Batch batch;
  batch.seq_offsets = {0};
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const auto ids = std::span(text.tokens).subspan(static_cast<size_t>(chunk * text.context));
    for (int64_t t = 0; t + 1 < text.context; ++t) {
      const auto at = static_cast<size_t>(t);
      batch.tokens.push_back(t == 0 && text.bos >= 0 ? text.bos : ids[at]);
      batch.targets.push_back(t < first_scored(text.context) ? -1 : ids[at + 1]);
      batch.positions.push_back(static_cast<int32_t>(t));
    }
    batch.seq_offsets.push_back(batch.size());
  }
  return batch;
}

/// Some scored rows in the text's order: logits [n, V] and the tokens that follow.
struct ScoredRows {
  std::span<const float> logits;
  std::span<const int32_t> targets;

  int64_t size() const { return std::ssize(targets); }
  std::span<const float> row(int64_t r) const {
    const size_t vocab = logits.size() / targets.size();
    return logits.subspan(static_cast<size_t>(r) * vocab, vocab);
  }
};

/// Takes rows; returns the mean of -ln p so far.
using UseRows = std::function<double(const ScoredRows&)>;

/// The scored rows of a chunk of the batch, block after block; returns what `use` returned last.
double for_each_block(const Model& model, const Tensor& hidden_TD, const Batch& batch, size_t chunk,
                      const UseRows& use) {
  const int64_t end = batch.seq_offsets[chunk + 1], block = logit_block_rows(model.config().vocab);
  int64_t begin = batch.seq_offsets[chunk];
  double nats = 0;
  while (batch.targets[static_cast<size_t>(begin)] < 0) ++begin;
  for (; begin < end; begin += block) {
    const int64_t rows = std::min(block, end - begin);
    const std::vector<float> logits =
        model.logits(hidden_TD.row_range(begin, begin + rows)).to_vector();
    nats = use(
        {logits,
         std::span(batch.targets).subspan(static_cast<size_t>(begin), static_cast<size_t>(rows))});
  }
  return nats;
}

void for_each_scored(const Model& model, const ChunkedText& text, const CompareOptions& options,
                     const UseRows& use) {
  const int64_t together = std::max<int64_t>(1, options.batch_tokens / text.context);
  for (int64_t begin = 0; begin < text.chunks(); begin += together) {
    const int64_t end = std::min(begin + together, text.chunks());
    const Batch batch = batch_of(text, begin, end);
    const DeviceBatch on_device(model, batch);
    const Tensor hidden_TD =
        model.trunk(on_device.tokens(), on_device.rows(), {.check_routers = true}).hidden;
    double nats = 0;
    for (size_t chunk = 0; chunk < static_cast<size_t>(batch.sequences()); ++chunk)
      nats = for_each_block(model, hidden_TD, batch, chunk, use);
    if (options.progress) options.progress(end * scored_rows(text.context), text.scored(), nats);
  }
}

void check_fits(const Model& model, const ChunkedText& text) {
  const ModelConfig& config = model.config();
  UM_CHECK(text.context <= config.max_positions, "chunks of {} tokens: the model has {} positions",
           text.context, config.max_positions);
  UM_CHECK(text.bos < config.vocab, "BOS {}: the model's vocabulary has {}", text.bos,
           config.vocab);
  for (const int32_t id : text.tokens)
    UM_CHECK(id >= 0 && id < config.vocab, "token {} of the text: the model's vocabulary has {}",
             id, config.vocab);
}

}  // namespace

ChunkedText ChunkedText::cut(std::vector<int32_t> tokens, int64_t context, int32_t bos,
                             int64_t max_chunks) {
  UM_CHECK(context >= kLeastContext, "chunks of {} tokens: expected {} or more", context,
           kLeastContext);
  const int64_t whole = std::ssize(tokens) / context;
  UM_CHECK(whole > 0, "the text has {} tokens, one chunk {}: a longer text or shorter chunks",
           tokens.size(), context);
  const int64_t chunks = max_chunks > 0 ? std::min(whole, max_chunks) : whole;
  tokens.resize(static_cast<size_t>(chunks * context));
  return {context, bos, std::move(tokens)};
}

Estimate save_base_file(const Model& model, const ChunkedText& text,
                        const std::filesystem::path& path, const CompareOptions& options) {
  check_fits(model, text);
  const int64_t vocab = model.config().vocab;
  const uint64_t row_bytes = base_row_bytes(vocab);
  BaseFileWriter writer(path, text.context, vocab, text.tokens);
  Moments all;
  for_each_scored(model, text, options, [&](const ScoredRows& rows) {
    std::vector<std::byte> bytes(static_cast<size_t>(rows.size()) * row_bytes);
    std::vector<double> nats(static_cast<size_t>(rows.size()));
#pragma omp parallel for
    for (int64_t r = 0; r < rows.size(); ++r) {
      const auto at = static_cast<size_t>(r);
      const std::span<const float> logits = rows.row(r);
      const double total = log_total(logits);
      nats[at] = total - static_cast<double>(logits[static_cast<size_t>(rows.targets[at])]);
      if (std::isfinite(total))
        encode_base_row(logits, std::span(bytes).subspan(at * row_bytes, row_bytes));
    }
    for (const double x : nats) {
      UM_CHECK(std::isfinite(x),
               "-ln p of a token is {}; the weights are damaged or the training has diverged", x);
      all.add(x);
    }
    writer.add(bytes);
    return all.mean();
  });
  writer.commit();
  const Estimate mean = all.estimate();
  return {std::exp(mean.value), std::exp(mean.value) * mean.uncertainty};
}

DivergenceReport compare_with_base(const Model& model, const BaseFile& base, int32_t bos,
                                   int64_t max_chunks, const CompareOptions& options) {
  UM_CHECK(base.vocab() == model.config().vocab,
           "{}: a vocabulary of {}, the model's has {}: they do not belong together", base.name(),
           base.vocab(), model.config().vocab);
  const bool begins = base.tokens()[0] == bos;
  const ChunkedText text =
      ChunkedText::cut(base.tokens(), base.context(), begins ? bos : -1, max_chunks);
  check_fits(model, text);
  const auto vocab = static_cast<size_t>(base.vocab());
  Divergence all;
  double nats = 0;
  for_each_scored(model, text, options, [&](const ScoredRows& rows) {
    std::vector<BaseRow> base_rows;
    for (int64_t r = 0; r < rows.size(); ++r) base_rows.push_back(base.row(all.tokens() + r));
    std::vector<RowDivergence> compared(base_rows.size());
    std::vector<double> sums(base_rows.size());
#pragma omp parallel
    {
      std::vector<double> p(vocab), q(vocab);
#pragma omp for
      for (int64_t r = 0; r < rows.size(); ++r) {
        const auto at = static_cast<size_t>(r);
        sums[at] = base_rows[at].log_probs(p);
        log_softmax(rows.row(r), q);
        compared[at] = compare_row(p, q, rows.targets[at]);
      }
    }
    for (size_t r = 0; r < compared.size(); ++r) {
      base.check_sum(all.tokens(), sums[r]);
      all.add(compared[r]);
      nats += compared[r].nats;
    }
    return nats / static_cast<double>(all.tokens());
  });
  return all.report();
}

}  // namespace um
