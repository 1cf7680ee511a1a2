// Embedding look-up and its gradient. The gradient is split by columns, so that each element is
// summed by one thread in the order of the tokens.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

namespace {

/// A row of a table in panels.
void copy_panel_row(const RowsView& table, int64_t row, int64_t cols, float* y) {
  row = panel_row(row, table.unit);
  const RowFormat format = table.format;
  const int64_t in_panel = row % kPanelRows;
  const uint8_t* codes = table.codes() + (row - in_panel) * table.row_bytes;
  const auto number = [&](const void* numbers, int64_t group) {
    const char* panel = static_cast<const char*>(numbers) +
                        (row - in_panel) * table.scale_stride * format.scale_bytes();
    const auto half = [&](int64_t element) {
      const char* halves = panel + element * kPanelRows;
      return _cvtsh_ss(reinterpret_cast<const uint16_t*>(halves)[in_panel]);
    };
    if (format.scale_type == ScaleType::f32)
      return reinterpret_cast<const float*>(panel)[group * kPanelRows + in_panel];
    if (format.scale_type == ScaleType::f16) return half(2 * group);
    const char* codes = panel + format.coded_number(group) * kPanelRows;
    return half(format.coded_unit(group)) *
           static_cast<float>(static_cast<int8_t>(codes[in_panel]));
  };
  for (int64_t begin = 0, group = 0; begin < cols; begin += format.group, ++group) {
    const float scale = number(table.scales, group);
    const float offset = format.offsets ? number(table.offsets, group) : 0.0f;
    const int64_t end = cols - begin < format.group ? cols : begin + format.group;
    for (int64_t c = begin; c < end; ++c) {
      const auto q =
          static_cast<float>(panel_code(format.type, codes, in_panel, c) - format.middle());
      y[c] = format.offsets ? q * scale + offset : q * scale;
    }
  }
}

void copy_row(const RowsView& table, int64_t id, int64_t cols, float* y) {
  if (table.format.is_panels()) return copy_panel_row(table, id, cols, y);
  const RowsView row = table.from_row(id);
  if (row.type() == RowType::f32) {
    std::memcpy(y, row.values, static_cast<size_t>(cols) * sizeof(float));
    return;
  }
  const uint16_t* values = row.bf16();
  int64_t i = 0;
  for (; i + kWidth <= cols; i += kWidth) store(y + i, load(values + i));
  store_part(y + i, load_part(values + i, cols - i), cols - i);
}

}  // namespace

void embedding(const Embedding& a) {
  const auto bytes = static_cast<size_t>(a.cols) * sizeof(float);
  parallel_for(a.tokens, 2 * a.tokens * a.cols, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* y = a.y + t * a.cols;
      const int64_t id = a.ids[t];
      if (id < 0 || id >= a.vocab) {
        std::memset(y, 0, bytes);
      } else {
        copy_row(a.table, id, a.cols, y);
      }
    }
  });
}

void embedding_grad(const EmbeddingGrad& a) {
  if (!a.accumulate) {
    const int64_t count = a.vocab * a.cols;
    parallel_for(
        count, count,
        [&](int64_t begin, int64_t end) {
          std::memset(a.dtable + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
        },
        1024);
  }
  parallel_for(
      a.cols, 3 * a.tokens * a.cols,
      [&](int64_t begin, int64_t end) {
        for (int64_t t = 0; t < a.tokens; ++t) {
          const int64_t id = a.ids[t];
          if (id < 0 || id >= a.vocab) continue;
          float* to = a.dtable + id * a.cols + begin;
          const float* dy = a.dy + t * a.cols + begin;
          for_vectors(end - begin,
                      [&](int64_t i, int64_t n) { put_n(to + i, load_n(dy + i, n), n, true); });
        }
      },
      16);
}

}  // namespace um::UM_ISA
