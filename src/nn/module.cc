// See module.h.
#include "nn/module.h"

#include <numeric>

#include "core/rng.h"
#include "kernels/args/matmul.h"
#include "nn/expert_cache.h"

namespace um {

namespace {

/// Rows of which every piece of a matrix begins a panel.
int64_t panel_unit(int64_t rows, const std::vector<Piece>& pieces) {
  int64_t unit = rows;
  for (const Piece& piece : pieces)
    if (piece.row % kPanelRows != 0) unit = std::gcd(unit, piece.row);
  return unit;
}

}  // namespace

void Param::set_trainable(bool on) {
  UM_CHECK(!on || format == kF32Rows,
           "parameter {} is {}: only f32 weights train; load the model with f32 weights", name,
           format_name(format));
  trainable = on;
  if (value) value.set_slot(on ? &slot : nullptr);
}

void Param::allocate(Device& device) {
  place(new_parts(device, format));
}

void Param::place(const RowPart& part) {
  if (format.is_panels())
    codes = Rows::made(shape, format, panel_unit(shape.count() / shape[-1], pieces), part);
  else
    value = part("values", shape, format.type == RowType::bf16 ? DType::bf16 : DType::f32);
  if (trainable && value) value.set_slot(&slot);
}

void Param::release() {
  value = {};
  codes = {};
}

RowFormat WeightTypes::of(std::string_view param) const {
  const auto found = others.find(param);
  return found == others.end() ? matrices : found->second;
}

ParamStore::ParamStore(Device& device, WeightTypes weights, ParamMemory memory)
    : device_(&device), weights_(std::move(weights)), memory_(memory) {}

ParamStore::~ParamStore() = default;

void ParamStore::set_expert_cache(std::unique_ptr<ExpertCache> cache) {
  expert_cache_ = std::move(cache);
}

Param* ParamStore::create(const std::string& name, Shape shape, std::vector<Piece> pieces,
                          Init init, RowFormat format) {
  UM_CHECK(find(name) == nullptr, "parameter {} exists twice", name);
  UM_CHECK(!format.is_panels() || shape[-1] <= kMaxInt8Depth,
           "parameter {}: rows of {} values are too long for int8 products (at most {})", name,
           shape[-1], kMaxInt8Depth);
  auto param = std::make_unique<Param>();
  param->name = name;
  param->shape = shape;
  param->format = format;
  param->init = init;
  param->pieces = std::move(pieces);
  if (memory_ == ParamMemory::all || shape.rank() == 1) param->allocate(*device_);
  param->set_trainable(weights_.matrices == kF32Rows && weights_.others.empty());
  params_.push_back(std::move(param));
  return params_.back().get();
}

Param* ParamStore::stacked(const std::string& name, Shape shape, std::vector<Piece> pieces,
                           Init init) {
  return create(name, shape, std::move(pieces), init,
                shape.rank() > 1 ? weights_.of(name) : kF32Rows);
}

Param* ParamStore::add(const std::string& name, Shape shape, Init init, bool decay) {
  Param* param = create(name, shape, {Piece{name, 0, shape}}, init, kF32Rows);
  param->decay = decay;
  return param;
}

Param* ParamStore::matrix(const std::string& name, int64_t out, int64_t in, double std) {
  const Shape shape{out, in};
  return create(name, shape, {Piece{name, 0, shape}}, {0, std}, weights_.of(name));
}

Param* ParamStore::two_sided_matrix(const std::string& name, int64_t out, int64_t in, double std) {
  const Shape shape{out, in};
  const RowFormat format = weights_.of(name);
  return create(name, shape, {Piece{name, 0, shape}}, {0, std},
                format.is_panels() ? kBf16Rows : format);
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
  for (const auto& param : params_) sum += param->shape.count();
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
  const int64_t cols = param.shape[-1];
  for (int64_t i = begin * cols; i < end * cols; ++i)
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
