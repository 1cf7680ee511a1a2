// See expert_cache.h.
#include "nn/expert_cache.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace um {

/// One layer's slots, from `index * share` on, and what is in them.
class ExpertCache::Layer : public ExpertSlots {
 public:
  Layer(ExpertCache& cache, int64_t index, int64_t experts)
      : cache_(cache), index_(index), slot_of_(static_cast<size_t>(experts), -1) {}
  Fetched fetch(const Tensor& offsets, int64_t begin) override;
  const Rows& gate_up() const override { return cache_.gate_up_; }
  const Rows& down() const override { return cache_.down_; }
  int64_t experts() const { return std::ssize(slot_of_); }

 private:
  struct Slot {
    int64_t expert = -1;
    int64_t used = 0;  // when
  };
  void open();
  int64_t first_slot() const { return index_ * (cache_.slots() / std::ssize(cache_.layers_)); }
  void touch(int64_t expert) { held_[static_cast<size_t>(slot_of(expert))].used = ++now_; }
  int32_t& slot_of(int64_t expert) { return slot_of_[static_cast<size_t>(expert)]; }
  void place(int64_t expert);
  void load(const std::vector<int64_t>& experts);
  void forget(const std::vector<int64_t>& experts);

  ExpertCache& cache_;
  const int64_t index_;
  std::vector<Slot> held_;
  std::vector<int32_t> slot_of_;  // within the layer's share; -1: on disk
  int64_t now_ = 0;
};

/// The layer's share of the slots is known when all layers are.
void ExpertCache::Layer::open() {
  if (!held_.empty()) return;
  const int64_t share = cache_.slots() / std::ssize(cache_.layers_);
  UM_CHECK(share > 0, "room for {} experts in {} layers: expected at least one each",
           cache_.slots(), cache_.layers_.size());
  held_.resize(static_cast<size_t>(std::min(share, experts())));
}

/// Gives the expert the slot that was longest unused.
void ExpertCache::Layer::place(int64_t expert) {
  const auto oldest = std::ranges::min_element(held_, {}, &Slot::used);
  if (oldest->expert >= 0) slot_of(oldest->expert) = -1;
  oldest->expert = expert;
  slot_of(expert) = static_cast<int32_t>(oldest - held_.begin());
  touch(expert);
}

void ExpertCache::Layer::load(const std::vector<int64_t>& experts) {
  const int64_t first = first_slot();
  std::exception_ptr fault;
#pragma omp parallel for schedule(dynamic, 1)
  for (size_t i = 0; i < experts.size(); ++i) {
    const int64_t slot = first + slot_of(experts[i]);
    const auto part = [&](const Rows& all) {
      const int64_t rows = all.rows() / cache_.slots_;
      return all.row_range(slot * rows, (slot + 1) * rows);
    };
    try {
      cache_.load_(index_, experts[i], part(cache_.gate_up_), part(cache_.down_));
    } catch (...) {
#pragma omp critical
      fault = std::current_exception();
    }
  }
  if (!fault) return;
  forget(experts);
  std::rethrow_exception(fault);
}

/// Their slots have nothing in them.
void ExpertCache::Layer::forget(const std::vector<int64_t>& experts) {
  for (const int64_t expert : experts)
    held_[static_cast<size_t>(std::exchange(slot_of(expert), -1))] = {};
}

ExpertSlots::Fetched ExpertCache::Layer::fetch(const Tensor& offsets, int64_t begin) {
  open();
  const int64_t* first = offsets.i64();
  Fetched out;
  std::vector<int64_t> wanted, missing;
  for (out.end = begin; out.end < experts(); ++out.end) {
    if (first[out.end + 1] == first[out.end]) continue;
    if (wanted.size() == held_.size()) break;
    wanted.push_back(out.end);
  }
  // Those that are here first: what has to make room then is none of them.
  for (const int64_t expert : wanted) {
    if (slot_of(expert) < 0)
      missing.push_back(expert);
    else
      touch(expert);
  }
  for (const int64_t expert : missing) place(expert);
  load(missing);
  cache_.stats_.hits += std::ssize(wanted) - std::ssize(missing);
  cache_.stats_.misses += std::ssize(missing);

  const auto base = static_cast<int32_t>(first_slot());
  std::vector<int32_t> slots(static_cast<size_t>(out.end - begin), base);
  for (const int64_t expert : wanted)
    slots[static_cast<size_t>(expert - begin)] = base + slot_of(expert);
  out.slots = Tensor::from(cache_.device_, {std::ssize(slots)}, std::span<const int32_t>(slots));
  return out;
}

ExpertCache::ExpertCache(Device& device, RowFormat format, int64_t slots, int64_t hidden,
                         int64_t width)
    : device_(device),
      slots_(slots),
      gate_up_(Rows::empty(device, {slots, 2 * width, hidden}, format, width)),
      down_(Rows::empty(device, {slots, hidden, width}, format, hidden)) {
  UM_CHECK(slots > 0, "a cache of {} experts: expected at least one", slots);
}

ExpertCache::~ExpertCache() = default;

int64_t ExpertCache::expert_bytes(RowFormat format, int64_t hidden, int64_t width) {
  const auto rows = [&](int64_t count) { return format.is_panels() ? panel_rows(count) : count; };
  return 2 * rows(width) * format.row_bytes(hidden) + rows(hidden) * format.row_bytes(width);
}

ExpertSlots* ExpertCache::add_layer(std::string prefix, int64_t experts) {
  layers_.push_back(std::make_unique<Layer>(*this, std::ssize(layers_), experts));
  prefixes_.push_back(std::move(prefix));
  return layers_.back().get();
}

int64_t ExpertCache::experts(int64_t layer) const {
  return layers_[static_cast<size_t>(layer)]->experts();
}

}  // namespace um
