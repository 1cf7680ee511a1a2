// See weights.h.
#include "models/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/gguf_model.h"
#include "models/mapped.h"
#include "models/quantized.h"

namespace um {
namespace {

namespace fs = std::filesystem;

bool has_values(DType dtype) {
  switch (dtype) {
    case DType::bool8:
    case DType::c64:
    case DType::f4:
    case DType::f6_e2m3:
    case DType::f6_e3m2:
    case DType::f8_e8m0:
    case DType::f8_e4m3fnuz:
    case DType::f8_e5m2fnuz:
      return false;
    default:
      return true;
  }
}

/// Product of extents. A file may give absurd ones beside a zero.
int64_t product(std::span<const int64_t> shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

/// A view: the same values in another arrangement, so nothing lies in the file as it is read.
StoredWeight view_of(const StoredWeight& weight, std::vector<int64_t> shape) {
  StoredWeight view = weight;
  view.plain = {};
  view.codes = {};
  view.shape = std::move(shape);
  const auto whole = static_cast<double>(std::max<int64_t>(1, product(weight.shape)));
  view.bytes = static_cast<uint64_t>(std::llround(static_cast<double>(weight.bytes) / whole *
                                                  static_cast<double>(product(view.shape))));
  return view;
}

}  // namespace

int64_t StoredWeight::columns() const {
  return shape.empty() ? 1 : shape.back();
}

int64_t StoredWeight::rows() const {
  const size_t leading = shape.empty() ? 0 : shape.size() - 1;
  return columns() == 0 ? 0 : product(std::span(shape).first(leading));
}

void WeightSource::add(const std::string& name, StoredWeight weight) {
  UM_CHECK(tensors_.emplace(name, std::move(weight)).second, "{}: two tensors for {}", where_,
           quote(name));
}

const StoredWeight* WeightSource::find(std::string_view name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

const StoredWeight& WeightSource::at(std::string_view name) const {
  const StoredWeight* weight = find(name);
  UM_CHECK(weight != nullptr, "{}: tensor \"{}\" is missing", where_, name);
  return *weight;
}

void WeightSource::check_whole() const {
  for (const MappedFile* file : mapped_) file->check_whole();
}

uint64_t WeightSource::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [name, weight] : tensors_) total += weight.bytes;
  return total;
}

void check_weight(const StoredWeight& weight, std::string_view name,
                  const std::vector<int64_t>& shape, const std::string& where) {
  UM_CHECK(weight.shape == shape, "{}: tensor {}: expected shape [{}], found [{}]", where, name,
           fmt::join(shape, ", "), fmt::join(weight.shape, ", "));
  UM_CHECK(weight.read, "{}: tensor {}: {} cannot be read as numbers", where, name, weight.format);
}

namespace {

constexpr int64_t kChunk = int64_t{1} << 16;  // elements converted at a time

/// Rows [row, row + count) of a stored weight to rows from `at` on.
void read_rows(const StoredWeight& weight, int64_t row, int64_t count, const Rows& to, int64_t at) {
  const int64_t columns = to.cols();
  if (to.format.type == RowType::f32)
    return weight.read(row, count, to.values.f32() + at * columns);
  const auto elements = static_cast<size_t>(count * columns);
  if (to.format.type == RowType::bf16 && weight.dtype == DType::bf16 && !weight.plain.empty()) {
    std::memcpy(to.values.data<uint16_t>() + at * columns,
                weight.plain.data() + static_cast<size_t>(row * columns) * sizeof(uint16_t),
                elements * sizeof(uint16_t));
    return;
  }
  if (to.format.is_panels() && to.format == weight.codes.format) {
    RowCodes codes;
    for (int64_t i = 0; i < count; ++i) {
      weight.codes.read(row + i, codes);
      to.write_codes(at + i, codes);
    }
    return;
  }
  std::vector<float> wide(elements);
  weight.read(row, count, wide.data());
  to.write(at, count, wide.data());
}

}  // namespace

void read_weight(const StoredWeight& weight, const Rows& to, int64_t begin) {
  // A vector of several extents ([n, 1, taps]) is one row of its parameter.
  if (weight.columns() != to.cols())
    return weight.read(0, weight.rows(), to.values.f32() + begin * to.cols());
  const int64_t rows = weight.rows();
  const int64_t step = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, weight.columns()));
