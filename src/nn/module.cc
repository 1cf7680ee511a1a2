// See module.h.
#include "nn/module.h"

#include "core/rng.h"

namespace um {

void Param::set_trainable(bool on) {
  trainable = on;
  value.set_slot(on ? &slot : nullptr);
}

Param* ParamStore::add(const std::string& name, Shape shape, Init init, bool decay) {
  Param* param = stacked(name, shape, {Piece{name, 0, shape}}, init);
  param->decay = decay;
  return param;
}

Param* ParamStore::stacked(const std::string& name, Shape shape, std::vector<Piece> pieces,
                           Init init) {
  UM_CHECK(find(name) == nullptr, "parameter {} exists twice", name);
  auto param = std::make_unique<Param>();
  param->name = name;
  param->value = Tensor::empty(*device_, shape);
  param->init = init;
  param->pieces = std::move(pieces);
  param->set_trainable(true);
  params_.push_back(std::move(param));
  return params_.back().get();
}

Param* ParamStore::matrix(const std::string& name, int64_t out, int64_t in, double std) {
  return add(name, {out, in}, {0, std}, true);
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

void ParamStore::initialize(uint64_t seed) {
  for (const auto& param : params_) {
    float* values = param->value.f32();
    if (values == nullptr) continue;
    const RandomStream random(seed, hash_name(param->name));
    const int64_t count = param->value.count();
    const Init init = param->init;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(
          init.std == 0 ? init.mean
                        : init.mean + init.std * random.normal(static_cast<uint64_t>(i)));
  }
}

void ParamStore::reset_grads() {
  for (const auto& param : params_) param->slot.reset();
}

}  // namespace um
