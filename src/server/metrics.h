// The server's own counters and histograms, and all metrics as Prometheus text under the names that
// vLLM's dashboards know.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace um {

/// Counts of values by upper bound.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void add(double value, int64_t times = 1);
  /// The lines of metric `name` with `labels` ("model_name=\"x\"").
  void write(std::string& out, const std::string& name, const std::string& help,
             const std::string& labels) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;  // one more than bounds: the rest
  double sum_ = 0;
  int64_t count_ = 0;
};

class ServerMetrics {
 public:
  ServerMetrics();
  /// Tokens came: the first ones after `seconds` since the request came, or later ones so long
  /// after those before.
  void first_token(double seconds);
  void next_tokens(double seconds, int64_t tokens);
  void finished(FinishReason reason, const RequestStats& stats, double seconds);
  void http_response(int status);
  std::string text(const EngineStats& engine, const std::string& model) const;

 private:
  mutable std::mutex mutex_;
  Histogram first_token_, inter_token_, end_to_end_, queue_, prefill_, decode_, inference_;
  Histogram prompt_length_, answer_length_;
  std::array<int64_t, 4> success_{};    // stop, length, abort, error
  std::array<int64_t, 6> responses_{};  // by the status' first digit
};

}  // namespace um
