// What the matrices of a layer are multiplied with: recorded while calibration text runs through
// it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/device.h"
#include "kernels/args.h"
#include "nn/config.h"
#include "nn/module.h"

namespace um {

/// The rows that a matrix reads, in the order in which they came.
class MatrixInputs {
 public:
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  /// Rows [begin, begin + count) into `to`, cols() apart.
  void read(int64_t begin, int64_t count, float* to) const;
  /// Whether both are the same rows of the same products' inputs.
  bool same_rows(const MatrixInputs& other) const;

 private:
  friend class InputRecorder;
  /// f32 rows that may serve several matrices.
  struct Block {
    int64_t rows, cols;
    std::vector<float> values;
  };
  struct Part {
    std::shared_ptr<const Block> block;
    std::vector<int32_t> chosen;  ///< rows of the block; none: all
    int64_t begin;                ///< of these among all rows
    bool operator==(const Part&) const = default;
    int64_t count() const {
      return chosen.empty() ? block->rows : static_cast<int64_t>(chosen.size());
    }
  };
  std::vector<Part> parts_;
  int64_t rows_ = 0, cols_ = 0;
};

/// Channels that the matrices of a layer read of one token, at most.
int64_t input_channels(const ModelConfig& config);

/// Watches a device while a layer runs there.
class InputRecorder : public ProductObserver {
 public:
  /// Only the inputs of these matrices are kept; they have their memory.
  explicit InputRecorder(const std::vector<const Param*>& matrices);

  void see(const Matmul& product) override;
  void see(const GroupedMatmul& product) override;

  /// The rows that a piece of a parameter was multiplied with; null if there were none.
  const MatrixInputs* find(const Param& param, const Piece& piece) const;
  int64_t bytes() const { return bytes_; }

 private:
  using Block = MatrixInputs::Block;
  /// A parameter and the rows of it that a product takes.
  struct Place {
    const Param* param;
    int64_t row;
    auto operator<=>(const Place&) const = default;
  };
  struct Record {
    int64_t end;  ///< behind the last row of the parameter that these are the inputs of
    MatrixInputs inputs;
  };

  const Param* param_of(const RowsView& weights, int64_t& row) const;
  std::shared_ptr<const Block> keep(const RowsView& rows, int64_t count, int64_t cols);
  void add(const Place& place, int64_t end, std::shared_ptr<const Block> block,
           std::vector<int32_t> chosen);

  std::map<const char*, const Param*> begins_;  ///< where parameters begin in memory
  std::map<Place, Record> records_;
  std::vector<std::shared_ptr<const Block>> latest_;  ///< what later products may read again
  int64_t bytes_ = 0;
};

}  // namespace um
