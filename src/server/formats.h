// From what a request asks for (response_format, tools, thinking budget) to the constraint of its
// answer.
#pragma once

#include <memory>
#include <vector>

#include "engine/constraint_factory.h"
#include "server/answer_constraint.h"
#include "server/request.h"

namespace um {

/// Makes the constraints of one model. May be used from several threads.
class Formats {
 public:
  Formats(const Tokenizer& tokenizer, const ChatMarks& marks, std::vector<int32_t> eos);

  /// Null where the request asks for nothing. Throws ApiError 400 for schemas and patterns that are
  /// wrong or not supported.
  /// `thinking`: the prompt ends inside the thinking.
  std::unique_ptr<Constraint> of_chat(const ChatRequest& request, bool thinking = false);
  std::unique_ptr<Constraint> of_completion(const GenerationParams& params);

 private:
  std::unique_ptr<Constraint> of_format(ConstraintFactory& factory, const FormatSpec& format);
  std::unique_ptr<Constraint> of_calls(ConstraintFactory& factory, const ChatRequest& request,
                                       bool begun);

  ChatMarks marks_;
  std::vector<int32_t> eos_, chat_eos_;
  std::unique_ptr<ConstraintFactory> text_, chat_;  // null: no token could end it
  std::unique_ptr<ConstraintFactory> calls_;        // null: no token opens calls
  int32_t call_open_ = -1, call_close_ = -1;
};

}  // namespace um
