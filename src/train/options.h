// Everything that describes a training run: one list of fields gives run.toml, flags and --help.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/fields.h"

namespace um {

/// A stretch of training with its own batch, length, rate and RoPE base (long-context phases raise
/// the base step by step: docs/training.md). 0 takes the value of [train].
struct PhaseOptions {
  int64_t steps = 0;
  int64_t batch = 0, seq_len = 0;
  double lr = 0, final_lr = 0;
  std::string schedule = "constant";
  double rope_theta = 0;

  void fields(Fields& f);
};

struct ModelOptions {
  std::string preset = "tiny-ultra";
  std::string from;              ///< checkpoint to start from instead of random weights
  std::vector<std::string> set;  ///< "field=value" changes to the preset's config.json
  int64_t seed = 1;

  void fields(Fields& f);
};

struct DataOptions {
  std::vector<std::string> path;
  std::vector<double> weights;
  int64_t seed = 1;

  void fields(Fields& f);
};

/// What supervised fine-tuning reads, in place of DataOptions.
struct ChatDataOptions {
  std::vector<std::string> path, valid;
  std::vector<double> weights;
  double epochs = 1;
  double hold_out = 0.02;
  std::string answers = "all";
  std::string on_bad = "stop", too_long = "skip";
  std::string chat_template;
  int64_t seed = 1;

  void fields(Fields& f);
};

/// What reinforcement learning with verifiable rewards reads and does, in place of DataOptions.
struct GrpoOptions {
  std::vector<std::string> path;
  std::string mode = "default";
  int64_t prompts = 8, group = 8, updates = 1;
  int64_t max_tokens = 256;
  std::string loss = "dapo", scale = "group";
  double clip_low = 0.2, clip_high = 0.28;
  std::vector<std::string> rewards = {"right=1"};
  int64_t overlong = 0;
  bool mine = true;
  int64_t stage = 50, max_waves = 10;
  int64_t seed = 1;

  void fields(Fields& f);
};

struct TrainOptions {
  int64_t steps = 1000;
  double minutes = 0;
  int64_t batch = 8, seq_len = 256, accumulate = 1;
  double lr = 3e-3, final_lr = 3e-4;
  std::string schedule = "cosine";
  int64_t warmup = 50;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1, clip = 1.0;
  double mtp_weight = 0.3, z_weight = 0;
  std::string balance = "ep_group";
  double balance_weight = 0.01, bias_rate = 1e-3;
  std::string precision = "f32";
  bool recompute = false;
  std::string freeze = "none";
  double rope_theta = 0;
  std::string on_nan = "stop";
  int64_t max_skips = 20;
  std::vector<PhaseOptions> phases;

  void fields(Fields& f);
};

struct LogOptions {
  int64_t eval_every = 100, eval_batches = 8;
  int64_t sample_every = 250, sample_tokens = 48;
  std::vector<std::string> sample_prompts;
  int64_t checkpoint_every = 200, keep = 2;
  double report_seconds = 15;
  int64_t rms_every = 20;
  bool tensorboard = true;

  void fields(Fields& f);
};

struct RunOptions {
  ModelOptions model;
  DataOptions data;
  std::optional<ChatDataOptions> chat = {};  ///< of supervised fine-tuning, in place of `data`
  std::optional<GrpoOptions> grpo = {};      ///< of reinforcement learning, in place of `data`
  TrainOptions train;
  LogOptions log;

  void fields(Fields& f);
};

}  // namespace um
