// See recompute.h.
#include "ops/recompute.h"

#include "ops/tape.h"

namespace um {
namespace {

struct RecomputeNode {
  Block block;
  std::vector<Tensor> inputs;  ///< with the outer tape's slots
  std::vector<GradSlot*> output_slots;

  void backward() {
    std::vector<Tensor> output_grads;
    for (GradSlot* slot : output_slots) output_grads.push_back(take_grad(slot));
    Tape inner;
    std::vector<Tensor> inner_inputs = inputs;
    for (Tensor& input : inner_inputs)
      if (input.slot() != nullptr) input.set_slot(inner.new_slot());
    std::vector<Tensor> outputs;
    {
      const Tape::Recording recording(&inner);
      outputs = block(inner_inputs);
    }
    for (size_t i = 0; i < outputs.size(); ++i)
      if (output_grads[i]) give_grad(outputs[i].slot(), std::move(output_grads[i]));
    std::vector<GradSlot*> inner_slots;
    inner_slots.reserve(inner_inputs.size());
    for (const Tensor& input : inner_inputs) inner_slots.push_back(input.slot());
    outputs.clear();
    inner.run_nodes();
    for (size_t i = 0; i < inputs.size(); ++i)
      if (Tensor grad = take_grad(inner_slots[i])) give_grad(inputs[i].slot(), std::move(grad));
  }
};

}  // namespace

std::vector<Tensor> recompute(const Block& block, const std::vector<Tensor>& inputs) {
  if (Tape::current() == nullptr) return block(inputs);
  std::vector<Tensor> outputs;
  {
    const Tape::Recording off(nullptr);
    outputs = block(inputs);
  }
  RecomputeNode node{block, inputs, {}};
  for (Tensor& output : outputs) node.output_slots.push_back(track(output));
  Tape::current()->record(std::move(node));
  return outputs;
}

}  // namespace um
