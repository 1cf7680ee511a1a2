// Parts of a config.json that several architectures share: readers and writers of attention, rotary
// positions and experts, for the architecture files. Fields that ask for what we cannot run are
// refused by name.
#pragma once

#include <initializer_list>
#include <vector>

#include "core/json.h"
#include "nn/config.h"

namespace um::fields {

// Limits of a sane model: several times the largest published, and small enough that products of
// three of them cannot overflow.
inline constexpr int64_t kMaxWidth = int64_t{1} << 20;
inline constexpr int64_t kMaxVocab = int64_t{1} << 24;
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxMtpLayers = 64;
inline constexpr int64_t kMaxHeads = int64_t{1} << 14;
inline constexpr int64_t kMaxHeadDim = 4096;
inline constexpr int64_t kMaxExperts = int64_t{1} << 16, kMaxExpertsOfAll = int64_t{1} << 18;
inline constexpr int64_t kMaxPositions = int64_t{1} << 30;
inline constexpr double kMaxTheta = 1e15;

/// Spellings of one field, the one that we write first.
using Keys = std::initializer_list<const char*>;

/// The spelling that the config uses; the first if it uses none. Two that disagree are an error.
std::string spelling(const JsonObject& config, Keys keys);
int64_t integer(const JsonObject& config, Keys keys, int64_t min, int64_t max);
int64_t integer_or(const JsonObject& config, Keys keys, int64_t fallback, int64_t min, int64_t max);
/// A field whose other values ask for something that we cannot run.
void only(const JsonObject& config, const char* key, const Json& supported);

/// The ids in `eos_token_id`: one, a list of them, or none.
std::vector<int64_t> read_eos(const JsonObject& config, int64_t vocab);

/// What a family says where its configs say nothing.
struct Defaults {
  double norm_eps = 1e-6;
  InitRule init = InitRule::normal;
};
/// What every family has: sizes, norms, ids, initialisation, dtype.
ModelConfig common(const JsonObject& config, Family family, const Defaults& defaults = {});

/// rope_theta and the scaling, in the spelling of transformers 4 or 5.
void read_rope(const JsonObject& config, double theta, AttentionConfig& attention);
void write_rope(const AttentionConfig& attention, Json& out);

/// Multi-head latent attention with interleaved rotary pairs unless `rope_interleave` is false.
AttentionConfig read_mla(const JsonObject& config, double theta);
void write_mla(const AttentionConfig& attention, Json& out);

/// Grouped-query attention; `bias`: q, k, v and o have one unless `attention_bias` or `bias` says
/// otherwise.
AttentionConfig read_gqa(const JsonObject& config, int64_t hidden, double theta, bool bias);

/// Dense layers only.
void read_dense_layers(const JsonObject& config, ModelConfig& to);

/// Leading dense layers, MTP layers, and experts in DeepSeek's fields or Pangu's older ones, with
/// no groups and no correction bias.
void read_deepseek_layers(const JsonObject& config, ModelConfig& to);
void write_deepseek_layers(const ModelConfig& config, Json& out);

/// The same and what Pangu's families with a sigmoid router add: norms around the sub-layers
/// (`sandwich`: whether there are any if the config is silent) and how routed weights are made
/// (`scaling`: their factor then).
void read_pangu_layers(const JsonObject& config, bool sandwich, double scaling, ModelConfig& to);
void write_pangu_layers(const ModelConfig& config, Json& out);

}  // namespace um::fields
