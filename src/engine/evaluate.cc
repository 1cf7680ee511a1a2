// See evaluate.h. T rows of a batch, V vocabulary.
#include "engine/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "ops/launch.h"

namespace um {
namespace {

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

/// The position of each row's largest value; the first of equals.
void append_argmax(const std::vector<float>& logits, int64_t vocab, std::vector<int32_t>& out) {
  const size_t begin = out.size(), rows = logits.size() / static_cast<size_t>(vocab);
  out.resize(begin + rows);
#pragma omp parallel for
  for (size_t r = 0; r < rows; ++r) {
    const float* row = logits.data() + r * static_cast<size_t>(vocab);
    out[begin + r] = static_cast<int32_t>(std::max_element(row, row + vocab) - row);
  }
}

/// The model's first choice after every row.
std::vector<int32_t> choices(const Model& model, const Tensor& hidden) {
  std::vector<int32_t> out;
  const int64_t vocab = model.config().vocab, block = logit_block_rows(vocab);
  for (int64_t begin = 0; begin < hidden.rows(); begin += block) {
    const int64_t end = std::min(hidden.rows(), begin + block);
    append_argmax(model.logits(hidden.row_range(begin, end)).to_vector(), vocab, out);
  }
  return out;
}

}  // namespace

double EvalResult::loss() const {
  return ratio(nats, static_cast<double>(tokens));
}
double EvalResult::perplexity() const {
  return std::exp(loss());
}
double EvalResult::accuracy() const {
  return ratio(static_cast<double>(correct), static_cast<double>(tokens));
}
double EvalResult::tokens_per_s() const {
  return ratio(static_cast<double>(tokens), seconds);
}
double EvalResult::acceptance(size_t k) const {
  return ratio(static_cast<double>(accepted[k]), static_cast<double>(offered[k]));
}
double EvalResult::acceptance_given_earlier(size_t k) const {
  return ratio(static_cast<double>(chained[k]), static_cast<double>(reached[k]));
}

int64_t logit_block_rows(int64_t vocab) {
  return std::clamp<int64_t>((int64_t{2} << 20) / vocab, 16, 1024);
}

double bits_per_byte(double nats, double bytes) {
  return ratio(nats / std::numbers::ln2, bytes);
}

Evaluator::Evaluator(const Model& model) : model_(model) {
  for (auto* counts : {&result_.offered, &result_.accepted, &result_.reached, &result_.chained})
    counts->resize(static_cast<size_t>(model.mtp_heads()));
}

void Evaluator::add(const Batch& batch) {
  if (batch.size() == 0) return;
  const auto start = std::chrono::steady_clock::now();
  const DeviceBatch on_device(model_, batch);
  const TrunkOutput out = model_.trunk(on_device.tokens(), on_device.rows(),
                                       {.routes = on_device.routes(), .check_routers = true});
  const std::vector<int32_t> trunk_choices = score_trunk(out.hidden, batch);
  if (model_.mtp_heads() > 0) score_heads(out.hidden, on_device, trunk_choices);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  result_.seconds += spent.count();
}

std::vector<int32_t> Evaluator::score_trunk(const Tensor& hidden, const Batch& batch) {
  Device& device = model_.device();
  const int64_t vocab = model_.config().vocab, block = logit_block_rows(vocab);
  std::vector<int32_t> first_choices;
  for (int64_t begin = 0; begin < hidden.rows(); begin += block) {
    const int64_t end = std::min(hidden.rows(), begin + block), rows = end - begin;
    const Tensor logits = model_.logits(hidden.row_range(begin, end));
    const Tensor targets =
        Tensor::from(device, {rows}, std::span(batch.targets).subspan(begin, rows));
    const Tensor loss = Tensor::empty(device, {rows});
    launch(device, CrossEntropy{.rows = rows,
                                .vocab = vocab,
                                .logits = logits.f32(),
                                .ld = logits.ld(),
                                .targets = targets.i32(),
                                .loss = loss.f32()});
    for (const float nats : loss.to_vector()) result_.nats += static_cast<double>(nats);
    append_argmax(logits.to_vector(), vocab, first_choices);
  }
  for (size_t t = 0; t < batch.targets.size(); ++t) {
    result_.tokens += batch.targets[t] >= 0 ? 1 : 0;
    result_.correct += batch.targets[t] >= 0 && batch.targets[t] == first_choices[t] ? 1 : 0;
  }
  return first_choices;
}

void Evaluator::score_heads(const Tensor& hidden, const DeviceBatch& on_device,
                            const std::vector<int32_t>& trunk_choices) {
  const Batch& batch = on_device.host();
  Tensor state = hidden;
  std::vector<bool> chain(batch.tokens.size(), true);  // all drafts from here accepted so far
  for (int64_t k = 1; k <= model_.mtp_heads(); ++k) {
    const auto each_place = [&](auto use) {
      for (int64_t s = 0; s < batch.sequences(); ++s) {
        const int64_t end = batch.seq_offsets[static_cast<size_t>(s) + 1];
        for (int64_t t = batch.seq_offsets[static_cast<size_t>(s)]; t + k < end; ++t)
          use(static_cast<size_t>(t), static_cast<size_t>(t + k));
      }
    };
    const MtpOutput out = model_.mtp(k - 1, state, on_device.mtp_tokens(k - 1), on_device.rows(),
                                     {.check_routers = true});
    const std::vector<int32_t> drafts = choices(model_, out.hidden);
    const auto head = static_cast<size_t>(k - 1);
    each_place([&](size_t t, size_t later) {
      if (batch.targets[later] < 0) {
        chain[t] = false;
        return;
      }
      const bool accepted = drafts[t] == trunk_choices[later];
      ++result_.offered[head];
      result_.accepted[head] += accepted ? 1 : 0;
      result_.reached[head] += chain[t] ? 1 : 0;
      chain[t] = chain[t] && accepted;
      result_.chained[head] += chain[t] ? 1 : 0;
    });
    state = out.state;
  }
}

void for_each_window(std::span<const int32_t> ids, const WindowOptions& options,
                     const std::function<bool(const Batch&)>& use) {
  const int64_t stride = options.stride == 0 ? options.seq_len : options.stride;
  if (options.seq_len < 1 || stride < 1 || stride > options.seq_len)
    throw UsageError(fmt::format(
        "windows of {} tokens with a stride of {}: expected a length of 1 or more and a stride "
        "from 1 to the length",
        options.seq_len, options.stride));
  const int64_t inputs = std::ssize(ids) - 1;  // the last token is only a target
  Batch batch;
  batch.seq_offsets = {0};
  for (int64_t scored = 0, begin = 0; scored < inputs; begin += stride) {
    const int64_t end = std::min(begin + options.seq_len, inputs);
    for (int64_t t = begin; t < end; ++t) {
      batch.tokens.push_back(ids[static_cast<size_t>(t)]);
      batch.targets.push_back(t < scored ? -1 : ids[static_cast<size_t>(t + 1)]);
      batch.positions.push_back(static_cast<int32_t>(t - begin));
    }
    batch.seq_offsets.push_back(batch.size());
    scored = end;
    if (batch.size() < options.batch_tokens && scored < inputs) continue;
    if (!use(batch)) return;
    batch = Batch();
    batch.seq_offsets = {0};
  }
}

}  // namespace um
