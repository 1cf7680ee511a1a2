// See panel_gemm.h. An item is a panel of B (16 columns of C) for a block of rows of A, whose
// integers are copied once, padded to whole steps. A tile goes down a panel, which lies in one
// piece: for few rows (a decode step, bound by reading B) it is read once; for more it stays in the
// cache.
#include "kernels/cpu/isa/panel_gemm.h"

#include <cstring>

#include "kernels/cpu/isa/panel_dot.h"
#include "kernels/cpu/isa/rows.h"
#include "kernels/cpu/isa/work_line.h"

namespace um::UM_ISA {
namespace {

constexpr int64_t kBlockBytes = 192 << 10;  // of A, which stays in the second-level cache
constexpr int64_t kLeastRows = 12;          // of a block
constexpr int64_t kStreamCost = 2;          // reading B from memory, in tiles of arithmetic

struct PanelCut {
  int64_t halves = 1, width = 0;  // of C's columns: gate and up, with the activation
  int64_t unit = 0;               // columns whose first begins a panel
  int64_t panels = 0;             // of a half
  int64_t depth = 0;              // k, padded
  int64_t chunk = 0, chunks = 0;  // channels with one scale of A and of B
  int64_t per_a = 1, per_b = 1;   // chunks of a group of A, of B
  int64_t block_rows = 0;
  int64_t items = 0, item_cost = 0;
};

PanelCut cut_of(const PanelGemm& g, int64_t) {
  PanelCut cut;
  if (g.m <= 0 || g.n <= 0) return cut;
  cut.halves = g.swiglu != nullptr ? 2 : 1;
  cut.width = g.n / cut.halves;
  cut.unit = g.b.unit % kPanelRows == 0 ? cut.width : least(g.b.unit, cut.width);
  cut.panels = cut.width / cut.unit * ceil_div(cut.unit, kPanelRows);
  cut.depth = ceil_div(g.k, kPanelDepth) * kPanelDepth;
  cut.chunk = least(least(g.a.format.group, g.b.format.group), cut.depth);
  cut.chunks = g.k == 0 ? 0 : ceil_div(g.k, cut.chunk);
  if (g.k > 0) {
    cut.per_a = ceil_div(least(g.a.format.group, cut.depth), cut.chunk);
    cut.per_b = ceil_div(least(g.b.format.group, cut.depth), cut.chunk);
  }
  const int64_t most = cut.depth > 0 ? kBlockBytes / (2 * cut.depth) : g.m;
  const int64_t blocks = ceil_div(g.m, most > kLeastRows ? most : kLeastRows);
  cut.block_rows = ceil_div(g.m, blocks);
  cut.items = ceil_div(g.m, cut.block_rows) * cut.panels;
  cut.item_cost = cut.halves * (kStreamCost + ceil_div(cut.block_rows, 3)) * (g.k + kPanelRows);
  return cut;
}

/// A block of rows of A as kernels take them, in a thread's memory.
template <class T>
struct Block {
  const T* values;      ///< [rows, depth]
  const int32_t* sums;  ///< [rows, chunks] of the values
  const RowsView* stored;
  const int32_t* index;  ///< of the stored rows; null: from `first` on
  int64_t first, rows;

