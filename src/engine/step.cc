// See step.h.
#include "engine/step.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/score.h"
#include "ops/launch.h"

namespace um {
namespace {

/// The token at a position, drafts behind the known ones; 0 behind those.
int32_t token_at(const ActiveRequest& request, int64_t position) {
  if (position < request.length()) return request.tokens[static_cast<size_t>(position)];
  const auto draft = static_cast<size_t>(position - request.length());
  return draft < request.drafts.size() ? request.drafts[draft] : 0;
}

/// For each row of the plan the token `places` further on.
void write_tokens(const std::vector<PlannedRows>& plan, int64_t places, const Tensor& tokens) {
  int32_t* token = tokens.i32();
  for (const PlannedRows& part : plan)
    for (int64_t i = 0; i < part.rows; ++i)
      *token++ = token_at(*part.request, part.begin + i + places);
}

/// Rules tokens out, unless nothing else is left: a constraint is complete there.
void forbid(std::span<const int32_t> ids, std::span<float> row) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  std::vector<float> before;
  for (const int32_t id : ids)
    before.push_back(std::exchange(row[static_cast<size_t>(id)], kNever));
  if (std::ranges::any_of(row, [](float logit) { return logit != kNever; })) return;
  for (size_t i = ids.size(); i-- > 0;) row[static_cast<size_t>(ids[i])] = before[i];
}

}  // namespace

void StepBatch::fill(KvPool& pool, const std::vector<PlannedRows>& plan) {
  first_row_.clear();
  sequences_.clear();
  rows_.clear();
  int64_t rows = 0;
  for (const PlannedRows& part : plan) {
    first_row_.push_back(static_cast<int32_t>(rows));
    sequences_.push_back({part.request->pages, part.begin, part.rows, part.prompt});
    rows_.push_back({part.begin, part.rows});
    rows += part.rows;
  }
  tokens_.renew(pool.device(), {rows}, DType::i32);
  write_tokens(plan, 0, tokens_);
  ragged_.assign(pool.device(), rows_);
  view_.assign(pool, sequences_);
}

Tensor StepBatch::shifted_tokens(const std::vector<PlannedRows>& plan, int64_t places) const {
  Tensor tokens = Tensor::empty(tokens_.device(), tokens_.shape(), DType::i32);
  write_tokens(plan, places, tokens);
  return tokens;
}

int32_t StepBatch::last_known_row(const std::vector<PlannedRows>& plan, size_t i) const {
  return first_row_[i] + static_cast<int32_t>(plan[i].request->length() - 2 - plan[i].begin);
}

void choose_tokens(ActiveRequest& request, std::span<float> logits,
                   std::vector<TokenOutput>& outputs) {
  const EngineRequest& options = request.request;
  const size_t vocab = logits.size() / (request.drafts.size() + 1);
  outputs.clear();
  for (size_t place = 0; place <= request.drafts.size(); ++place) {
    const std::span<float> row = logits.subspan(place * vocab, vocab);
    const std::vector<float> raw = options.top_logprobs >= 0
                                       ? std::vector<float>(row.begin(), row.end())
                                       : std::vector<float>();
    const int64_t step = request.generated() + std::ssize(outputs);
    request.penalties.apply(row);
    if (options.constraint) options.constraint->mask(row);
    if (step < options.min_tokens) forbid(options.eos, row);
    TokenOutput output;
    output.id = sample(row, options.sampling, request.random, static_cast<uint64_t>(step));
    if (options.top_logprobs >= 0) add_logprobs(raw, options.top_logprobs, output);
    request.penalties.add(output.id);
    if (options.constraint) options.constraint->accept(output.id);
    const int32_t id = output.id;
    outputs.push_back(std::move(output));
    const bool ends = std::ranges::find(options.eos, id) != options.eos.end();
    if (ends || place == request.drafts.size() || request.drafts[place] != id) break;
  }
}

void record_routes(const std::vector<PlannedRows>& plan, const std::vector<Tensor>& routes) {
  const auto top_k = static_cast<size_t>(routes.front().cols());
  const size_t row_size = routes.size() * top_k;
  size_t row = 0;
  for (const PlannedRows& part : plan) {
    const auto begin = static_cast<size_t>(part.begin), rows = static_cast<size_t>(part.rows);
    std::vector<int16_t>& out = part.request->stats.routed_experts;
    if (part.request->request.routed_experts) out.resize((begin + rows) * row_size);
    for (size_t i = 0; i < rows && part.request->request.routed_experts; ++i)
      for (size_t layer = 0; layer < routes.size(); ++layer)
        for (size_t k = 0; k < top_k; ++k)
          out[(begin + i) * row_size + layer * top_k + k] =
              static_cast<int16_t>(routes[layer].i32()[(row + i) * top_k + k]);
    row += rows;
  }
}

void copy_page_rows(KvPool& pool, int32_t from, int32_t to, int64_t rows) {
  UM_CHECK(pool.conv_taps() == 0, "rows of a page with inputs of convolutions cannot be copied");
  for (int64_t i = 0; i < pool.layers(); ++i)
    for (const Rows& cache : {pool.layer(i).k, pool.layer(i).v, Rows(pool.layer(i).index)})
      if (cache) copy_rows(cache, from * kPageRows, to * kPageRows, rows);
}

}  // namespace um