#pragma omp parallel for schedule(dynamic) if (rows > step)
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    read_rows(weight, row, count, to, begin + row);
  }
}

StoredWeight plain_weight(const TensorView& view) {
  StoredWeight weight;
  weight.shape = view.shape;
  weight.format = dtype_file_name(view.dtype);
  weight.bytes = view.bytes.size();
  if (!has_values(view.dtype)) return weight;
  const bool kept = view.dtype == DType::bf16 || view.dtype == DType::f16;
  if (kept) weight.dtype = view.dtype;
  weight.exact = view.dtype != DType::f64 && view.dtype != DType::i64 && view.dtype != DType::u64 &&
                 view.dtype != DType::i32 && view.dtype != DType::u32;
  if (kept || view.dtype == DType::f32) weight.plain = view.bytes;
  weight.read = [dtype = view.dtype, data = view.bytes.data(), columns = weight.columns()](
                    int64_t row, int64_t count, float* out) {
    const auto begin = static_cast<size_t>(row * columns);
    convert_to_f32(dtype, data + begin * dtype_size(dtype), out,
                   static_cast<size_t>(count * columns));
  };
  return weight;
}

StoredWeight row_slice(const StoredWeight& weight, int64_t begin, std::vector<int64_t> shape) {
  StoredWeight slice = view_of(weight, std::move(shape));
  UM_CHECK(
      slice.columns() == weight.columns() && begin >= 0 && begin + slice.rows() <= weight.rows(),
      "rows {} to {} of a tensor of {}", begin, begin + slice.rows(), weight.rows());
  slice.read = [read = weight.read, begin](int64_t row, int64_t count, float* out) {
    read(begin + row, count, out);
  };
  if (weight.codes.read)
    slice.codes = {
        weight.codes.format,
        [read = weight.codes.read, begin](int64_t row, RowCodes& out) { read(begin + row, out); }};
  if (!weight.plain.empty()) {
    const auto row_bytes = static_cast<size_t>(weight.columns()) * dtype_size(weight.dtype);
    slice.plain = weight.plain.subspan(static_cast<size_t>(begin) * row_bytes,
                                       static_cast<size_t>(slice.rows()) * row_bytes);
  }
  return slice;
}

StoredWeight stack(const std::vector<StoredWeight>& weights) {
  UM_CHECK(!weights.empty(), "nothing to stack");
  StoredWeight all = weights.front();
  all.plain = {};
  all.codes = {};
  all.bytes = 0;
  std::vector<StoredWeight::Read> parts;
  for (const StoredWeight& weight : weights) {
    UM_CHECK(weight.shape == weights.front().shape, "tensors of different shapes to stack");
    all.bytes += weight.bytes;
    all.exact = all.exact && weight.exact;
    if (weight.dtype != all.dtype) all.dtype = DType::f32;
    parts.push_back(weight.read);
  }
  all.shape.insert(all.shape.begin(), std::ssize(weights));
  all.read = [parts = std::move(parts), rows = weights.front().rows(),
              columns = weights.front().columns()](int64_t row, int64_t count, float* out) {
    while (count > 0) {
      const int64_t part = row / rows, begin = row % rows, n = std::min(count, rows - begin);
      parts[static_cast<size_t>(part)](begin, n, out);
      row += n;
      count -= n;
      out += n * columns;
    }
  };
  return all;
}

StoredWeight reorder_rows(const StoredWeight& weight, std::function<int64_t(int64_t)> order) {
  StoredWeight view = view_of(weight, weight.shape);
  view.read = [read = weight.read, order, columns = weight.columns()](int64_t row, int64_t count,
                                                                      float* out) {
    for (int64_t i = 0; i < count; ++i) read(order(row + i), 1, out + i * columns);
  };
  if (weight.codes.read)
    view.codes = {weight.codes.format, [read = weight.codes.read, order](
                                           int64_t row, RowCodes& out) { read(order(row), out); }};
  return view;
}

