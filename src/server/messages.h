// Anthropic's Messages API: its requests read as chat requests, and answers in its form.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/reply.h"
#include "server/request.h"

namespace um {

/// The chat/completions body that asks for the same. Throws ApiError 400 naming the field. As that
/// API has it, thinking is off unless it is asked for, and its budget is below max_tokens, unless
/// the client has `interleaved` it: then the budget is of several answers with calls between them.
Body chat_body_of_messages(const Body& messages, bool interleaved = false);

/// `error` with the names that this API has for the fields of a chat. `body`: the request's.
ApiError messages_names(const ApiError& error, const Json& body);
/// {"type": "error", "error": {"type", "message"}}
Json messages_error(const ApiError& error);

class MessagesReply : public Reply {
 public:
  MessagesReply(ReplyHead head, const Tokenizer& tokenizer,
                std::shared_ptr<const ChatRequest> request, int64_t prompt_tokens);
  std::vector<Json> opening(size_t answers) override;
  std::vector<Json> chunks(size_t answer, AnswerUpdate&& update) override;
  void gather(size_t answer, AnswerUpdate&& update) override;
  Json whole() override;
  std::string event(const Json& chunk) override;
  Json failure(const ApiError& error) const override { return messages_error(error); }
  std::string ending() const override { return {}; }

 private:
  Json message(Json content) const;
  Json message_usage() const;
  static Json call_block(const ToolCallDelta& call, Json input);
  void open_block(std::vector<Json>& events, Json block);
  void add_delta(std::vector<Json>& events, const char* type, const char* field,
                 const std::string& text) const;
  void close_block(std::vector<Json>& events);

  std::shared_ptr<const ChatRequest> request_;
  int64_t prompt_tokens_;
  AnswerUpdate answer_;
  std::string block_;   // the type of the block that is open in a stream; empty: none
  int64_t blocks_ = 0;  // that were begun
};

}  // namespace um
