// What rows in any format stand for.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/kernels.h"
#include "ops/rows.h"

namespace um {

/// All values of `rows`, row after row, as a kernel table reads them.
inline std::vector<float> values_of(const Rows& rows, const Kernels& table = ref::kTable) {
  std::vector<int32_t> ids(static_cast<size_t>(rows.rows()));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<float> values(static_cast<size_t>(rows.rows() * rows.cols()));
  table.embedding({.tokens = rows.rows(),
                   .cols = rows.cols(),
                   .vocab = rows.rows(),
                   .ids = ids.data(),
                   .table = rows.view(),
                   .y = values.data()});
  return values;
}

}  // namespace um
