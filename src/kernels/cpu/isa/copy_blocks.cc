// The reference is memcpy already: here the threads share its rows.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void copy_blocks(const CopyBlocks& args) {
  parallel_for(args.rows, args.rows * args.blocks * args.width, [&](int64_t begin, int64_t end) {
    CopyBlocks part = args;
    part.rows = end - begin;
    if (args.rows_x) {
      part.rows_x += begin;
    } else {
      part.x += begin * args.ldx;
    }
    if (args.rows_y) {
      part.rows_y += begin;
    } else {
      part.y += begin * args.ldy;
    }
    ref::copy_blocks(part);
  });
}

}  // namespace um::UM_ISA
