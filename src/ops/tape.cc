// See tape.h.
#include "ops/tape.h"

#include "ops/launch.h"

namespace um {

thread_local Tape* Tape::current_ = nullptr;

void* Tape::reserve(size_t bytes, size_t alignment) {
  used_ = (used_ + alignment - 1) / alignment * alignment;
  if (chunk_ < chunks_.size() && used_ + bytes > kChunk) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) chunks_.push_back(std::make_unique<std::byte[]>(kChunk));
  void* place = chunks_[chunk_].get() + used_;
  used_ += bytes;
  return place;
}

void Tape::backward() {
  run_nodes();
  clear();
}

void Tape::run_nodes() {
  const Recording off(nullptr);
  while (!nodes_.empty()) {
    const Node node = nodes_.back();
    node.run(node.op);
    node.destroy(node.op);
    nodes_.pop_back();
  }
}

void Tape::clear() {
  while (!nodes_.empty()) {
    nodes_.back().destroy(nodes_.back().op);
    nodes_.pop_back();
  }
  slots_.clear();
  chunk_ = used_ = 0;
}

GradSlot* track(Tensor& output) {
  output.set_slot(Tape::current()->new_slot());
  return output.slot();
}

Tensor take_grad(GradSlot* slot) {
  if (slot == nullptr || !slot->written) return {};
  slot->written = false;
  return std::exchange(slot->grad, Tensor());
}

GradOut grad_out(GradSlot* slot, const Tensor& like) {
  if (slot == nullptr) return {};
  if (!slot->grad) slot->grad = Tensor::empty(like.device(), like.shape());
  return {slot->grad.f32(), std::exchange(slot->written, true), true};
}

void give_grad(GradSlot* slot, Tensor grad) {
  if (slot == nullptr) return;
  if (!slot->written && !slot->grad) {
    slot->grad = std::move(grad);
    slot->written = true;
    return;
  }
  const GradOut sum = grad_out(slot, grad);
  UM_CHECK(sum.accumulate, "a gradient was given to a slot that holds unused memory");
  launch(grad.device(), Add{.count = grad.count(), .a = sum.data, .b = grad.f32(), .y = sum.data});
}

Tensor detach(Tensor tensor) {
  tensor.set_slot(nullptr);
  return tensor;
}

}  // namespace um
