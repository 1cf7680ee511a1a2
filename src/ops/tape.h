// The tape: while one records, every op appends a plain node (its gradient function and the tensors
// it needs); backward() walks the nodes once, last to first, and frees each as it goes.
//
// Gradients live in slots. A Param owns its slot; the tape owns those of activations. Losses seed
// themselves: a loss op gets its weight in the objective when it is called and puts the gradient of
// its input into that input's slot, so backward() needs no argument and several losses simply add
// up. Tensors that carry an activation's slot must not be used with another tape (detach them
// first).
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace um {

/// Where one tensor's gradient is gathered: the first writer overwrites, later ones accumulate.
struct GradSlot {
  Tensor grad;
  bool written = false;

  /// The next gradient replaces what is here. The memory stays.
  void reset() { written = false; }
};

/// A gradient output for a kernel: null when nobody wants it.
struct GradOut {
  float* data = nullptr;
  bool accumulate = false;
  bool wanted = false;
};

class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape() { clear(); }

  /// While a Recording lives, ops of this thread append to its tape (to none if it was given null).
  class Recording {
   public:
    explicit Recording(Tape* tape) : previous_(std::exchange(current_, tape)) {}
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    ~Recording() { current_ = previous_; }

   private:
    Tape* previous_;
  };

  /// The tape that records on this thread, or null.
  static Tape* current() { return current_; }

  /// A slot for an op's output.
  GradSlot* new_slot() { return &slots_.emplace_back(); }

  /// Appends a node. Op is a struct of saved tensors and slots with `void backward()`.
  template <class Op>
  void record(Op op) {
    static_assert(sizeof(Op) <= kChunk && alignof(Op) <= alignof(std::max_align_t));
    void* place = reserve(sizeof(Op), alignof(Op));
    new (place) Op(std::move(op));
    nodes_.push_back({place, [](void* node) { static_cast<Op*>(node)->backward(); },
                      [](void* node) { static_cast<Op*>(node)->~Op(); }});
  }

  /// Runs every node's gradient, last to first, and empties the tape. Its memory is kept for the
  /// next step.
  void backward();
  /// The walk alone: slots stay until clear(), so that gradients of the tape's inputs can be taken.
  void run_nodes();
  /// Drops all nodes and slots; the memory of nodes is kept.
  void clear();
  size_t node_count() const { return nodes_.size(); }

 private:
  struct Node {
    void* op;
    void (*run)(void*);
    void (*destroy)(void*);
  };
  static constexpr size_t kChunk = size_t{64} << 10;

  void* reserve(size_t bytes, size_t alignment);

  std::vector<Node> nodes_;
  std::deque<GradSlot> slots_;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  size_t chunk_ = 0, used_ = 0;
  static thread_local Tape* current_;
};

/// Whether an op on these inputs must record itself.
template <class... Tensors>
bool needs_grad(const Tensors&... inputs) {
  return Tape::current() != nullptr && ((inputs.slot() != nullptr) || ...);
}

/// Gives `output` a slot of the current tape and returns it.
GradSlot* track(Tensor& output);

/// Takes an output's finished gradient out of its slot; undefined if no gradient reached it.
Tensor take_grad(GradSlot* slot);

/// The gradient buffer of an input shaped like `like`, ready for one writer.
GradOut grad_out(GradSlot* slot, const Tensor& like);

/// Adds a finished gradient to a slot: takes it over when it is the first, else accumulates.
void give_grad(GradSlot* slot, Tensor grad);

/// The same memory without its gradient slot.
Tensor detach(Tensor tensor);

}  // namespace um
