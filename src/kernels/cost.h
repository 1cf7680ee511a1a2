// What a kernel call must at least do: the floor that `bench kernels` prints beside each measured
// time, and all that the `dry` device knows about a call.
#pragma once

#include "kernels/kernels.h"

namespace um {

struct Cost {
  double flops = 0;  ///< useful operations: 2 per multiply-add; exp, sqrt, divide count 1
  double bytes = 0;  ///< each input read once, each output written once (accumulated: also read)
};

inline Cost& operator+=(Cost& a, const Cost& b) {
  a.flops += b.flops;
  a.bytes += b.bytes;
  return a;
}

/// The cost of one call, from its shape alone. No data is read, with one exception: attention's
/// offsets, which live on the host; without them its lengths are unknown and its cost is 0 (a mask
/// is not looked at: all keys up to a query's own count). A null
/// optional array is not counted, unless the call's first input is null too: then it is a dry call,
/// where every array is null, and all are counted. Gathered rows count once per slot; a grouped
/// matmul reads the weights of at most `rows` groups; attention's gradient counts its four matmuls,
/// not the recomputed scores.
#define UM_DECLARE_COST(function, Args) Cost cost(const Args& args);
UM_KERNEL_LIST(UM_DECLARE_COST)
#undef UM_DECLARE_COST

}  // namespace um