StoredWeight reorder_values(const StoredWeight& vector, std::function<int64_t(int64_t)> order) {
  StoredWeight view = view_of(vector, vector.shape);
  view.read = [read = vector.read, order = std::move(order), n = vector.columns()](
                  int64_t, int64_t count, float* out) {
    if (count == 0) return;
    std::vector<float> all(static_cast<size_t>(n));
    read(0, 1, all.data());
    for (int64_t i = 0; i < n; ++i) out[i] = all[static_cast<size_t>(order(i))];
  };
  return view;
}

StoredWeight swap_last(const StoredWeight& weight) {
  UM_CHECK(weight.shape.size() == 3, "expected three dimensions to swap two of, found {}",
           weight.shape.size());
  const int64_t a = weight.shape[1], b = weight.shape[2];
  StoredWeight view = view_of(weight, {weight.shape[0], b, a});
  view.read = [read = weight.read, a, b](int64_t row, int64_t count, float* out) {
    std::vector<float> matrix(static_cast<size_t>(a * b));
    for (int64_t i = row, in_matrix = -1; i < row + count; ++i) {
      if (i / b != in_matrix) {
        in_matrix = i / b;
        read(in_matrix * a, a, matrix.data());
      }
      for (int64_t k = 0; k < a; ++k) *out++ = matrix[static_cast<size_t>(k * b + i % b)];
    }
  };
  return view;
}

StoredWeight join_middle(const StoredWeight& first, const StoredWeight& second) {
  UM_CHECK(first.shape.size() == 3 && second.shape.size() == 3 &&
               first.shape[0] == second.shape[0] && first.shape[2] == second.shape[2],
           "shapes [{}] and [{}] cannot be joined", fmt::join(first.shape, ", "),
           fmt::join(second.shape, ", "));
  const int64_t a = first.shape[1], b = second.shape[1], columns = first.shape[2];
  StoredWeight view = view_of(first, {first.shape[0], a + b, columns});
  view.bytes = first.bytes + second.bytes;
  view.exact = first.exact && second.exact;
  if (first.dtype != second.dtype) view.dtype = DType::f32;
  view.read = [first = first.read, second = second.read, a, b, columns](int64_t row, int64_t count,
                                                                        float* out) {
    while (count > 0) {
      const int64_t n = row / (a + b), i = row % (a + b);
      const int64_t run = std::min(count, i < a ? a - i : a + b - i);
      if (i < a)
        first(n * a + i, run, out);
      else
        second(n * b + i - a, run, out);
      row += run;
      count -= run;
      out += run * columns;
    }
  };
  return view;
}

StoredWeight reshaped(StoredWeight weight, std::vector<int64_t> shape) {
  UM_CHECK(
      product(shape) == product(weight.shape) && !shape.empty() && shape.back() == weight.columns(),
      "a tensor of shape [{}] is none of [{}]", fmt::join(weight.shape, ", "),
      fmt::join(shape, ", "));
  weight.shape = std::move(shape);
  return weight;
}

bool has_weights(const fs::path& path) {
  if (!path_exists(path)) return false;
  if (!fs::is_directory(path)) return true;
  return path_exists(path / "model.safetensors") ||
         path_exists(path / "model.safetensors.index.json");
}

WeightSource open_weights(const fs::path& path) {
  if (is_gguf(path)) return open_gguf_weights(path);
  UM_CHECK(!is_mapped(path),
           "{}: a model in the layout of memory, which only runs; use the one that it was made of",
           path.string());
  const auto reader = std::make_shared<CheckpointReader>(path);
  WeightSource source(path.string());
  source.keep(reader);
  for (const auto& file : reader->files()) source.add_file(file->file());
  for (const std::string& warning : reader->warnings()) source.warn(warning);
  add_safetensors_weights(*reader, path, source);
  return source;
}

}  // namespace um
