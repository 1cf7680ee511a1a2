// See model.h.
#include "models/model.h"

#include <algorithm>
#include <numeric>

#include "models/count.h"
#include "nn/rotary.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/recompute.h"
#include "ops/rope.h"
#include "ops/streams.h"
#include "ops/tape.h"

namespace um {

Model::Model(ModelConfig config, Device& device, WeightTypes weights,
             std::unique_ptr<ExpertCache> experts, ParamMemory memory)
    : config_(std::move(config)), params_(device, std::move(weights), memory) {
  params_.set_expert_cache(std::move(experts));
  embed_ = params_.matrix("model.embed_tokens.weight", config_.vocab, config_.hidden,
                          config_.embedding_init_std);
  final_norm_ = params_.vector("model.norm.weight", config_.hidden, 1);
  head_ = config_.tie_embeddings ? embed_
                                 : params_.matrix("lm_head.weight", config_.vocab, config_.hidden,
                                                  config_.weight_init_std());
}

namespace {

std::string layer_prefix(int64_t layer) {
  return fmt::format("model.layers.{}.", layer);
}

}  // namespace

std::unique_ptr<DecoderLayer> Model::make_layer(int64_t layer, bool moe, const LayerNames& names) {
  const std::string prefix = layer_prefix(layer);
  std::unique_ptr<AttentionBlock> attention;
  if (config_.attention.is_mla())
    attention = std::make_unique<Mla>(params_, prefix + "self_attn.", config_, layer);
  else
    attention = std::make_unique<Gqa>(params_, prefix + "self_attn.", config_, names);
  if (!moe) {
    auto mlp = std::make_unique<Mlp>(params_, prefix + "mlp.", config_.hidden, config_.dense_width,
                                     config_.weight_init_std());
    return std::make_unique<DecoderLayer>(params_, prefix, config_, std::move(attention),
                                          std::move(mlp), layer, -1);
  }
  auto experts = std::make_unique<Moe>(params_, prefix + "mlp.", config_, moe_layers_, names);
  router_biases_.push_back(experts->router_bias());
  return std::make_unique<DecoderLayer>(params_, prefix, config_, std::move(attention),
                                        std::move(experts), layer, moe_layers_++);
}

void Model::add_layers(const LayerNames& names) {
  for (int64_t i = 0; i < config_.layers; ++i)
    layers_.push_back(make_layer(i, config_.is_moe_layer(i), names));
  if (config_.streams > 1)
    merge_ = std::make_unique<HyperConnection>(params_, "model.merge_mhc_module.", config_, true);
  trunk_moe_layers_ = moe_layers_;
  for (int64_t k = 0; k < config_.mtp_layers; ++k) add_mtp(config_.layers + k, names);
}

void Model::add_mtp(int64_t layer, const LayerNames& names) {
  const std::string prefix = layer_prefix(layer);
  const int64_t D = config_.hidden;
  MtpHead head;
  head.embed_norm = params_.vector(prefix + "enorm.weight", D, 1);
  head.hidden_norm = params_.vector(prefix + "hnorm.weight", D, 1);
  head.projection = params_.matrix(prefix + "eh_proj.weight", D, 2 * D, config_.weight_init_std());
  head.output_norm = params_.vector(prefix + "shared_head.norm.weight", D, 1);
  head.layer = make_layer(layer, config_.moe.experts > 0, names);
  mtp_.push_back(std::move(head));
}

Tensor Model::rope_for(const Ragged& rows) const {
  const double theta = config_.attention.rope_theta;
  const int64_t needed = rows.max_position;
  if (!rope_table_ || rope_table_.rows() < needed || rope_theta_ != theta) {
    const int64_t grown = std::max(needed, std::min<int64_t>(2 * needed, config_.max_positions));
    rope_table_ = rope_table(device(), grown, rope_frequencies(config_.attention),
                             rope_amplitude(config_.attention));
    rope_theta_ = theta;
  }
  return rope_table_;
}

const Ragged& Model::with_sinks(const Ragged& rows, Ragged& with) const {
  if (config_.attention.sinks == 0) return rows;
  return with = rows.with_sinks(config_.attention.sinks);
}

namespace {

/// What differs from layer to layer.
void enter_layer(const DecoderLayer& layer, Pass& pass) {
  if (layer.moe_layer() < 0) return;
  if (pass.balance != nullptr) pass.balance_term = pass.balance->term(layer.moe_layer());
  if (pass.routes != nullptr) pass.chosen = pass.routes->of(layer.moe_layer());
}

/// What a layer that runs again in the backward pass is given: its own copy of the rows, and nobody
/// to tell the experts to. The table may be gone by then, the layer's part of it is kept.
Pass with_rows(const Pass& pass, const Ragged& rows) {
  return {.rows = rows,
          .rope = pass.rope,
          .cache = pass.cache,
          .balance = pass.balance,
          .balance_term = pass.balance_term,
          .convs = pass.convs,
          .check_routers = pass.check_routers,
          .chosen = pass.chosen};
}

}  // namespace

Residual Model::run_layer(const DecoderLayer& layer, const Residual& in, const Tensor& next_gain,
                          Pass pass, int64_t index, bool recompute_layer) const {
  enter_layer(layer, pass);
  if (!recompute_layer) return layer.forward(in, next_gain, pass, index);
  const Ragged rows = pass.rows;
  auto block = [=, &layer](const std::vector<Tensor>& inputs) -> std::vector<Tensor> {
    const Residual out =
        layer.forward({inputs[0], inputs[1]}, next_gain, with_rows(pass, rows), index);
    return {out.y, out.z};
  };
  const std::vector<Tensor> out = recompute(block, {in.y, in.z});
  return {out[0], out[1]};
}

Tensor Model::run_streams(const DecoderLayer& layer, const Tensor& streams, Pass pass,
                          int64_t index, bool recompute_layer) const {
  enter_layer(layer, pass);
  if (!recompute_layer) return layer.forward_streams(streams, pass, index);
  const Ragged rows = pass.rows;
  auto block = [=, &layer](const std::vector<Tensor>& inputs) -> std::vector<Tensor> {
    return {layer.forward_streams(inputs[0], with_rows(pass, rows), index)};
  };
  return recompute(block, {streams})[0];
}

namespace {

void check_view(const KvView* view, const Ragged& rows) {
  UM_CHECK(
      view == nullptr || (view->slots.count() == rows.rows && view->pages.rows() == rows.sequences),
      "a batch of {} rows in {} sequences, but its cache view has {} in {}", rows.rows,
      rows.sequences, view->slots.count(), view->pages.rows());
}

}  // namespace

Pass Model::pass_for(const Ragged& rows, const Ragged& seen, const ForwardOptions& options) const {
  const int64_t taps = config_.attention.conv_taps;
  ConvPlan convs;
  if (options.cache != nullptr)
    convs = options.cache->convs;
  else if (taps > 0)
    convs = ConvPlan::make(device(), rows, taps);
  return {.rows = seen,
          .rope = rope_for(rows),
          .cache = options.cache,
          .balance = options.balance,
          .expert_ids = options.expert_ids,
          .convs = convs,
          .check_routers = options.check_routers,
          .routes = options.routes};
}

TrunkState Model::enter(const Tensor& tokens) const {
  const Tensor embedded = embedding(tokens, embed_->weight());
  TrunkState state;
  if (config_.streams == 1) {
    state.stream.y = embedded;
    state.stream.z =
        rmsnorm(embedded, layers_.front()->input_gain(), static_cast<float>(config_.norm_eps));
    return state;
  }
  // Several streams, all of them the embedding at first.
  const int64_t S = config_.streams, T = embedded.rows();
  const std::vector<float> ones(static_cast<size_t>(T * S), 1.0f);
  state.streams =
      mix_streams(embedded, {}, Tensor::from(device(), {T, S}, std::span<const float>(ones)), 1);
  return state;
}

TrunkState Model::after_layer(int64_t layer, const TrunkState& state, const Pass& pass,
                              bool recompute_layer) const {
  const auto i = static_cast<size_t>(layer);
  if (config_.streams > 1)
    return {{}, run_streams(*layers_[i], state.streams, pass, layer, recompute_layer)};
  const Tensor& next_gain =
      i + 1 < layers_.size() ? layers_[i + 1]->input_gain() : final_norm_->value;
  return {run_layer(*layers_[i], state.stream, next_gain, pass, layer, recompute_layer), {}};
}

TrunkState Model::run_trunk_layer(int64_t layer, const TrunkState& state,
                                  const Ragged& rows) const {
  Ragged with;
  return after_layer(layer, state, pass_for(rows, with_sinks(rows, with), {}), false);
}

TrunkOutput Model::leave(const TrunkState& state) const {
  if (config_.streams == 1) return {state.stream.z};
  return {rmsnorm(merge_->before(state.streams).x, final_norm_->value,
                  static_cast<float>(config_.norm_eps))};
}

TrunkOutput Model::trunk(const Tensor& tokens, const Ragged& rows,
                         const ForwardOptions& options) const {
  check_view(options.cache, rows);
  Ragged with;
  const Pass pass = pass_for(rows, with_sinks(rows, with), options);
  TrunkState state = enter(tokens);
  for (int64_t i = 0; i < trunk_layers(); ++i) {
    state = after_layer(i, state, pass, options.recompute);
    if (options.states != nullptr)
      options.states->push_back(detach(config_.streams > 1 ? state.streams : state.stream.y));
  }
  return leave(state);
}

Tensor Model::logits(const Tensor& hidden) const {
  return linear(hidden, head());
}

MtpOutput Model::mtp(int64_t k, const Tensor& state, const Tensor& tokens, const Ragged& rows,
                     const ForwardOptions& options) const {
  check_view(options.cache, rows);
  const MtpHead& head = mtp_[static_cast<size_t>(k)];
  const auto eps = static_cast<float>(config_.norm_eps);
  Ragged with;
  const Ragged& seen = with_sinks(rows, with);
  const Pass pass = pass_for(rows, seen, options);
  const Tensor joined = concat_norm(embedding(tokens, embed_->weight()), head.embed_norm->value,
                                    state, head.hidden_norm->value, eps);
  Residual stream;
  stream.y = linear(joined, head.projection->weight());
  stream.z = rmsnorm(stream.y, head.layer->input_gain(), eps);
  const auto index = static_cast<int64_t>(layers_.size()) + k;
  const Residual out =
      run_layer(*head.layer, stream, head.output_norm->value, pass, index, options.recompute);
  return {out.y, out.z};
}

DType Model::default_cache_type() const {
  return params().weights().matrices == kF32Rows ? DType::f32 : DType::bf16;
}

KvPool Model::make_pool(int64_t pages, DType dtype) const {
  KvPool pool(device(), kv_layout(config_), pages, dtype);
  write_sinks(pool);
  return pool;
}

void Model::write_sinks(KvPool& pool) const {
  const AttentionConfig& a = config_.attention;
  if (a.sinks == 0) return;
  std::vector<int32_t> slots(static_cast<size_t>(a.sinks));
  std::iota(slots.begin(), slots.end(), static_cast<int32_t>(pool.pages() * kPageRows));
  const Tensor rows = Tensor::from(device(), {a.sinks}, std::span<const int32_t>(slots));
  const Tape::Recording off(nullptr);
  for (int64_t i = 0; i < pool.layers(); ++i) {
    const auto trunk = static_cast<int64_t>(layers_.size());
    const DecoderLayer& layer =
        i < trunk ? *layers_[static_cast<size_t>(i)] : *mtp_[static_cast<size_t>(i - trunk)].layer;
    layer.attention().write_sinks(pool.layer(i), rows);
  }
}

}  // namespace um
