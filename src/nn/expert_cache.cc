// See expert_cache.h.
#include "nn/expert_cache.h"

#include <algorithm>

namespace um {

/// One layer's side: which slot each expert is in, or -1.
class ExpertCache::Layer : public ExpertSlots {
 public:
  Layer(ExpertCache& cache, int64_t index, int64_t experts)
      : cache_(cache), index_(index), slot_of_(static_cast<size_t>(experts), -1) {}
  Fetched fetch(const Tensor& offsets, int64_t begin) override {
    return cache_.fetch(*this, offsets, begin);
  }
  const Tensor& gate_up() const override { return cache_.gate_up_; }
  const Tensor& down() const override { return cache_.down_; }

  int64_t index() const { return index_; }
  int64_t experts() const { return std::ssize(slot_of_); }
  int32_t& slot_of(int64_t expert) { return slot_of_[static_cast<size_t>(expert)]; }

 private:
  ExpertCache& cache_;
  const int64_t index_;
  std::vector<int32_t> slot_of_;
};

ExpertCache::ExpertCache(Device& device, DType dtype, int64_t slots, int64_t hidden, int64_t width)
    : device_(device),
      gate_up_(Tensor::empty(device, {slots, 2 * width, hidden}, dtype)),
      down_(Tensor::empty(device, {slots, hidden, width}, dtype)),
      slots_(static_cast<size_t>(slots)) {
  UM_CHECK(slots > 0, "a cache of {} experts: expected at least one", slots);
  for (int32_t i = 0; i < slots; ++i) place_.push_back(by_use_.insert(by_use_.end(), i));
}

ExpertCache::~ExpertCache() = default;

int64_t ExpertCache::expert_bytes(DType dtype, int64_t hidden, int64_t width) {
  return 3 * hidden * width * static_cast<int64_t>(dtype_size(dtype));
}

ExpertSlots* ExpertCache::add_layer(std::string prefix, int64_t experts) {
  layers_.push_back(std::make_unique<Layer>(*this, std::ssize(layers_), experts));
  prefixes_.push_back(std::move(prefix));
  return layers_.back().get();
}

int64_t ExpertCache::experts(int64_t layer) const {
  return layers_[static_cast<size_t>(layer)]->experts();
}

int32_t ExpertCache::take_oldest(int64_t layer, int64_t expert) {
  const int32_t slot = by_use_.back();
  Slot& held = slots_[static_cast<size_t>(slot)];
  if (held.layer >= 0) layers_[static_cast<size_t>(held.layer)]->slot_of(held.expert) = -1;
  held = {layer, expert};
  return slot;
}

ExpertSlots::Fetched ExpertCache::fetch(Layer& layer, const Tensor& offsets, int64_t begin) {
  const int64_t* first = offsets.i64();
  ExpertSlots::Fetched out;
  std::vector<int64_t> wanted, missing;
  for (out.end = begin; out.end < layer.experts(); ++out.end) {
    if (first[out.end + 1] == first[out.end]) continue;
    if (std::ssize(wanted) == slots()) break;
    wanted.push_back(out.end);
  }
  const auto use = [&](int32_t slot) {
    by_use_.splice(by_use_.begin(), by_use_, place_[static_cast<size_t>(slot)]);
  };
  // Those that are here first: what has to make room then is none of them.
  for (const int64_t expert : wanted) {
    if (layer.slot_of(expert) < 0) {
      missing.push_back(expert);
      continue;
    }
    ++stats_.hits;
    use(layer.slot_of(expert));
  }
  stats_.misses += std::ssize(missing);
  for (const int64_t expert : missing) {
    layer.slot_of(expert) = take_oldest(layer.index(), expert);
    use(layer.slot_of(expert));
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (size_t i = 0; i < missing.size(); ++i) {
    const int64_t slot = layer.slot_of(missing[i]);
    const auto part = [slot](const Tensor& all) {
      const int64_t rows = all.shape()[1];
      return all.reshape({all.rows(), all.cols()}).row_range(slot * rows, (slot + 1) * rows);
    };
    load_(layer.index(), missing[i], part(gate_up_), part(down_));
  }
  std::vector<int32_t> slots(static_cast<size_t>(out.end - begin), 0);
  for (const int64_t expert : wanted)
    slots[static_cast<size_t>(expert - begin)] = layer.slot_of(expert);
  out.slots = Tensor::from(device_, {std::ssize(slots)}, std::span<const int32_t>(slots));
  return out;
}

}  // namespace um