  int64_t stored_row(int64_t i) const { return index != nullptr ? index[i] : first + i; }
};

thread_local Scratch block_values, block_sums;

inline void copy_row(const int8_t* from, int64_t count, int64_t padded, int8_t* to) {
  std::memcpy(to, from, static_cast<size_t>(count));
  std::memset(to + count, 0, static_cast<size_t>(padded - count));
}
inline void copy_row(const int8_t* from, int64_t count, int64_t padded, int16_t* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(to + i),
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  for (; i < count; ++i) to[i] = from[i];
  for (; i < padded; ++i) to[i] = 0;
}

template <class T>
Block<T> copy_block(const PanelGemm& g, const PanelCut& cut, int64_t row, int64_t rows) {
  Block<T> block{.values = nullptr,
                 .sums = nullptr,
                 .stored = &g.a,
                 .index = g.gather_a != nullptr ? g.gather_a + row : nullptr,
                 .first = row,
                 .rows = rows};
  auto* values = static_cast<T*>(block_values.get(rows * cut.depth * int64_t{sizeof(T)}));
  auto* sums = static_cast<int32_t*>(block_sums.get(rows * cut.chunks * 4));
  for (int64_t i = 0; i < rows; ++i) {
    T* to = values + i * cut.depth;
    copy_row(g.a.from_row(block.stored_row(i)).i8(), g.k, cut.depth, to);
    for (int64_t c = 0; c < cut.chunks; ++c) {
      int32_t sum = 0;
      const int64_t end = least(cut.depth, (c + 1) * cut.chunk);
      for (int64_t k = c * cut.chunk; k < end; ++k) sum += to[k];
      sums[i * cut.chunks + c] = sum;
    }
  }
  block.values = values;
  block.sums = sums;
  return block;
}

/// A panel of B and the columns of C that it gives.
struct Panel {
  const uint8_t* codes;
  const char *scales, *offsets;  ///< [groups, kPanelRows]
  int64_t column, columns;
};

Panel panel_of(const PanelGemm& g, const PanelCut& cut, int64_t half, int64_t index) {
  const int64_t of_unit = ceil_div(cut.unit, kPanelRows);
  const int64_t in_unit = index % of_unit * kPanelRows;
  Panel panel{};
  panel.column = half * cut.width + index / of_unit * cut.unit + in_unit;
  panel.columns = least(kPanelRows, cut.unit - in_unit);
  const RowsView rows = g.b.from_row(panel.column);
  panel.codes = rows.codes();
  panel.scales = static_cast<const char*>(rows.scales);
  panel.offsets = static_cast<const char*>(rows.offsets);
  return panel;
}

/// The group of one chunk after the other.
struct GroupCounter {
  int64_t per, group = 0, left = per;
  /// Whether another group begins.
  bool next() {
    if (--left > 0) return false;
    ++group;
    left = per;
    return true;
  }
};

/// Scales, or offsets, of a panel's rows, group after group.
class GroupNumbers {
 public:
  GroupNumbers(const RowFormat& format, const char* numbers)
      : type_(format.scale_type), coded_groups_(format.coded_groups()), at_(numbers) {}

  /// Those of the next group.
  void take(Vec (&out)[kVecs]) {
    if (type_ == ScaleType::coded && left_ == 0) {
      halves(units_);
      left_ = coded_groups_;
    }
    if (type_ == ScaleType::f32) {
      UM_UNROLL
      for (int v = 0; v < kVecs; ++v) out[v] = load(step<float>() + v * kWidth);
      at_ += kPanelRows * int64_t{sizeof(float)};
    } else if (type_ == ScaleType::f16) {
      halves(out);
    } else {
      UM_UNROLL
      for (int v = 0; v < kVecs; ++v) out[v] = units_[v] * load(step<int8_t>() + v * kWidth);
      at_ += kPanelRows;
      --left_;
    }
  }

 private:
  template <class T>
  const T* step() const {
    return reinterpret_cast<const T*>(at_);
  }
  void halves(Vec (&out)[kVecs]) {
    UM_UNROLL
    for (int v = 0; v < kVecs; ++v) out[v] = load_half(step<uint16_t>() + v * kWidth);
    at_ += kPanelRows * int64_t{sizeof(uint16_t)};
  }

  ScaleType type_;
  int64_t coded_groups_, left_ = 0;  // of those with the present units
  const char* at_;
  Vec units_[kVecs];
};

/// kRows rows of C from row `i` of the block on, the columns of a panel.
template <class Dot, int kRows>
void tile(const PanelGemm& g, const PanelCut& cut, const Block<typename Dot::Activation>& block,
          int64_t i, const Panel& panel) {
  const RowFormat format = g.b.format;
  Vec c[kRows][kVecs];
  UM_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    const int64_t lanes = least(kWidth, panel.columns - v * kWidth);
    const Vec start = g.bias != nullptr && lanes > 0
                          ? load_part(g.bias + panel.column + v * kWidth, lanes)
                          : splat(0.0f);
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) c[r][v] = start;
  }
  const float* scales_a[kRows];
  for (int r = 0; r < kRows; ++r)
    scales_a[r] = g.a.f32_scales() + block.stored_row(i + r) * g.a.scale_stride;
  GroupCounter of_a{cut.per_a}, of_b{cut.per_b};
  GroupNumbers scales(format, panel.scales), offsets(format, panel.offsets);
  Vec scale[kVecs], offset[kVecs];
  bool another = true;
  for (int64_t chunk = 0; chunk < cut.chunks; ++chunk, of_a.next(), another = of_b.next()) {
    if (another) scales.take(scale);
    if (another && format.offsets) offsets.take(offset);
    const int64_t k = chunk * cut.chunk;
    Ints16 sums[kRows];
    Dot::template run<kRows>(
        block.values + i * cut.depth + k, cut.depth,
        panel.codes + k / panel_step(Dot::kType) * panel_step_bytes(Dot::kType),
        least(cut.chunk, cut.depth - k), sums);
    UM_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      UM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int32_t middle = format.middle() * block.sums[(i + r) * cut.chunks + chunk];
        c[r][v] =
            fma(lanes_of(sums[r], v, middle), splat(scales_a[r][of_a.group]) * scale[v], c[r][v]);
      }
      if (!format.offsets) continue;
      UM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const auto sum = static_cast<float>(block.sums[(i + r) * cut.chunks + chunk]);
        c[r][v] = fma(splat(sum * scales_a[r][of_a.group]), offset[v], c[r][v]);
      }
    }
  }
  UM_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    const int64_t lanes = least(kWidth, panel.columns - v * kWidth);
    if (lanes <= 0) continue;
    for (int r = 0; r < kRows; ++r)
      store_part(g.c + (block.first + i + r) * g.ldc + panel.column + v * kWidth, c[r][v], lanes);
  }
}

