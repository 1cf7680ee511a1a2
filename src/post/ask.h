// Many questions to a model at once, through the serving engine: prompts by the model's chat
// template, answers split into thinking, text and calls as the server splits them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/chat_marks.h"
#include "server/request.h"
#include "tasks/questions.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {

/// What a model said to one question.
struct Answered {
  std::string reasoning = {}, text = {};
  std::vector<SpokenCall> calls = {};
  int64_t tokens = 0;
  /// What was sampled, the token that ended it included, with log-probabilities at temperature 1;
  /// empty unless AskOptions::keep_tokens.
  std::vector<int32_t> ids = {};
  std::vector<float> logprobs = {};
  FinishReason reason = FinishReason::eos;

  /// A limit of length has ended it.
  bool cut() const { return reason == FinishReason::max_tokens || reason == FinishReason::context; }
};

struct AskOptions {
  SamplingOptions sampling = {};
  int64_t max_tokens = 512;
  bool keep_tokens = false;
};

/// A model that is asked. The engine is run by who holds this: submit, then step it until idle.
class Asker {
 public:
  /// The engine must outlive this. Throws Error for a chat model whose template cannot be used.
  Asker(Engine& engine, const Tokenizer& tokenizer, const std::filesystem::path& model);

  /// It continues texts: questions are asked as Question::base_prompt.
  bool base() const { return base_; }

  /// The prompt of a question in a mode ("slow", "fast", "auto"; empty: as the model does by
  /// itself). Throws Error naming the question.
  struct Prompt {
    std::vector<int32_t> ids;
    std::vector<Tool> tools = {};
  };
  Prompt prompt(const Question& question, const std::string& mode) const;

  /// Begins an answer, which is complete when the engine is idle. Throws Error.
  std::shared_ptr<const Answered> ask(const Prompt& prompt, uint64_t seed,
                                      const AskOptions& options);

 private:
  Engine& engine_;
  const Tokenizer& tokenizer_;
  ChatTemplate template_;
  ChatMarks marks_;
  std::vector<int32_t> ends_;
  std::vector<std::string> stops_;
  bool base_;
};

}  // namespace um
