// Cuts a list of matrix products into equal pieces of work and runs each piece blocked for the
// caches. All products together form one line of items (column block by row panel); a piece is a
// contiguous range of it, so uneven experts balance and a thread packs a block of B once for all
// its rows.
#include "kernels/cpu/isa/gemm.h"

#include "kernels/cpu/isa/work_line.h"

namespace um::UM_ISA {
namespace {

// Best of a few tried on a Zen 5 (1 MB of L2): a packed block of B is 1 MB and read from L2 and L3
// once per kMcPanels row panels, a panel of it (64 KB) once per row panel.
constexpr int64_t kKc = 512;              // k per packed block
constexpr int64_t kNcPanels = 512 / kNr;  // column panels per packed block of B
constexpr int64_t kMcPanels = 8;          // row panels of A packed together
constexpr int64_t kStreamCost = 2;  // reading a panel of B from memory, in row panels of arithmetic

// Products of few rows (an expert's in a prompt, a batch of streams) read B like skinny ones: a
// panel at a time in small blocks of k, which stay in the nearest cache between packing and use.
constexpr int64_t kThinKc = 256;
constexpr int64_t kThinPanels = 8;
constexpr int64_t kThinA =
    kMcPanels * kKc * 4;  // row panels by k of the whole A, which stays packed
// Where B is read in place (few), a block of rows of A that stays packed: half of a second-level
// cache. Of f32 weights only while the product is thin: reading them that way takes more loads.
constexpr int64_t kFewA = 1 << 17;  // rows by k

/// A thread's packing buffers and which block of B it holds.
struct Scratch {
  float *a = nullptr, *b = nullptr;
  int64_t problem = -1, block = -1, k0 = -1;
  void reset() {
    if (a == nullptr) {
      a = static_cast<float*>(_mm_malloc(sizeof(float) * kThinA * kWidth, 64));
      b = static_cast<float*>(_mm_malloc(sizeof(float) * kNcPanels * kKc * kNr, 64));
    }
    problem = block = k0 = -1;
  }
  ~Scratch() {
    _mm_free(a);
    _mm_free(b);
  }
};
thread_local Scratch scratch;

/// How one product is cut. With swiglu the columns have two halves (gate, up) and a block holds
/// the same columns of both; otherwise there is one half.
struct Cut {
  bool skinny = false, few = false, thin = false;
  int64_t halves = 1, width = 0;         // columns of a half
  int64_t panels = 0, block_panels = 0;  // of a half
  int64_t row_panels = 0;
  int64_t block_rows = 0;            // few
  int64_t items = 0, item_cost = 0;  // an item: a panel (few: of a block of rows), or a row panel
                                     // of a block
};

Cut cut_of(const Gemm& g, int64_t least_items) {
  Cut cut;
  if (g.m <= 0 || g.n <= 0) return cut;
  cut.skinny = g.m <= kSkinnyRows && !g.trans_a && !g.pairs;
  cut.halves = g.swiglu != nullptr ? 2 : 1;
  cut.width = g.n / cut.halves;
  cut.panels = ceil_div(cut.width, kNr);
  cut.row_panels = ceil_div(g.m, kMr);
  cut.thin =
      !cut.skinny && !g.trans_a && cut.row_panels * g.k <= kThinA && cut.row_panels <= kThinPanels;
  cut.few = kReadsInPlace && !g.pairs && !cut.skinny && !g.trans_a && g.trans_b && g.k > 0 &&
            g.k <= kThinA && (cut.thin || g.b.type() == RowType::bf16);
  if (cut.few) {
    const int64_t most = g.k * kWidth < kFewA ? kFewA / (g.k * kWidth) * kWidth : kWidth;
    const int64_t blocks = ceil_div(g.m, most);
    cut.block_rows = ceil_div(g.m, blocks);
    cut.items = ceil_div(g.m, cut.block_rows) * cut.panels;
    cut.item_cost = cut.halves * (kStreamCost + ceil_div(cut.block_rows, kMr)) * (g.k + kNr);
  } else if (cut.skinny || cut.thin) {
    cut.items = cut.panels;
    cut.item_cost = cut.halves * (kStreamCost + (cut.thin ? cut.row_panels : 0)) * (g.k + kNr);
  } else {
    int64_t blocks = ceil_div(cut.panels, kNcPanels / cut.halves);
    if (blocks * cut.row_panels < least_items) blocks = ceil_div(least_items, cut.row_panels);
    cut.block_panels = ceil_div(cut.panels, blocks);
    cut.items = ceil_div(cut.panels, cut.block_panels) * cut.row_panels;
    cut.item_cost = cut.halves * cut.block_panels * (g.k + kNr);
  }
  return cut;
}

void run_skinny(const Gemm& g, const Cut& cut, int64_t first, int64_t last) {
  const int64_t column = first * kNr, columns = least(last * kNr, cut.width) - column;
  for (int64_t half = 0; half < cut.halves; ++half) {
    gemm_skinny(g, half * cut.width + column, columns);
  }
  if (g.swiglu != nullptr) activate(g.swiglu, g.c, g.ldc, g.n, {0, g.m, column, columns});
}

/// A column block of one product in one k block.
struct Block {
  int64_t panel = 0, panels = 0;  // of each half
  int64_t k0 = 0, kc = 0;
};

/// Columns of a half that the block covers.
int64_t block_columns(const Cut& cut, const Block& block) {
  return least(block.panels * kNr, cut.width - block.panel * kNr);
}

void pack_block(const Gemm& g, const Cut& cut, const Block& block) {
  for (int64_t half = 0; half < cut.halves; ++half) {
    pack_b(g, half * cut.width + block.panel * kNr, block_columns(cut, block), block.k0, block.kc,
           scratch.b + half * block.panels * kNr * block.kc);
  }
}

/// Packed B against rows [row, row+rows), rows <= kMcPanels * kMr.
void run_rows(const Gemm& g, const Cut& cut, const Block& block, int64_t row, int64_t rows) {
  pack_a(g, row, rows, kMr, block.k0, block.kc, scratch.a);
  const bool load = g.accumulate || block.k0 > 0;
  const float* b = scratch.b;
  for (int64_t half = 0; half < cut.halves; ++half) {
    for (int64_t p = block.panel; p < block.panel + block.panels; ++p, b += kNr * block.kc) {
      const int64_t column = half * cut.width + p * kNr;
      const float* bias = g.bias != nullptr && block.k0 == 0 ? g.bias + column : nullptr;
      const float* a = scratch.a;
      for (int64_t i = 0; i < rows; i += kMr, a += kWidth * block.kc) {
        micro_tile(g, least(kMr, rows - i), least(kNr, cut.width - p * kNr), block.kc, a, b,
                   g.c + (row + i) * g.ldc + column, load, bias);
      }
    }
  }
}

/// Where B's elements for columns [column, ...) and k >= k0 lie, if it is stored [n,k].
NextBlock next_block(const Gemm& g, int64_t column, int64_t k0) {
  if (!g.trans_b) return {};
  return {static_cast<const char*>(g.b.from_row(column).values) + g.b.format.value_bytes(k0),
          g.b.row_bytes};
}

/// kNr columns (or the last few) of a thin product, whose A is packed in panels of `step` rows. The
/// tiles of one block of k ask for the next block of B.
void run_panel(const Gemm& g, int64_t step, int64_t column, int64_t columns) {
  constexpr int64_t kLine = 64;
  int64_t k0 = 0;
  do {  // once even when k is 0, to write the initial values
    const int64_t kc = least(kThinKc, g.k - k0), next = k0 + kc;
    pack_b(g, column, columns, k0, kc, scratch.b);
    NextBlock ahead = next < g.k ? next_block(g, column, next) : next_block(g, column + kNr, 0);
    int64_t lines = g.b.format.value_bytes(kThinKc) / kLine;  // of each row
    const float* bias = g.bias != nullptr && k0 == 0 ? g.bias + column : nullptr;
    const float* a = scratch.a + tile_steps(g, k0) * kWidth;
    for (int64_t i = 0; i < g.m; i += step, a += g.k * kWidth) {
      micro_tile(g, least(step, g.m - i), columns, kc, a, scratch.b, g.c + i * g.ldc + column,
                 g.accumulate || k0 > 0, bias, lines > 0 ? ahead : NextBlock{});
      const int64_t asked = tile_steps(g, kc) / kNr;
      if (ahead.p != nullptr) ahead.p += asked * kLine;
      lines -= asked;
    }
    k0 = next;
  } while (k0 < g.k);
}

/// Panels [first, last) of columns of a thin product.
void run_thin(const Gemm& g, const Cut& cut, int64_t first, int64_t last) {
  const int64_t begin = first * kNr, end = least(last * kNr, cut.width);
  const int64_t step = ceil_div(g.m, cut.row_panels);
  pack_a(g, 0, g.m, step, 0, g.k, scratch.a);
  for (int64_t half = 0; half < cut.halves; ++half) {
    for (int64_t j = begin; j < end; j += kNr)
      run_panel(g, step, half * cut.width + j, least(kNr, end - j));
  }
  if (g.swiglu != nullptr) activate(g.swiglu, g.c, g.ldc, g.n, {0, g.m, begin, end - begin});
}

/// Panels [first, last) of columns of a block of rows, B read in place.
void run_few(const Gemm& g, const Cut& cut, int64_t block, int64_t first, int64_t last) {
  const int64_t row = block * cut.block_rows, rows = least(cut.block_rows, g.m - row);
  const int64_t column = first * kNr, columns = least(last * kNr, cut.width) - column;
  const int64_t step = ceil_div(rows, ceil_div(rows, kWidth));
  pack_a(g, row, rows, step, 0, g.k, scratch.a);
  for (int64_t half = 0; half < cut.halves; ++half) {
    gemm_few(g, scratch.a, row, rows, step, half * cut.width + column, columns, scratch.b);
  }
  if (g.swiglu != nullptr) activate(g.swiglu, g.c, g.ldc, g.n, {row, rows, column, columns});
}

/// Row panels [first, last) of one column block, all of k.
void run_block(const Gemm& g, const Cut& cut, int64_t problem, int64_t index, int64_t first,
               int64_t last) {
  Block block;
  block.panel = index * cut.block_panels;
  block.panels = least(cut.block_panels, cut.panels - block.panel);
  // Equal blocks of k; one even when k is 0, to write the initial values.
  const int64_t k_blocks = g.k > kKc ? ceil_div(g.k, kKc) : 1;
  const int64_t k_step = ceil_div(ceil_div(g.k, k_blocks), kWidth) * kWidth;
  do {
    block.kc = least(k_step, g.k - block.k0);
    if (scratch.problem != problem || scratch.block != index || scratch.k0 != block.k0) {
      pack_block(g, cut, block);
      scratch.problem = problem;
      scratch.block = index;
      scratch.k0 = block.k0;
    }
    for (int64_t r = first; r < last; r += kMcPanels) {
      const int64_t row = r * kMr, rows = least(least(last, r + kMcPanels) * kMr, g.m) - row;
      run_rows(g, cut, block, row, rows);
      if (g.swiglu != nullptr && block.k0 + block.kc == g.k) {
        activate(g.swiglu, g.c, g.ldc, g.n,
                 {row, rows, block.panel * kNr, block_columns(cut, block)});
      }
    }
    block.k0 += block.kc;
  } while (block.k0 < g.k);
}

/// Items [first, last) of one product.
void run_items(const Gemm& g, const Cut& cut, int64_t problem, int64_t first, int64_t last) {
  if (cut.skinny) {
    run_skinny(g, cut, first, last);
    return;
  }
  if (cut.thin && !cut.few) {
    scratch.problem = -1;  // packing over what it held
    run_thin(g, cut, first, last);
    return;
  }
  if (cut.few) scratch.problem = -1;
  const int64_t each = cut.few ? cut.panels : cut.row_panels;
  while (first < last) {
    const int64_t index = first / each, begin = index * each, end = least(last, begin + each);
    if (cut.few)
      run_few(g, cut, index, first - begin, end - begin);
    else
      run_block(g, cut, problem, index, first - begin, end - begin);
    first = end;
  }
}

}  // namespace

void gemm_batch(int64_t count, Gemm (*get)(const void* args, int64_t problem), const void* args) {
  run_line(WorkLine<Gemm, Cut>{
      .count = count, .args = args, .get = get, .cut_of = cut_of, .run = run_items, .begin = [] {
        scratch.reset();
      }});
}

}  // namespace um::UM_ISA
