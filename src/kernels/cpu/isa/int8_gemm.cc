// See int8_gemm.h. Lanes are channels: a tile multiplies a few rows of A with four rows of B, and
// adds up the lanes at the end. A is widened to 16 bits once per block of rows. For few rows (a
// decode step, bound by reading B) B is read where it lies and each line once; for more, four rows
// of B at a time are widened first and used by all rows of the block.
#include "kernels/cpu/isa/int8_gemm.h"

#include "kernels/cpu/isa/int8_dot.h"
#include "kernels/cpu/isa/rows.h"
#include "kernels/cpu/isa/work_line.h"

namespace um::UM_ISA {
namespace {

constexpr int kTileRows = 3;     // of A in a tile: 12 sums, and registers for the operands
constexpr int kTileColumns = 4;  // rows of B in a tile
constexpr int64_t kPanel = 16;   // columns of an item: whole vectors for the activation
constexpr int64_t kBlockBytes = 192 << 10;  // of widened A, which stays in the second-level cache
constexpr int64_t kInPlaceRows = 4;         // up to as many rows B is not widened first
constexpr int64_t kStreamCost = 2;          // reading B from memory, in tiles of arithmetic
constexpr int64_t kAhead = 1024;            // bytes along a row of B that are asked for early

struct Int8Cut {
  int64_t halves = 1, width = 0;  // of C's columns: gate and up, with the activation
  int64_t panels = 0;             // of a half
  int64_t depth = 0;              // k, rounded up to whole vectors
  int64_t block_rows = 0;
  int64_t items = 0, item_cost = 0;  // an item: a panel of a block of rows
};

Int8Cut cut_of(const Int8Gemm& g, int64_t) {
  Int8Cut cut;
  if (g.m <= 0 || g.n <= 0) return cut;
  cut.halves = g.swiglu != nullptr ? 2 : 1;
  cut.width = g.n / cut.halves;
  cut.panels = ceil_div(cut.width, kPanel);
  cut.depth = ceil_div(g.k, kShorts) * kShorts;
  const int64_t most = cut.depth > 0 ? kBlockBytes / (2 * cut.depth) : g.m;
  const int64_t blocks = ceil_div(g.m, most > kTileRows ? most : kTileRows);
  cut.block_rows = ceil_div(g.m, blocks);
  cut.items = ceil_div(g.m, cut.block_rows) * cut.panels;
  cut.item_cost = cut.halves * (kStreamCost + ceil_div(cut.block_rows, kTileRows)) * (g.k + kPanel);
  return cut;
}

/// A thread's widened rows of A, and of four rows of B.
thread_local Scratch widened_a, widened_b;

/// Four columns of C from row `row` of a block on: C[i, j] = sum * scale_a[i] * scale_b[j] + bias.
void finish(const Int8Gemm& g, int64_t row, int64_t column, int64_t columns, __m128 sums) {
  const int64_t stored = g.gather_a != nullptr ? g.gather_a[row] : row;
  float scales[kTileColumns] = {}, bias[kTileColumns] = {}, out[kTileColumns];
  for (int64_t j = 0; j < columns; ++j) {
    scales[j] = g.b.scales[(column + j) * g.b.scale_stride];
    if (g.bias != nullptr) bias[j] = g.bias[column + j];
  }
  const __m128 scale =
      _mm_mul_ps(_mm_set1_ps(g.a.scales[stored * g.a.scale_stride]), _mm_loadu_ps(scales));
  const __m128 c = _mm_fmadd_ps(sums, scale, _mm_loadu_ps(bias));
  float* to = g.c + row * g.ldc + column;
  if (columns == kTileColumns) {
    _mm_storeu_ps(to, c);
    return;
  }
  _mm_storeu_ps(out, c);
  for (int64_t j = 0; j < columns; ++j) to[j] = out[j];
}

/// Four rows of B as a tile reads them: int8 where they lie, or widened.
template <class T>
struct Columns {
  const T* rows[kTileColumns];
  int64_t depth;        ///< channels that are there, of whole vectors
  const int16_t* tail;  ///< the channels after them: kShorts of each row, widened; null: none
};

template <int kRows>
using Sums = Ints[kRows][kTileColumns];

/// The next kShorts channels of a tile.
template <int kRows, class T>
inline __attribute__((always_inline)) void add_step(const int16_t* a, int64_t lda,
                                                    const T* const (&b)[kTileColumns], int64_t k,
                                                    Sums<kRows>& sum) {
  UM_UNROLL
  for (int j = 0; j < kTileColumns; ++j) {
    const Ints y = load_shorts(b[j] + k);
    UM_UNROLL
    for (int i = 0; i < kRows; ++i)
      sum[i][j] = add_products(sum[i][j], load_shorts(a + i * lda), y);
  }
}

/// kRows rows of C, four columns.
template <class T, int kRows>
void tile(const Int8Gemm& g, const Columns<T>& b, const int16_t* a, int64_t lda, int64_t row,
          int64_t column, int64_t columns) {
  constexpr int64_t kLine = 64;
  Sums<kRows> sum;
  UM_UNROLL
  for (int i = 0; i < kRows; ++i) {
    UM_UNROLL
    for (int j = 0; j < kTileColumns; ++j) sum[i][j] = zero_ints();
  }
  int64_t k = 0;
  if constexpr (sizeof(T) == 1) {
    for (; k + kLine <= b.depth; k += kLine) {
      UM_UNROLL
      for (int j = 0; j < kTileColumns; ++j)
        _mm_prefetch(reinterpret_cast<const char*>(b.rows[j] + k + kAhead), _MM_HINT_T0);
      UM_UNROLL
      for (int64_t step = 0; step < kLine; step += kShorts)
        add_step<kRows>(a + k + step, lda, b.rows, k + step, sum);
    }
  }
  for (; k < b.depth; k += kShorts) add_step<kRows>(a + k, lda, b.rows, k, sum);
  if (b.tail != nullptr) {
    const int16_t* tail[kTileColumns];
    for (int j = 0; j < kTileColumns; ++j) tail[j] = b.tail + j * kShorts;
    add_step<kRows>(a + k, lda, tail, 0, sum);
  }
  UM_UNROLL
  for (int i = 0; i < kRows; ++i) finish(g, row + i, column, columns, totals(sum[i]));
}

/// Four columns of a block of rows, whose A is `a`.
template <class T>
void run_columns(const Int8Gemm& g, const Columns<T>& b, const int16_t* a, int64_t lda, int64_t row,
                 int64_t rows, int64_t column, int64_t columns) {
  int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows)
    tile<T, kTileRows>(g, b, a + i * lda, lda, row + i, column, columns);
  if (rows - i == 2) tile<T, 2>(g, b, a + i * lda, lda, row + i, column, columns);
  if (rows - i == 1) tile<T, 1>(g, b, a + i * lda, lda, row + i, column, columns);
}

/// Row `column + j` of B; past the last of `columns` the last once more.
const int8_t* row_of_b(const Int8Gemm& g, int64_t column, int64_t columns, int64_t j) {
  return g.b.from_row(column + least(j, columns - 1)).i8();
}

void run_in_place(const Int8Gemm& g, const Int8Cut& cut, const int16_t* a, int64_t row,
                  int64_t rows, int64_t column, int64_t columns) {
  Columns<int8_t> b;
  b.depth = g.k / kShorts * kShorts;
  int16_t tail[kTileColumns * kShorts];
  b.tail = b.depth < g.k ? tail : nullptr;
  for (int j = 0; j < kTileColumns; ++j) {
    b.rows[j] = row_of_b(g, column, columns, j);
    if (b.tail != nullptr)
      widen_shorts(b.rows[j] + b.depth, g.k - b.depth, kShorts, tail + j * kShorts);
  }
  run_columns(g, b, a, cut.depth, row, rows, column, columns);
}

void run_widened(const Int8Gemm& g, const Int8Cut& cut, const int16_t* a, int64_t row, int64_t rows,
                 int64_t column, int64_t columns) {
  Columns<int16_t> b;
  b.depth = cut.depth;
  b.tail = nullptr;
  auto* wide = static_cast<int16_t*>(widened_b.get(kTileColumns * 2 * cut.depth));
  for (int j = 0; j < kTileColumns; ++j) {
    b.rows[j] = wide + j * cut.depth;
    widen_shorts(row_of_b(g, column, columns, j), g.k, cut.depth, wide + j * cut.depth);
  }
  run_columns(g, b, a, cut.depth, row, rows, column, columns);
}

/// Panels [first, last) of a block of rows.
void run_block(const Int8Gemm& g, const Int8Cut& cut, int64_t block, int64_t first, int64_t last) {
  const int64_t row = block * cut.block_rows, rows = least(cut.block_rows, g.m - row);
  const int64_t begin = first * kPanel, end = least(last * kPanel, cut.width);
  auto* a = static_cast<int16_t*>(widened_a.get(rows * 2 * cut.depth));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t stored = g.gather_a != nullptr ? g.gather_a[row + i] : row + i;
    widen_shorts(g.a.from_row(stored).i8(), g.k, cut.depth, a + i * cut.depth);
  }
  const auto run = rows <= kInPlaceRows ? run_in_place : run_widened;
  for (int64_t half = 0; half < cut.halves; ++half)
    for (int64_t j = begin; j < end; j += kTileColumns)
      run(g, cut, a, row, rows, half * cut.width + j, least(kTileColumns, end - j));
  if (g.swiglu != nullptr) activate(g.swiglu, g.c, g.ldc, g.n, {row, rows, begin, end - begin});
}

/// Items [first, last) of one product.
void run_items(const Int8Gemm& g, const Int8Cut& cut, int64_t, int64_t first, int64_t last) {
  while (first < last) {
    const int64_t block = first / cut.panels, begin = block * cut.panels;
    const int64_t end = least(last, begin + cut.panels);
    run_block(g, cut, block, first - begin, end - begin);
    first = end;
  }
}

}  // namespace

void int8_gemm_batch(int64_t count, Int8Gemm (*get)(const void* args, int64_t problem),
                     const void* args) {
  run_line(WorkLine<Int8Gemm, Int8Cut>{
      .count = count, .args = args, .get = get, .cut_of = cut_of, .run = run_items, .begin = [] {
      }});
}

}  // namespace um::UM_ISA
