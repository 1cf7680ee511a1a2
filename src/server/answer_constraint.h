// What the tokens of an answer are held to: the length of the thinking, the format that was asked
// for behind it, and tool calls that must come.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/constraint.h"
#include "server/answer_stream.h"
#include "server/request.h"

namespace um {

/// The parts of an answer, each with what its tokens are held to (null: nothing).
struct AnswerRules {
  ChatMarks marks = {};
  std::vector<int32_t> eos = {};
  bool thinking = true;          ///< the answer may begin with thinking
  bool begun = false;            ///< the answer goes on inside the thinking
  int64_t thinking_budget = -1;  ///< tokens of thinking at most; -1: no limit
  std::unique_ptr<Constraint> content = {};
  /// Behind the token `call_open`, until `call_close`; where there is none, to the end.
  std::unique_ptr<Constraint> calls = {};
  int32_t call_open = -1, call_close = -1;
};

/// The constraint of these rules; null if they hold the answer to nothing.
std::unique_ptr<Constraint> make_answer_constraint(AnswerRules rules);

}  // namespace um
