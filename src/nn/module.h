// Param and ParamStore: the named weights of a model. Modules create their parameters in a store
// and keep pointers to them; forward is an ordinary method.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "ops/tape.h"

namespace um {

/// A tensor of a checkpoint as it lies inside a parameter: `shape.count()` elements from `begin`
/// on. We keep matrices that are used together in one parameter (gate and up; all experts); files
/// keep them apart.
struct Piece {
  std::string name;
  int64_t begin = 0;
  Shape shape;
};

/// How a parameter starts: N(mean, std²).
struct Init {
  double mean = 0;
  double std = 0;
};

/// One weight: value, gradient slot, initialiser, how it is stored, whether it decays and trains.
struct Param {
  std::string name;
  Tensor value;  ///< carries the slot, so that ops record its gradient
  GradSlot slot;
  Init init;
  std::vector<Piece> pieces;
  bool decay = true;      ///< weight decay applies (matrices, not gains and biases)
  bool trainable = true;  ///< false: frozen, or a buffer
  bool buffer = false;    ///< never trained by gradient, always stored as f32 (router bias)

  /// Stops or restarts gradients to this parameter.
  void set_trainable(bool on);
};

/// The value of a parameter that a module may not have: undefined without one.
inline Tensor value_of(const Param* param) {
  return param == nullptr ? Tensor() : param->value;
}

class ParamStore {
 public:
  explicit ParamStore(Device& device) : device_(&device) {}
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  Device& device() const { return *device_; }

  /// A parameter stored under its own name.
  Param* add(const std::string& name, Shape shape, Init init, bool decay);
  /// A matrix [out, in]: decays.
  Param* matrix(const std::string& name, int64_t out, int64_t in, double std);
  /// A gain or bias [n]: does not decay.
  Param* vector(const std::string& name, int64_t n, double mean);
  /// One parameter made of several stored tensors of the given shapes, one after the other.
  Param* stacked(const std::string& name, Shape shape, std::vector<Piece> pieces, Init init);
  /// A buffer of zeros: stored, never trained by gradient.
  Param* buffer(const std::string& name, int64_t n);

  const std::vector<std::unique_ptr<Param>>& all() const { return params_; }
  Param* find(std::string_view name) const;
  int64_t count() const;  ///< elements of all parameters

  /// Draws every value from its initialiser: the same for the same seed, whatever the thread count.
  void initialize(uint64_t seed);
  /// The next gradients replace the present ones.
  void reset_grads();

 private:
  Device* device_;
  std::vector<std::unique_ptr<Param>> params_;
};

}  // namespace um
