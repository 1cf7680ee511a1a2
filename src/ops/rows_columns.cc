// See rows_columns.h.
#include "ops/rows_columns.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct SplitNode {
  int64_t rows;
  std::array<int64_t, 3> widths;
  std::array<GradSlot*, 3> parts;
  GradSlot* x_slot;
  Device* device;

  void backward() {
    const int64_t cols = widths[0] + widths[1] + widths[2];
    Tensor dx;
    int64_t at = 0;
    for (size_t i = 0; i < parts.size(); at += widths[i++]) {
      const Tensor part = take_grad(parts[i]);
      if (!part) continue;
      if (!dx) dx = Tensor::zeros(*device, {rows, cols});
      launch(*device, CopyBlocks{.rows = rows,
                                 .width = widths[i],
                                 .x = part.f32(),
                                 .ldx = part.ld(),
                                 .y = dx.col_range(at, at + widths[i]).f32(),
                                 .ldy = cols});
    }
    if (dx) give_grad(x_slot, dx);
  }
};

struct PrependNode {
  Tensor head, own_rows, sink_rows;
  int64_t sequences, cols;
  GradSlot *out_slot, *head_slot, *x_slot;

  void backward() {
    const Tensor dout = take_grad(out_slot);
    if (!dout) return;
    if (x_slot != nullptr) give_grad(x_slot, gather(dout, own_rows));
    const GradOut dhead = grad_out(head_slot, head);
    if (!dhead.wanted) return;
    // One copy of the head per sequence was used: their gradients add up, in order.
    const Tensor copies = gather(dout, sink_rows);
    const int64_t count = head.count();
    for (int64_t s = 0; s < sequences; ++s) {
      const float* part = copies.f32() == nullptr ? nullptr : copies.f32() + s * count;
      if (s == 0 && !dhead.accumulate)
        launch(
            dout.device(),
            CopyBlocks{
                .rows = 1, .width = count, .x = part, .ldx = count, .y = dhead.data, .ldy = count});
      else
        launch(dout.device(), Add{.count = count, .a = dhead.data, .b = part, .y = dhead.data});
    }
  }

  Tensor gather(const Tensor& from, const Tensor& which) const {
    const Tensor out = Tensor::empty(from.device(), {which.count(), cols});
    launch(from.device(), CopyBlocks{.rows = which.count(),
                                     .width = cols,
                                     .x = from.f32(),
                                     .ldx = from.ld(),
                                     .y = out.f32(),
                                     .ldy = cols,
                                     .rows_x = which.i32()});
    return out;
  }
};

}  // namespace

std::array<Tensor, 3> split_columns(const Tensor& x, const std::array<int64_t, 3>& widths) {
  std::array<Tensor, 3> parts;
  int64_t at = 0;
  for (size_t i = 0; i < parts.size(); at += widths[i++]) {
    parts[i] = Tensor::empty(x.device(), {x.rows(), widths[i]});
    launch(x.device(), CopyBlocks{.rows = x.rows(),
                                  .width = widths[i],
                                  .x = x.col_range(at, at + widths[i]).f32(),
                                  .ldx = x.ld(),
                                  .y = parts[i].f32(),
                                  .ldy = widths[i]});
  }
  UM_CHECK(at == x.cols(), "split of {} into {}", x.shape().text(), at);
  if (needs_grad(x)) {
    const std::array<GradSlot*, 3> slots{track(parts[0]), track(parts[1]), track(parts[2])};
    Tape::current()->record(SplitNode{x.rows(), widths, slots, x.slot(), &x.device()});
  }
  return parts;
}

Tensor prepend_rows(const Tensor& head, const Tensor& x, const Ragged& rows) {
  const int64_t cols = x.cols();
  UM_CHECK(rows.sinks > 0 && head.count() == rows.sinks * cols && x.rows() == rows.rows,
           "{} before the rows of {}, {} sinks", head.shape().text(), x.shape().text(), rows.sinks);
  Tensor out = Tensor::empty(x.device(), {rows.sink_rows.count() + x.rows(), cols});
  launch(x.device(), CopyBlocks{.rows = rows.sink_rows.count(),
                                .width = cols,
                                .x = head.f32(),
                                .ldx = cols,
                                .y = out.f32(),
                                .ldy = cols,
                                .rows_x = rows.sink_of.i32(),
                                .rows_y = rows.sink_rows.i32()});
  launch(x.device(), CopyBlocks{.rows = x.rows(),
                                .width = cols,
                                .x = x.f32(),
                                .ldx = x.ld(),
                                .y = out.f32(),
                                .ldy = cols,
                                .rows_y = rows.own_rows.i32()});
  if (needs_grad(head, x))
    Tape::current()->record(PrependNode{head, rows.own_rows, rows.sink_rows, rows.sequences, cols,
                                        track(out), head.slot(), x.slot()});
  return out;
}

}  // namespace um
