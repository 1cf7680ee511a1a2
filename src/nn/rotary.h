// Rotary positions as a config asks for them: frequencies, with context extension (linear
// interpolation, Llama 3's, YaRN), and what the extension does to the attention scores.
#pragma once

#include <vector>

#include "nn/config.h"

namespace um {

/// The angle per position of each of the qk_rope_dim/2 pairs of channels: theta^(-2i/d), changed by
/// the scaling. linear: Chen et al. 2023, arXiv 2306.15595; llama3: Llama 3.1 (arXiv 2407.21783);
/// yarn: arXiv 2309.00071.
std::vector<double> rope_frequencies(const AttentionConfig& config);

/// The factor on all cosines and sines (1 but for YaRN).
double rope_amplitude(const AttentionConfig& config);

/// The factor on the scores <q, k>: 1/sqrt(head), times the square of YaRN's mscale where
/// mscale_all_dim is given (DeepSeek-V2 and V3).
double attention_scale(const AttentionConfig& config);

}  // namespace um
