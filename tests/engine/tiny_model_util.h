// Small models with random weights for the tests of the engine.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch.h"
#include "models/model.h"

namespace um {

/// The name of a test over presets: the preset's, with `_` for `-`.
std::string preset_test_name(const ::testing::TestParamInfo<std::string>& info);

/// The preset with weights large enough that its logits differ clearly.
std::unique_ptr<Model> random_model(const std::string& preset, uint64_t seed = 1);

/// `count` token ids below `vocab`, always the same.
std::vector<int32_t> random_ids(size_t count, int64_t vocab, uint64_t seed = 1);

/// Whole sequences of these lengths, of random_ids one after the other.
Batch random_batch(const std::vector<size_t>& lengths, int64_t vocab, uint64_t seed = 1);

/// Logits [T, V] of a whole sequence without a cache.
std::vector<float> full_logits(const Model& model, const std::vector<int32_t>& ids);

}  // namespace um
