// A checkpoint run layer by layer over many sequences, and back with the gradients of its loss,
// with the matrices of one layer in memory at a time: how models are measured that are larger than
// memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/device_batch.h"
#include "models/weights.h"

namespace um {

/// The N of "model.layers.N.…", or -1.
int64_t layer_of(std::string_view name);

class LayerWalk {
 public:
  /// Loads what is no matrix of a layer. Throws Error naming a tensor that is missing. What enters
  /// the next layer is kept for all batches: f32 [T, D], of several streams [T, S*D].
  /// With `back`, what enters each layer of the trunk is kept, so that turn() can be called.
  LayerWalk(const ModelConfig& config, const WeightSource& source, Device& device,
            std::vector<Batch> batches, bool back = false);
  LayerWalk(const LayerWalk&) = delete;

  /// Layers of the trunk, with the MTP heads behind them.
  int64_t layers() const;
  /// The matrices of a layer, whether loaded or not.
  std::vector<const Param*> matrices(int64_t layer) const;
  int64_t trunk_layers() const { return model_->trunk_layers(); }
  /// Loads the next layer in f32; on the way back it trains. `from`: where its tensors are read
  /// instead of in the checkpoint.
  void load(const WeightSource* from = nullptr);
  /// Runs all batches through it and forgets what comes out: it can be run again.
  void look();
  /// Runs all batches through it, on the way back with its gradients.
  void run();
  /// Forgets its matrices.
  void unload();
  /// The same; the one behind it is the next, on the way back the one before it.
  void release();
  /// Once the trunk has run: takes the gradients of the sum of all targets' losses (cross-entropy
  /// of the trunk's predictions), and turns back to the trunk's last layer. Returns the number of
  /// targets.
  int64_t turn();
  size_t batches() const { return batches_.size(); }
  /// Once the trunk has run: its output, [T, D] (Model::trunk's).
  Tensor output(size_t batch) const { return model_->leave(states_[batch]).hidden; }

  /// Bytes of the largest layer's matrices, with the embedding where it is needed with one.
  static int64_t largest_layer_bytes(const ModelConfig& config);

 private:
  void set_memory(int64_t layer, const WeightSource* from);
  void run_batch(size_t batch, bool keep);
  void run_batch_back(size_t batch);
  Tensor run_mtp(size_t batch, int64_t head);

  WeightSource source_;
  std::unique_ptr<Model> model_;
  const std::vector<Batch> host_;
  std::vector<DeviceBatch> batches_;  ///< of `host_`
  std::vector<TrunkState> states_;    ///< of batches, in the trunk
  std::vector<Tensor> mtp_states_;    ///< of batches, what the next MTP head reads
  bool keep_ = false, back_ = false;
  std::vector<std::vector<TrunkState>> entered_;  ///< by layer of the trunk and batch
  std::vector<std::vector<Tensor>> gradients_;    ///< of batches, of the tensors of a state
  int64_t layer_ = 0;
};

}  // namespace um
