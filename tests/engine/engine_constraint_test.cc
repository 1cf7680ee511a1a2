// Constraints inside the engine: what it generates meets the schema, and drafts change nothing.
#include <gtest/gtest.h>

#include "core/json.h"
#include "engine/constraint_factory.h"
#include "engine/engine.h"
#include "tests/engine/schema_check_util.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

constexpr const char* kSchema = R"({"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 12}, "n": {"type": "integer", "minimum": -5, "maximum": 40},
    "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3}},
    "required": ["name", "n"]})";

struct Answer : RequestSink {
  size_t on_tokens(std::span<const TokenOutput> outputs) override {
    for (const TokenOutput& output : outputs) tokens.push_back(output.id);
    return outputs.size();
  }
  void on_finish(FinishReason why, const RequestStats& s, std::string_view message) override {
    reason = why;
    stats = s;
    error = message;
  }
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::error;
  RequestStats stats;
  std::string error;
};

class ConstrainedEngine : public ::testing::Test {
 protected:
  ConstrainedEngine()
      : model_(random_model("nano-ultra")),
        eos_(static_cast<int32_t>(model_->config().vocab) - 1),
        factory_(token_bytes(), {eos_}) {}

  /// Every byte, then pairs of letters.
  std::vector<std::string> token_bytes() const {
    std::vector<std::string> bytes;
    for (int32_t id = 0; id < eos_; ++id)
      bytes.push_back(id < 256 ? std::string(1, static_cast<char>(id))
                               : std::string{static_cast<char>('a' + id % 26),
                                             static_cast<char>('a' + id / 26 % 26)});
    return bytes;
  }

  std::vector<Answer> run(const EngineOptions& options, double temperature) {
    Engine engine(*model_, options);
    std::vector<std::shared_ptr<Answer>> answers;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      answers.push_back(std::make_shared<Answer>());
      EngineRequest request{.prompt = random_ids(5 + 3 * seed, eos_, seed),
                            .sampling = {.temperature = temperature, .repetition_penalty = 1.1},
                            .seed = seed,
                            .max_tokens = 400,
                            .eos = {eos_}};
      request.constraint = factory_.json_schema(kSchema);
      engine.submit(std::move(request), answers.back());
    }
    engine.run_until_idle();
    std::vector<Answer> out;
    for (const auto& answer : answers) out.push_back(*answer);
    return out;
  }

  std::string text(const Answer& answer) const {
    const std::vector<std::string> bytes = token_bytes();
    std::string out;
    for (const int32_t id : answer.tokens) out += bytes.at(static_cast<size_t>(id));
    return out;
  }

  std::unique_ptr<Model> model_;
  int32_t eos_;
  ConstraintFactory factory_;
};

TEST_F(ConstrainedEngine, AnswersMeetTheSchemaWithAndWithoutDrafts) {
  const Json schema = Json::parse(kSchema);
  for (const double temperature : {0.0, 1.0}) {
    const std::vector<Answer> plain = run({.draft_tokens = 0}, temperature);
    const std::vector<Answer> drafted = run({}, temperature);
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_EQ(plain[i].error, "");
      EXPECT_EQ(plain[i].reason, FinishReason::eos) << text(plain[i]);
      const Json value = Json::parse(text(plain[i]), nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text(plain[i]);
      EXPECT_EQ(schema_fault(schema, schema, value), "") << text(plain[i]);
      EXPECT_EQ(drafted[i].tokens, plain[i].tokens);
    }
  }
}

}  // namespace
}  // namespace um
