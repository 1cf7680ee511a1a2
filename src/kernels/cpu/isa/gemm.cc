// Cuts a list of matrix products into equal pieces of work and runs each piece blocked for the
// caches. All products together form one line of items (column block by row panel); a piece is a
// contiguous range of it, so uneven experts balance and a thread packs a block of B once for all
// its rows.
#include "kernels/cpu/isa/gemm.h"

#include <omp.h>

namespace um::UM_ISA {
namespace {

#ifndef UM_KC
#define UM_KC 256
#define UM_NC 512
#define UM_MC 4
#define UM_PIECES 4
#endif
constexpr int64_t kKc = UM_KC;                   // k per packed block
constexpr int64_t kNcPanels = UM_NC / kNr;       // column panels per packed block of B: in L2
constexpr int64_t kMcPanels = UM_MC;             // row panels of A packed together
constexpr int64_t kPiecesPerThread = UM_PIECES;  // taken as threads come free
constexpr int64_t kParallelCost = 2048;          // below it a fork costs more than it gives
constexpr int64_t kStreamCost = 2;  // reading a panel of B from memory, in row panels of arithmetic

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/// A thread's packing buffers and which block of B it holds.
struct Scratch {
  float *a = nullptr, *b = nullptr;
  int64_t problem = -1, block = -1, k0 = -1;
  void reset() {
    if (a == nullptr) {
      a = static_cast<float*>(_mm_malloc(sizeof(float) * kMcPanels * kKc * kWidth, 64));
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
  bool skinny = false;
  int64_t halves = 1, width = 0;         // columns of a half
  int64_t panels = 0, block_panels = 0;  // of a half
  int64_t row_panels = 0;
  int64_t items = 0, item_cost = 0;  // an item: a panel (skinny), or a row panel of a block
};

Cut cut_of(const Gemm& g) {
  Cut cut;
  if (g.m <= 0 || g.n <= 0) return cut;
  cut.skinny = g.m <= kSkinnyRows && !g.trans_a;
  cut.halves = g.swiglu != nullptr ? 2 : 1;
  cut.width = g.n / cut.halves;
  cut.panels = ceil_div(cut.width, kNr);
  cut.row_panels = ceil_div(g.m, kMr);
  if (cut.skinny) {
    cut.items = cut.panels;
    cut.item_cost = cut.halves * kStreamCost * (g.k + kNr);
  } else {
    const int64_t blocks = ceil_div(cut.panels, kNcPanels / cut.halves);
    cut.block_panels = ceil_div(cut.panels, blocks);
    cut.items = ceil_div(cut.panels, cut.block_panels) * cut.row_panels;
    cut.item_cost = cut.halves * cut.block_panels * (g.k + kNr);
  }
  return cut;
}

/// swiglu[rows, columns] of a finished part of C.
void activate(const Gemm& g, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  const int64_t half = g.n / 2;
  for (int64_t i = row; i < row + rows; ++i) {
    const float *gate = g.c + i * g.ldc + column, *up = gate + half;
    float* out = g.swiglu + i * half + column;
    for (int64_t j = 0; j < columns; j += kWidth) {
      const int64_t lanes = min(kWidth, columns - j);
      const Vec x = load_part(gate + j, lanes);
      store_part(out + j, x * sigmoid(x) * load_part(up + j, lanes), lanes);
    }
  }
}

void run_skinny(const Gemm& g, const Cut& cut, int64_t first, int64_t last) {
  const int64_t column = first * kNr, columns = min(last * kNr, cut.width) - column;
  for (int64_t half = 0; half < cut.halves; ++half) {
    gemm_skinny(g, half * cut.width + column, columns);
  }
  if (g.swiglu != nullptr) activate(g, 0, g.m, column, columns);
}

/// A column block of one product in one k block.
struct Block {
  int64_t panel = 0, panels = 0;  // of each half
  int64_t k0 = 0, kc = 0;
};

void pack_block(const Gemm& g, const Cut& cut, const Block& block) {
  float* packed = scratch.b;
  for (int64_t half = 0; half < cut.halves; ++half) {
    for (int64_t p = block.panel; p < block.panel + block.panels; ++p) {
      const int64_t columns = min(kNr, cut.width - p * kNr);
      pack_b(g, half * cut.width + p * kNr, columns, block.k0, block.kc, packed);
      packed += kNr * kKc;
    }
  }
}

/// Packed B against rows [row, row+rows), rows <= kMcPanels * kMr.
void run_rows(const Gemm& g, const Cut& cut, const Block& block, int64_t row, int64_t rows) {
  for (int64_t i = 0; i < rows; i += kMr) {
    pack_a(g, row + i, min(kMr, rows - i), block.k0, block.kc, scratch.a + i / kMr * kKc * kWidth);
  }
  const bool load = g.accumulate || block.k0 > 0;
  const float* b = scratch.b;
  for (int64_t half = 0; half < cut.halves; ++half) {
    for (int64_t p = block.panel; p < block.panel + block.panels; ++p, b += kNr * kKc) {
      const int64_t column = half * cut.width + p * kNr;
      const float* bias = g.bias != nullptr && block.k0 == 0 ? g.bias + column : nullptr;
      for (int64_t i = 0; i < rows; i += kMr) {
        micro_tile(min(kMr, rows - i), min(kNr, cut.width - p * kNr), block.kc,
                   scratch.a + i / kMr * kKc * kWidth, b, g.c + (row + i) * g.ldc + column, g.ldc,
                   load, bias);
      }
    }
  }
}

/// Row panels [first, last) of one column block, all of k.
void run_block(const Gemm& g, const Cut& cut, int64_t problem, int64_t index, int64_t first,
               int64_t last) {
  Block block;
  block.panel = index * cut.block_panels;
  block.panels = min(cut.block_panels, cut.panels - block.panel);
  do {
    block.kc = min(kKc, g.k - block.k0);
    if (scratch.problem != problem || scratch.block != index || scratch.k0 != block.k0) {
      pack_block(g, cut, block);
      scratch.problem = problem;
      scratch.block = index;
      scratch.k0 = block.k0;
    }
    for (int64_t r = first; r < last; r += kMcPanels) {
      const int64_t row = r * kMr, rows = min(min(last, r + kMcPanels) * kMr, g.m) - row;
      run_rows(g, cut, block, row, rows);
      if (g.swiglu != nullptr && block.k0 + block.kc == g.k) {
        const int64_t column = block.panel * kNr;
        activate(g, row, rows, column, min(block.panels * kNr, cut.width - column));
      }
    }
    block.k0 += kKc;
  } while (block.k0 < g.k);
}

/// Items [first, last) of one product.
void run_items(const Gemm& g, const Cut& cut, int64_t problem, int64_t first, int64_t last) {
  if (cut.skinny) {
    run_skinny(g, cut, first, last);
    return;
  }
  while (first < last) {
    const int64_t index = first / cut.row_panels, begin = index * cut.row_panels;
    const int64_t end = min(last, begin + cut.row_panels);
    run_block(g, cut, problem, index, first - begin, end - begin);
    first = end;
  }
}

/// The items of every product which start in [low, high) on the line of costs.
void run_piece(int64_t count, Gemm (*get)(const void*, int64_t), const void* args, int64_t low,
               int64_t high) {
  int64_t base = 0;
  for (int64_t problem = 0; problem < count && base < high; ++problem) {
    const Gemm g = get(args, problem);
    const Cut cut = cut_of(g);
    if (cut.items == 0) continue;
    const int64_t first = low <= base ? 0 : ceil_div(low - base, cut.item_cost);
    const int64_t last = min(cut.items, ceil_div(high - base, cut.item_cost));
    if (first < last) run_items(g, cut, problem, first, last);
    base += cut.items * cut.item_cost;
  }
}

}  // namespace

void gemm_batch(int64_t count, Gemm (*get)(const void* args, int64_t problem), const void* args) {
  int64_t cost = 0;
  for (int64_t problem = 0; problem < count; ++problem) {
    const Cut cut = cut_of(get(args, problem));
    cost += cut.items * cut.item_cost;
  }
  const int threads = cost < kParallelCost || omp_in_parallel() ? 1 : omp_get_max_threads();
  const int64_t pieces = threads == 1 ? 1 : threads * kPiecesPerThread;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    scratch.reset();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t piece = 0; piece < pieces; ++piece) {
      run_piece(count, get, args, cost * piece / pieces, cost * (piece + 1) / pieces);
    }
  }
}

}  // namespace um::UM_ISA
