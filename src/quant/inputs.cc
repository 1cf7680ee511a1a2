// See inputs.h.
#include "quant/inputs.h"

#include <algorithm>
#include <cstring>

namespace um {
namespace {

/// Blocks that are compared with new ones: a layer has no more inputs between two uses of one.
constexpr size_t kLatest = 4;

}  // namespace

void MatrixInputs::read(int64_t begin, int64_t count, float* to) const {
  for (const Part& part : parts_) {
    const int64_t first = std::max(begin, part.begin);
    const int64_t last = std::min(begin + count, part.begin + part.count());
    for (int64_t row = first; row < last; ++row) {
      const auto i = static_cast<size_t>(row - part.begin);
      const int64_t from = part.chosen.empty() ? static_cast<int64_t>(i) : part.chosen[i];
      std::copy_n(part.block->values.data() + from * cols_, cols_, to + (row - begin) * cols_);
    }
  }
}

bool MatrixInputs::same_rows(const MatrixInputs& other) const {
  return parts_ == other.parts_;
}

int64_t input_channels(const ModelConfig& config) {
  const AttentionConfig& a = config.attention;
  const int64_t top = std::max<int64_t>(config.moe.top_k, 1);
  const int64_t feed =
      std::max(config.dense_width, top * config.moe.expert_width + config.moe.shared_width);
  return 2 * config.hidden + a.q_lora_rank + a.heads * a.v_dim + feed;
}

InputRecorder::InputRecorder(const std::vector<const Param*>& matrices) {
  for (const Param* param : matrices)
    begins_[reinterpret_cast<const char*>(param->value.raw())] = param;
}

/// The parameter that these weights lie in, and the row where they begin; null for others.
const Param* InputRecorder::param_of(const RowsView& weights, int64_t& row) const {
  const auto* at = static_cast<const char*>(weights.values);
  auto found = begins_.upper_bound(at);
  if (found == begins_.begin()) return nullptr;
  --found;
  const Param* param = found->second;
  const int64_t offset = at - found->first;
  if (offset >= static_cast<int64_t>(param->value.bytes())) return nullptr;
  row = offset / weights.row_bytes;
  return param;
}

std::shared_ptr<const InputRecorder::Block> InputRecorder::keep(const RowsView& rows, int64_t count,
                                                                int64_t cols) {
  auto block = std::make_shared<Block>(Block{count, cols, {}});
  block->values.resize(static_cast<size_t>(count * cols));
  for (int64_t r = 0; r < count; ++r)
    std::copy_n(rows.f32() + r * rows.ld(), cols, block->values.data() + r * cols);
  const size_t bytes = block->values.size() * sizeof(float);
  for (const auto& known : latest_)
    if (known->rows == count && known->cols == cols &&
        std::memcmp(known->values.data(), block->values.data(), bytes) == 0)
      return known;
  bytes_ += static_cast<int64_t>(bytes);
  if (latest_.size() == kLatest) latest_.erase(latest_.begin());
  return latest_.emplace_back(std::move(block));
}

void InputRecorder::add(const Place& place, int64_t end, std::shared_ptr<const Block> block,
                        std::vector<int32_t> chosen) {
  Record& record = records_[place];
  record.end = end;
  MatrixInputs& inputs = record.inputs;
  inputs.cols_ = block->cols;
  MatrixInputs::Part part{std::move(block), std::move(chosen), inputs.rows_};
  inputs.rows_ += part.count();
  inputs.parts_.push_back(std::move(part));
}

void InputRecorder::see(const Matmul& product) {
  int64_t row = 0;
  const Param* param = param_of(product.b, row);
  if (param == nullptr || !product.trans_b || product.batch != 1) return;
  add({param, row}, row + product.n, keep(product.a, product.m, product.k), {});
}

void InputRecorder::see(const GroupedMatmul& product) {
  int64_t row = 0;
  const Param* param = param_of(product.b, row);
  if (param == nullptr || product.kind != GroupedMatmul::Kind::forward || product.rows == 0) return;
  const int64_t begin = product.offsets[0], end = product.offsets[product.groups];
  int64_t rows = end;  // of a
  if (product.gather_a != nullptr)
    rows = 1 + *std::max_element(product.gather_a + begin, product.gather_a + end);
  const auto block = keep(product.a, rows, product.k);
  for (int64_t g = 0; g < product.groups; ++g) {
    std::vector<int32_t> chosen;
    for (int64_t slot = product.offsets[g]; slot < product.offsets[g + 1]; ++slot)
      chosen.push_back(product.gather_a != nullptr ? product.gather_a[slot]
                                                   : static_cast<int32_t>(slot));
    if (chosen.empty()) continue;
    const int64_t first = row + g * product.n;
    add({param, first}, first + product.n, block, std::move(chosen));
  }
}

const MatrixInputs* InputRecorder::find(const Param& param, const Piece& piece) const {
  auto found = records_.upper_bound({&param, piece.row});
  if (found == records_.begin()) return nullptr;
  --found;
  if (found->first.param != &param || found->second.end <= piece.row) return nullptr;
  return &found->second.inputs;
}

}  // namespace um
