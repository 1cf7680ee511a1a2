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
    std::vector<bool> wanted;
    for (const Tensor& input : inputs) wanted.push_back(input.slot() != nullptr);
    std::vector<Tensor> grads = run_back(block, inputs, wanted, std::move(output_grads));
    for (size_t i = 0; i < inputs.size(); ++i)
      if (grads[i]) give_grad(inputs[i].slot(), std::move(grads[i]));
  }
};

}  // namespace

std::vector<Tensor> run_back(const Block& block, std::vector<Tensor> inputs,
                             const std::vector<bool>& wanted, std::vector<Tensor> output_grads) {
  Tape tape;
  std::vector<GradSlot*> slots;
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs[i].set_slot(wanted[i] ? tape.new_slot() : nullptr);
    slots.push_back(inputs[i].slot());
  }
  std::vector<Tensor> outputs;
  {
    const Tape::Recording recording(&tape);
    outputs = block(inputs);
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (output_grads[i]) give_grad(outputs[i].slot(), std::move(output_grads[i]));
  outputs.clear();
  tape.run_nodes();
  std::vector<Tensor> grads;
  for (GradSlot* slot : slots) grads.push_back(take_grad(slot));
  return grads;
}

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
