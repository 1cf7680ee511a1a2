// Param and ParamStore: the named weights of a model. Modules create their parameters in a store
// and keep pointers to them; forward is an ordinary method.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ops/rows.h"
#include "ops/tape.h"

namespace um {

/// A tensor of a checkpoint as it lies inside a parameter: as many elements as `shape` has, from
/// the parameter's row `row` on. We keep matrices that are used together in one parameter (gate and
/// up; all experts); files keep them apart.
struct Piece {
  std::string name;
  int64_t row = 0;
  Shape shape;

  /// The first of its elements in `value`, the parameter's or one shaped like it.
  int64_t begin(const Tensor& value) const { return row * value.cols(); }
};

/// How a parameter starts: N(mean, std²).
struct Init {
  double mean = 0;
  double std = 0;
};

/// One weight: value, gradient slot, initialiser, how it is stored, whether it decays and trains.
struct Param {
  std::string name;
  Shape shape;
  RowFormat format;
  Tensor value;  ///< f32 or bf16; carries the slot, so that ops record its gradient
  Rows codes;    ///< in place of `value`: a matrix in integers
  GradSlot slot;
  Init init;
  std::vector<Piece> pieces;
  bool decay = true;      ///< weight decay applies (matrices, not gains and biases)
  bool trainable = true;  ///< false: frozen, or a buffer
  bool buffer = false;    ///< never trained by gradient, always stored as f32 (router bias)

  /// A matrix as ops take it.
  Rows weight() const { return codes ? codes : Rows(value); }
  /// Stops or restarts gradients to this parameter. Throws Error for one that is not f32.
  void set_trainable(bool on);
  /// Gives it memory, contents unspecified; or parts that are there; takes it away.
  void allocate(Device& device);
  void place(const RowPart& part);
  void release();
};

/// The value of a parameter that a module may not have: undefined without one.
inline Tensor value_of(const Param* param) {
  return param == nullptr ? Tensor() : param->value;
}

class ExpertCache;

/// The formats that a model's matrices are kept in.
struct WeightTypes {
  RowFormat matrices = kF32Rows;
  std::map<std::string, RowFormat, std::less<>> others = {};  ///< of parameters, by name

  WeightTypes(RowFormat matrices = kF32Rows) : matrices(matrices) {}
  WeightTypes(DType matrices) : matrices(weight_format(matrices)) {}
  RowFormat of(std::string_view param) const;
  bool operator==(const WeightTypes&) const = default;
};

/// Which parameters have memory from the start: all, or only vectors. Of a model that never has
/// all of its layers in memory, matrices come and go (models/layer_walk.h).
enum class ParamMemory { all, vectors };

class ParamStore {
 public:
  /// Matrices are kept in `weights`: f32, or for a model that only runs (its parameters do not
  /// train) bf16 or panels of integers. Gains, biases and routers are f32 always.
  explicit ParamStore(Device& device, WeightTypes weights = {},
                      ParamMemory memory = ParamMemory::all);
  ~ParamStore();
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  /// Routed experts of modules made from now on live in `cache` and are no parameters.
  void set_expert_cache(std::unique_ptr<ExpertCache> cache);
  ExpertCache* expert_cache() const { return expert_cache_.get(); }

  Device& device() const { return *device_; }
  const WeightTypes& weights() const { return weights_; }

  /// A parameter in f32, stored under its own name.
  Param* add(const std::string& name, Shape shape, Init init, bool decay);
  /// A matrix [out, in] in the weights' type: decays.
  Param* matrix(const std::string& name, int64_t out, int64_t in, double std);
  /// The same for one that is also multiplied from its other side, where scales per row are of no
  /// use: bf16 in place of integers.
  Param* two_sided_matrix(const std::string& name, int64_t out, int64_t in, double std);
  /// A gain or bias [n]: does not decay.
  Param* vector(const std::string& name, int64_t n, double mean);
  /// One parameter made of several stored tensors of the given shapes, one after the other; in the
  /// weights' type unless it is a vector.
  Param* stacked(const std::string& name, Shape shape, std::vector<Piece> pieces, Init init);
  /// A buffer of zeros: stored, never trained by gradient.
  Param* buffer(const std::string& name, int64_t n);

  const std::vector<std::unique_ptr<Param>>& all() const { return params_; }
  Param* find(std::string_view name) const;
  int64_t count() const;  ///< elements of all parameters
  int64_t bytes() const;  ///< memory that they take

  /// Draws every value from its initialiser: the same for the same seed, whatever the thread count.
  void initialize(uint64_t seed);
  /// The next gradients replace the present ones.
  void reset_grads();

 private:
  Param* create(const std::string& name, Shape shape, std::vector<Piece> pieces, Init init,
                RowFormat format);

  Device* device_;
  WeightTypes weights_;
  ParamMemory memory_;
  std::vector<std::unique_ptr<Param>> params_;
  std::unique_ptr<ExpertCache> expert_cache_;
};

}  // namespace um
