// See module.h.
#include "nn/module.h"

#include "core/rng.h"
#include "nn/expert_cache.h"

namespace um {

void Param::set_trainable(bool on) {
  UM_CHECK(!on || value.dtype() == DType::f32,
           "parameter {} is {}: only f32 weights train; load the model with f32 weights", name,
           dtype_name(value.dtype()));
  trainable = on;
  value.set_slot(on ? &slot : nullptr);
}

ParamStore::ParamStore(Device& device, DType weights) : device_(&device), weights_(weights) {
  UM_CHECK(weights == DType::f32 || weights == DType::bf16,
           "weights of type {}: expected f32 or bf16", dtype_name(weights));
}

ParamStore::~ParamStore() = default;

void ParamStore::set_expert_cache(std::unique_ptr<ExpertCache> cache) {
  expert_cache_ = std::move(cache);
}

Param* ParamStore::create(const std::string& name, Shape shape, std::vector<Piece> pieces,
                          Init init, DType dtype) {
  UM_CHECK(find(name) == nullptr, "parameter {} exists twice", name);
  auto param = std::make_unique<Param>();
  param->name = name;
  param->value = Tensor::empty(*device_, shape, dtype);
  param->init = init;
  param->pieces = std::move(pieces);
  param->set_trainable(weights_ == DType::f32);
  params_.push_back(std::move(param));
  return params_.back().get();
}

Param* ParamStore::stacked(const std::string& name, Shape shape, std::vector<Piece> pieces,
                           Init init) {
  return create(name, shape, std::move(pieces), init, shape.rank() > 1 ? weights_ : DType::f32);
}

Param* ParamStore::add(const std::string& name, Shape shape, Init init, bool decay) {
  Param* param = create(name, shape, {Piece{name, 0, shape}}, init, DType::f32);
  param->decay = decay;
  return param;
}

Param* ParamStore::matrix(const std::string& name, int64_t out, int64_t in, double std) {
  const Shape shape{out, in};
  return create(name, shape, {Piece{name, 0, shape}}, {0, std}, weights_);
}

Param* ParamStore::vector(const std::string& name, int64_t n, double mean) {
  return add(name, {n}, {mean, 0}, false);
}

Param* ParamStore::buffer(const std::string& name, int64_t n) {
  Param* param = vector(name, n, 0);
  param->set_trainable(false);
  param->buffer = true;
  return param;
}

Param* ParamStore::find(std::string_view name) const {
  for (const auto& param : params_)
    if (param->name == name) return param.get();
  return nullptr;
}

int64_t ParamStore::count() const {
  int64_t sum = 0;
  for (const auto& param : params_) sum += param->value.count();
  return sum;
}

int64_t ParamStore::bytes() const {
  size_t sum = 0;
  for (const auto& param : params_) sum += param->value.bytes();
  return static_cast<int64_t>(sum);
}

void ParamStore::initialize(uint64_t seed) {
  if (device_->dry()) return;
  for (const auto& param : params_) {
    const bool bf16 = param->value.dtype() == DType::bf16;
    float* values = bf16 ? nullptr : param->value.f32();
    uint16_t* short_values = bf16 ? param->value.data<uint16_t>() : nullptr;
    const RandomStream random(seed, hash_name(param->name));
    const int64_t count = param->value.count();
    const Init init = param->init;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(
          init.std == 0 ? init.mean
                        : init.mean + init.std * random.normal(static_cast<uint64_t>(i)));
      if (bf16)
        short_values[i] = bf16_from_f32(value);
      else
        values[i] = value;
    }
  }
}

void ParamStore::reset_grads() {
  for (const auto& param : params_) param->slot.reset();
}

}  // namespace um
