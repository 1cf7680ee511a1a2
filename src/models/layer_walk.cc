// See layer_walk.h.
#include "models/layer_walk.h"

#include <algorithm>
#include <charconv>

#include "models/checkpoint.h"
#include "ops/devices.h"

namespace um {
namespace {

constexpr std::string_view kEmbedding = "model.embed_tokens.weight", kHead = "lm_head.weight";

bool is_vector(const Param& param) {
  return param.shape.rank() == 1;
}

/// Token t of each sequence becomes token t + shift; the last ones stay.
std::vector<int32_t> shifted(const LayerWalk::Batch& batch, int64_t shift) {
  std::vector<int32_t> tokens(batch.tokens.size());
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s)
    for (int64_t t = batch.offsets[s]; t < batch.offsets[s + 1]; ++t)
      tokens[static_cast<size_t>(t)] =
          batch.tokens[static_cast<size_t>(std::min(t + shift, batch.offsets[s + 1] - 1))];
  return tokens;
}

}  // namespace

int64_t layer_of(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  int64_t layer = -1;
  if (name.starts_with(kLayers))
    std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
  return layer;
}

LayerWalk::LayerWalk(const ModelConfig& config, const WeightSource& source, Device& device,
                     std::vector<Batch> batches)
    : source_(source),
      model_(make_model(config, device, kF32Rows, nullptr, ParamMemory::vectors)),
      batches_(std::move(batches)) {
  for (const auto& param : model_->params().all()) {
    param->set_trainable(false);
    const bool matrix =
        layer_of(param->name) >= 0 || param->name == kEmbedding || param->name == kHead;
    if (matrix && !is_vector(*param)) continue;
    if (!is_vector(*param)) param->allocate(device);
    load_param(*param, source_);
  }
  Param* embedding = model_->params().find(kEmbedding);
  embedding->allocate(device);
  load_param(*embedding, source_);
  for (const Batch& batch : batches_) {
    rows_.push_back(Ragged::full(device, batch.offsets));
    const Shape shape{static_cast<int64_t>(batch.tokens.size())};
    states_.push_back(
        model_->enter(Tensor::from(device, shape, std::span<const int32_t>(batch.tokens))));
  }
  embedding->release();
}

int64_t LayerWalk::layers() const {
  return model_->trunk_layers() + model_->mtp_heads();
}

std::vector<const Param*> LayerWalk::matrices(int64_t layer) const {
  std::vector<const Param*> found;
  for (const auto& param : model_->params().all())
    if (layer_of(param->name) == layer && !is_vector(*param)) found.push_back(param.get());
  return found;
}

void LayerWalk::set_memory(int64_t layer, bool loaded) {
  const bool mtp = layer >= model_->trunk_layers();
  for (const auto& param : model_->params().all()) {
    if (is_vector(*param) ||
        !(layer_of(param->name) == layer || (mtp && param->name == kEmbedding)))
      continue;
    if (!loaded) {
      param->release();
      continue;
    }
    param->allocate(model_->device());
    load_param(*param, source_);
  }
}

void LayerWalk::load() {
  UM_CHECK(layer_ < layers(), "{}: no layer behind the last", source_.where());
  set_memory(layer_, true);
}

void LayerWalk::run_mtp(size_t batch, int64_t head) {
  const std::vector<int32_t> tokens = shifted(batches_[batch], head + 1);
  const Tensor next = Tensor::from(model_->device(), {static_cast<int64_t>(tokens.size())},
                                   std::span<const int32_t>(tokens));
  mtp_states_[batch] = model_->mtp(head, mtp_states_[batch], next, rows_[batch], {}).state;
}

void LayerWalk::run_batch(size_t batch) {
  const int64_t trunk = model_->trunk_layers();
  if (layer_ >= trunk) return run_mtp(batch, layer_ - trunk);
  states_[batch] = model_->run_trunk_layer(layer_, states_[batch], rows_[batch]);
  if (layer_ + 1 == trunk && model_->mtp_heads() > 0)
    mtp_states_.push_back(model_->leave(states_[batch]).hidden);
}

void LayerWalk::run() {
  for (size_t batch = 0; batch < batches_.size(); ++batch) run_batch(batch);
}

void LayerWalk::release() {
  set_memory(layer_, false);
  model_->device().allocator().release_cached();
  ++layer_;
}

int64_t LayerWalk::largest_layer_bytes(const ModelConfig& config) {
  const auto model = make_model(config, dry_device());
  std::vector<int64_t> bytes(static_cast<size_t>(model->trunk_layers() + model->mtp_heads()), 0);
  int64_t embedding = 0;
  for (const auto& param : model->params().all()) {
    const int64_t size = param->weight().bytes(), layer = layer_of(param->name);
    if (param->name == kEmbedding) embedding = size;
    if (layer >= 0) bytes[static_cast<size_t>(layer)] += size;
  }
  for (int64_t k = 0; k < model->mtp_heads(); ++k)
    bytes[static_cast<size_t>(model->trunk_layers() + k)] += embedding;
  return std::max(embedding, *std::ranges::max_element(bytes));
}

}  // namespace um
