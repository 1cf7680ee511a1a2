// Shares out a list of uneven products among threads. All products together form one line of items
// (a part of a product), each as long as its cost; a thread takes ranges of the line, so uneven
// experts balance. Included only by kernels/cpu/isa/*.cc.
#pragma once

#include <omp.h>

#include "kernels/cpu/isa/gemm.h"

namespace um::UM_ISA {

// Large work is cut finer than the threads, so that one which a neighbour slows down does less;
// in smaller work what a piece prepares for itself would cost too much.
constexpr int64_t kLargeCost = 1 << 20;
constexpr int64_t kParallelCost = 2048;  // below it a fork costs more than it gives

/// The products 0 … count-1 of a kernel's `args`.
///   Product: what get(args, i) gives.
///   cut_of(product, least_items): its Cut, with the members items and item_cost.
///   run(product, cut, i, first, last): works on the items [first, last) of product i.
///   begin(): called by each thread before its first piece.
template <class Product, class Cut>
struct WorkLine {
  int64_t count = 0;
  const void* args = nullptr;
  Product (*get)(const void*, int64_t) = nullptr;
  Cut (*cut_of)(const Product&, int64_t least_items) = nullptr;
  void (*run)(const Product&, const Cut&, int64_t product, int64_t first, int64_t last) = nullptr;
  void (*begin)() = nullptr;
  int64_t least_items = 1;  ///< that each product is cut into, so that no thread is idle

  int64_t cost() const {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Cut cut = cut_of(get(args, i), least_items);
      sum += cut.items * cut.item_cost;
    }
    return sum;
  }

  /// The items of every product which start in [low, high) of the line.
  void run_piece(int64_t low, int64_t high) const {
    int64_t base = 0;
    for (int64_t i = 0; i < count && base < high; ++i) {
      const Product product = get(args, i);
      const Cut cut = cut_of(product, least_items);
      if (cut.items == 0) continue;
      const int64_t first = low <= base ? 0 : ceil_div(low - base, cut.item_cost);
      const int64_t last = least(cut.items, ceil_div(high - base, cut.item_cost));
      if (first < last) run(product, cut, i, first, last);
      base += cut.items * cut.item_cost;
    }
  }
};

/// All of it, on all threads.
template <class Product, class Cut>
void run_line(WorkLine<Product, Cut> line) {
  int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  if (threads > 1 && line.cost() < kParallelCost) threads = 1;
  if (threads > 1) line.least_items = ceil_div(4 * threads, line.count);
  const int64_t cost = line.cost();
  const int64_t pieces = threads == 1 ? 1 : threads * (cost < kLargeCost ? 1 : 2);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    line.begin();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t piece = 0; piece < pieces; ++piece)
      line.run_piece(cost * piece / pieces, cost * (piece + 1) / pieces);
  }
}

}  // namespace um::UM_ISA
