// See layer_walk.h.
#include "models/layer_walk.h"

#include <algorithm>
#include <charconv>

#include "models/checkpoint.h"
#include "ops/devices.h"
#include "ops/loss.h"
#include "ops/recompute.h"

namespace um {
namespace {

constexpr std::string_view kEmbedding = "model.embed_tokens.weight", kHead = "lm_head.weight";

bool is_vector(const Param& param) {
  return param.shape.rank() == 1;
}

std::vector<Tensor> tensors_of(const TrunkState& state) {
  if (state.streams) return {state.streams};
  return {state.stream.y, state.stream.z};
}

TrunkState state_of(const std::vector<Tensor>& tensors) {
  if (tensors.size() == 1) return {{}, tensors[0]};
  return {{tensors[0], tensors[1]}, {}};
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
                     std::vector<Batch> batches, bool back)
    : source_(source),
      model_(make_model(config, device, kF32Rows, nullptr, ParamMemory::vectors)),
      host_(std::move(batches)),
      keep_(back) {
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
  for (const Batch& batch : host_) {
    batches_.emplace_back(*model_, batch);
    states_.push_back(model_->enter(batches_.back().tokens()));
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

/// Memory for the layer's matrices, with what `from` has; null: none.
void LayerWalk::set_memory(int64_t layer, const WeightSource* from) {
  const bool mtp = layer >= model_->trunk_layers();
  for (const auto& param : model_->params().all()) {
    if (is_vector(*param) ||
        !(layer_of(param->name) == layer || (mtp && param->name == kEmbedding)))
      continue;
    if (from == nullptr) {
      param->release();
      param->set_trainable(false);
      param->slot = {};
      continue;
    }
    param->allocate(model_->device());
    if (back_) param->set_trainable(true);
    load_param(*param, layer_of(param->name) == layer ? *from : source_);
  }
}

void LayerWalk::load(const WeightSource* from) {
  UM_CHECK(layer_ >= 0 && layer_ < layers(), "{}: no layer behind the last", source_.where());
  set_memory(layer_, from == nullptr ? &source_ : from);
}

Tensor LayerWalk::run_mtp(size_t batch, int64_t head) {
  const DeviceBatch& on_device = batches_[batch];
  return model_->mtp(head, mtp_states_[batch], on_device.mtp_tokens(head), on_device.rows(), {})
      .state;
}

/// `keep`: what comes out goes into the next layer.
void LayerWalk::run_batch(size_t batch, bool keep) {
  const int64_t trunk = trunk_layers();
  if (layer_ >= trunk) {
    Tensor state = run_mtp(batch, layer_ - trunk);
    if (keep) mtp_states_[batch] = std::move(state);
    return;
  }
  TrunkState state = model_->run_trunk_layer(layer_, states_[batch], batches_[batch].rows());
  if (!keep) return;
  if (keep_) entered_[static_cast<size_t>(layer_)].push_back(states_[batch]);
  states_[batch] = std::move(state);
  if (layer_ + 1 == trunk && model_->mtp_heads() > 0)
    mtp_states_.push_back(model_->leave(states_[batch]).hidden);
}

void LayerWalk::run_batch_back(size_t batch) {
  const std::vector<Tensor> inputs = tensors_of(entered_[static_cast<size_t>(layer_)][batch]);
  const auto layer = [&](const std::vector<Tensor>& entering) {
    return tensors_of(model_->run_trunk_layer(layer_, state_of(entering), batches_[batch].rows()));
  };
  gradients_[batch] =
      run_back(layer, inputs, std::vector<bool>(inputs.size(), true), std::move(gradients_[batch]));
}

void LayerWalk::run() {
  if (keep_ && !back_) entered_.resize(static_cast<size_t>(layer_) + 1);
  for (size_t batch = 0; batch < batches_.size(); ++batch)
    back_ ? run_batch_back(batch) : run_batch(batch, true);
}

void LayerWalk::look() {
  for (size_t batch = 0; batch < batches_.size(); ++batch) run_batch(batch, false);
}

int64_t LayerWalk::turn() {
  UM_CHECK(keep_ && layer_ == trunk_layers(), "{}: the trunk has not run", source_.where());
  Device& device = model_->device();
  Param* head = model_->params().find(model_->config().tie_embeddings ? kEmbedding : kHead);
  head->allocate(device);
  load_param(*head, source_);
  int64_t tokens = 0;
  for (size_t i = 0; i < batches_.size(); ++i) {
    const std::vector<int32_t>& next = host_[i].targets;
    const Tensor targets = batches_[i].per_row(next);
    const Tensor weights = batches_[i].per_row(std::vector<float>(next.size(), 1.0f));
    const auto loss = [&](const std::vector<Tensor>& state) -> std::vector<Tensor> {
      linear_cross_entropy(model_->leave(state_of(state)).hidden, head->weight(), targets, weights);
      return {};  // it seeds itself
    };
    const std::vector<Tensor> state = tensors_of(states_[i]);
    gradients_.push_back(run_back(loss, state, std::vector<bool>(state.size(), true), {}));
    tokens += std::ranges::count_if(next, [](int32_t target) { return target >= 0; });
  }
  head->release();
  states_.clear();
  back_ = true;
  --layer_;
  return tokens;
}

void LayerWalk::unload() {
  set_memory(layer_, nullptr);
  model_->device().allocator().release_cached();
}

void LayerWalk::release() {
  unload();
  layer_ += back_ ? -1 : 1;
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
