// See embedding.h.
#include "ops/embedding.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct EmbeddingNode {
  Tensor ids, table;
  GradSlot *y_slot, *table_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (!dy) return;
    const GradOut grad = grad_out(table_slot, table);
    launch(dy.device(), EmbeddingGrad{.tokens = ids.count(),
                                      .cols = table.cols(),
                                      .vocab = table.rows(),
                                      .ids = ids.i32(),
                                      .dy = dy.f32(),
                                      .dtable = grad.data,
                                      .accumulate = grad.accumulate});
  }
};

}  // namespace

Tensor embedding(const Tensor& ids, const Rows& table) {
  Tensor y = Tensor::empty(table.device(), {ids.count(), table.cols()});
  launch(table.device(), Embedding{.tokens = ids.count(),
                                   .cols = table.cols(),
                                   .vocab = table.rows(),
                                   .ids = ids.i32(),
                                   .table = table.view(),
                                   .y = y.f32()});
  rotate(y, table.format.rotation);
  if (needs_grad(table.values))
    Tape::current()->record(EmbeddingNode{ids, table.values, track(y), table.slot()});
  return y;
}

}  // namespace um
