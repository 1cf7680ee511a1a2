// ExpertCache: the routed experts of a model that does not fit in memory. They stay in the files;
// those in use lately are in slots of memory, an equal share of them for every layer, where the one
// longest unused goes first (LRU). (One LRU over all layers would forget each layer's experts while
// the others run.)
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/expert_slots.h"

namespace um {

class ExpertCache {
 public:
  /// Reads an expert of an MoE layer: gate_up [2F, D] and down [D, F], in the cache's format. May
  /// throw; called by several threads.
  using Load =
      std::function<void(int64_t layer, int64_t expert, const Rows& gate_up, const Rows& down)>;
  struct Stats {
    int64_t hits = 0, misses = 0;  ///< of experts that a forward wanted, one per layer and forward
  };

  /// Room for `slots` experts of `width` channels over states of `hidden`, in a format of weights.
  ExpertCache(Device& device, RowFormat format, int64_t slots, int64_t hidden, int64_t width);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;

  /// Bytes of one expert.
  static int64_t expert_bytes(RowFormat format, int64_t hidden, int64_t width);

  /// For modules, before the first forward: a layer of `experts` experts whose tensors' names begin
  /// with `prefix`
  /// ("model.layers.3.mlp.experts."). Valid as long as this cache. There must be a slot for each
  /// layer: fetch() throws Error otherwise.
  ExpertSlots* add_layer(std::string prefix, int64_t experts);
  /// The prefixes of the layers, in order.
  const std::vector<std::string>& layers() const { return prefixes_; }
  int64_t experts(int64_t layer) const;

  /// Must be set before the first forward.
  void set_load(Load load) { load_ = std::move(load); }
  Stats stats() const { return stats_; }
  int64_t slots() const { return slots_; }
  RowFormat format() const { return gate_up_.format; }

 private:
  class Layer;

  Device& device_;
  int64_t slots_;
  Rows gate_up_, down_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::string> prefixes_;
  Load load_;
  Stats stats_;
};

}  // namespace um
