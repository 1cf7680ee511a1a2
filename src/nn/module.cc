// See module.h.
#include "nn/module.h"

#include "core/rng.h"
#include "kernels/args/matmul.h"
#include "nn/expert_cache.h"

namespace um {

void Param::set_trainable(bool on) {
  UM_CHECK(!on || value.dtype() == DType::f32,
           "parameter {} is {}: only f32 weights train; load the model with f32 weights", name,
           dtype_name(value.dtype()));
  trainable = on;
  value.set_slot(on ? &slot : nullptr);
}

Rows Param::weight() const {
  if (value.dtype() != DType::i8) return value;
  Rows rows;
  rows.values = value;
  rows.scales = scales;
  rows.format = kInt8Rows;
  return rows;
}

DType WeightTypes::of(std::string_view param) const {
  const auto found = others.find(param);
  return found == others.end() ? matrices : found->second;
}

ParamStore::ParamStore(Device& device, WeightTypes weights)
    : device_(&device), weights_(std::move(weights)) {
  weight_format(weights_.matrices);  // throws for a type that has none
  for (const auto& [name, type] : weights_.others) weight_format(type);
}

ParamStore::~ParamStore() = default;

void ParamStore::set_expert_cache(std::unique_ptr<ExpertCache> cache) {
  expert_cache_ = std::move(cache);
}

Param* ParamStore::create(const std::string& name, Shape shape, std::vector<Piece> pieces,
                          Init init, DType dtype) {
  UM_CHECK(find(name) == nullptr, "parameter {} exists twice", name);
  UM_CHECK(dtype != DType::i8 || shape[-1] <= kMaxInt8Depth,
           "parameter {}: rows of {} values are too long for int8 products (at most {})", name,
           shape[-1], kMaxInt8Depth);
  auto param = std::make_unique<Param>();
  param->name = name;
  const Rows rows = dtype == DType::f32 ? Rows(Tensor::empty(*device_, shape))
                                        : Rows::empty(*device_, shape, weight_format(dtype));
  param->value = rows.values;
  param->scales = rows.scales;
  param->init = init;
  param->pieces = std::move(pieces);
  param->set_trainable(weights_.matrices == DType::f32);
  params_.push_back(std::move(param));
  return params_.back().get();
}

Param* ParamStore::stacked(const std::string& name, Shape shape, std::vector<Piece> pieces,
                           Init init) {
  return create(name, shape, std::move(pieces), init,
                shape.rank() > 1 ? weights_.of(name) : DType::f32);
}

Param* ParamStore::add(const std::string& name, Shape shape, Init init, bool decay) {
  Param* param = create(name, shape, {Piece{name, 0, shape}}, init, DType::f32);
  param->decay = decay;
  return param;
}

Param* ParamStore::matrix(const std::string& name, int64_t out, int64_t in, double std) {
  const Shape shape{out, in};
  return create(name, shape, {Piece{name, 0, shape}}, {0, std}, weights_.of(name));
}

Param* ParamStore::two_sided_matrix(const std::string& name, int64_t out, int64_t in, double std) {
  const Shape shape{out, in};
  return create(name, shape, {Piece{name, 0, shape}}, {0, std},
                weights_.of(name) == DType::i8 ? DType::bf16 : weights_.of(name));
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
  int64_t sum = 0;
  for (const auto& param : params_) sum += param->weight().bytes();
  return sum;
}

namespace {

/// Rows [begin, end) of a parameter from its initialiser.
void draw_rows(const Param& param, uint64_t seed, int64_t begin, int64_t end, float* to) {
  const RandomStream random(seed, hash_name(param.name));
  const Init& init = param.init;
  for (int64_t i = begin * param.value.cols(); i < end * param.value.cols(); ++i)
    *to++ = static_cast<float>(
        init.std == 0 ? init.mean : init.mean + init.std * random.normal(static_cast<uint64_t>(i)));
}

}  // namespace

void ParamStore::initialize(uint64_t seed) {
  if (device_->dry()) return;
  for (const auto& param : params_) {
    const Rows all = param->weight();
    const int64_t cols = all.cols();
    // A vector is one row; long ones are of a few million values.
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < all.rows(); ++row) {
      std::vector<float> values(static_cast<size_t>(cols));
      draw_rows(*param, seed, row, row + 1, values.data());
      all.write(row, 1, values.data());
    }
  }
}

void ParamStore::reset_grads() {
  for (const auto& param : params_) param->slot.reset();
}

}  // namespace um
