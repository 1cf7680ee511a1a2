// A sink that keeps what an engine gives, and requests for tests of the engine.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace um {

/// Gathers what a request gave.
struct Collector : RequestSink {
  size_t on_tokens(std::span<const TokenOutput> outputs) override {
    size_t kept = 0;
    for (const TokenOutput& output : outputs) {
      if (std::ssize(tokens) == keep) break;
      tokens.push_back(output.id);
      all.push_back(output);
      ++kept;
    }
    return kept;
  }
  void on_finish(FinishReason why, const RequestStats& s, std::string_view message) override {
    EXPECT_FALSE(finished) << "on_finish twice";
    finished = true;
    reason = why;
    stats = s;
    error = message;
  }
  int64_t keep = -1;
  std::vector<int32_t> tokens;
  std::vector<TokenOutput> all;
  bool finished = false;
  FinishReason reason = FinishReason::error;
  RequestStats stats;
  std::string error;
};

/// Greedy unless there is a temperature.
inline EngineRequest request_for(std::vector<int32_t> prompt, int64_t tokens,
                                 double temperature = 0) {
  return {.prompt = std::move(prompt),
          .sampling = {.temperature = temperature},
          .seed = 7,
          .max_tokens = tokens};
}

/// Runs all requests at once on a new engine; the engine's counters come back in `stats`.
inline std::vector<Collector> run(const Model& model, const EngineOptions& options,
                                  const std::vector<EngineRequest>& requests,
                                  EngineStats* stats = nullptr) {
  Engine engine(model, options);
  std::vector<std::shared_ptr<Collector>> sinks;
  for (const EngineRequest& request : requests) {
    sinks.push_back(std::make_shared<Collector>());
    engine.submit(request, sinks.back());
  }
  engine.run_until_idle();
  std::vector<Collector> out;
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink->finished);
    EXPECT_EQ(sink->error, "");
    out.push_back(*sink);
  }
  if (stats != nullptr) *stats = engine.stats();
  return out;
}

}  // namespace um