/// Rows [i, block.rows) of a panel, in tiles of kRows, then of fewer.
template <class Dot, int kRows>
void run_tiles(const PanelGemm& g, const PanelCut& cut,
               const Block<typename Dot::Activation>& block, int64_t i, const Panel& panel) {
  for (; i + kRows <= block.rows; i += kRows) tile<Dot, kRows>(g, cut, block, i, panel);
  if constexpr (kRows > 1)
    if (i < block.rows)
      run_tiles<Dot, (kRows > 3 ? kRows / 2 : kRows - 1)>(g, cut, block, i, panel);
}

/// Panels [first, last) of a block of rows.
template <class Dot>
void run_block(const PanelGemm& g, const PanelCut& cut, int64_t index, int64_t first,
               int64_t last) {
  const int64_t row = index * cut.block_rows, rows = least(cut.block_rows, g.m - row);
  const auto block = copy_block<typename Dot::Activation>(g, cut, row, rows);
  for (int64_t p = first; p < last; ++p) {
    for (int64_t half = 0; half < cut.halves; ++half)
      run_tiles<Dot, Dot::kMostRows>(g, cut, block, 0, panel_of(g, cut, half, p));
    const Panel gate = panel_of(g, cut, 0, p);
    if (g.swiglu != nullptr)
      activate(g.swiglu, g.c, g.ldc, g.n, {row, rows, gate.column, gate.columns});
  }
}

/// Items [first, last) of one product.
template <class Dot>
void run_with(const PanelGemm& g, const PanelCut& cut, int64_t first, int64_t last) {
  while (first < last) {
    const int64_t block = first / cut.panels, begin = block * cut.panels;
    const int64_t end = least(last, begin + cut.panels);
    run_block<Dot>(g, cut, block, first - begin, end - begin);
    first = end;
  }
}

/// As run_with, with a Dot for the type of B's panels.
template <class Dot8, template <RowType> class DotFew>
void run_typed(const PanelGemm& g, const PanelCut& cut, int64_t first, int64_t last) {
  if (g.b.type() == RowType::panel8) return run_with<Dot8>(g, cut, first, last);
  if (g.b.type() == RowType::panel6) return run_with<DotFew<RowType::panel6>>(g, cut, first, last);
  if (g.b.type() == RowType::panel5) return run_with<DotFew<RowType::panel5>>(g, cut, first, last);
  return run_with<DotFew<RowType::panel4>>(g, cut, first, last);
}

void run_items(const PanelGemm& g, const PanelCut& cut, int64_t, int64_t first, int64_t last) {
#ifdef UM_ISA_avx512
  static const bool has_vnni = __builtin_cpu_supports("avx512vnni") != 0;
  if (has_vnni) return run_typed<VnniDot8, VnniDotFew>(g, cut, first, last);
#endif
  return run_typed<Dot8, DotFew>(g, cut, first, last);
}

}  // namespace

void panel_gemm_batch(int64_t count, PanelGemm (*get)(const void* args, int64_t problem),
                      const void* args) {
  run_line(WorkLine<PanelGemm, PanelCut>{
      .count = count, .args = args, .get = get, .cut_of = cut_of, .run = run_items, .begin = [] {
      }});
}

}  // namespace um::UM_ISA
