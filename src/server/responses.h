// OpenAI's Responses API: its requests read as chat requests, and answers in its form, which are
// kept in memory so that later requests can go on from them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/reply.h"
#include "server/request.h"
#include "server/response_store.h"

namespace um {

/// What a request asks for beside its chat.
struct ResponsesRequest {
  OrderedJson items = OrderedJson::array();  ///< its input, each with an id
  Turns history;                             ///< what stands before it
  Json repeated;                             ///< fields of the request that its response repeats
  bool store = true;
  bool truncate = false;  ///< leave out the oldest turns where the prompt is too long
};

/// Throws ApiError 400 naming the field, also for a previous response that `store` does not have.
ResponsesRequest parse_responses_request(const Body& body, const ResponseStore& store);

/// Takes the fields that the response repeats from `body`, whose chat has been read: this finds
/// those of wrong types.
void repeat_fields(ResponsesRequest& request, const Body& body);

/// The chat/completions body that asks for the same. The first `skip` turns of the user are left
/// out. Throws ApiError 400 naming the field.
Body chat_body_of_responses(const Body& body, const ResponsesRequest& request, size_t skip = 0);

/// How many turns of the user the conversation has.
size_t user_turns(const ResponsesRequest& request);

/// `error` with the names that this API has for the fields of a chat. `body`: the request's.
ApiError responses_error(const ApiError& error, const Json& body);

class ResponsesReply : public Reply {
 public:
  /// `store` must outlive it.
  ResponsesReply(ReplyHead head, const Tokenizer& tokenizer,
                 std::shared_ptr<const ChatRequest> chat, ResponsesRequest request,
                 ResponseStore& store);
  std::vector<Json> opening(size_t answers) override;
  std::vector<Json> chunks(size_t answer, AnswerUpdate&& update) override;
  void gather(size_t answer, AnswerUpdate&& update) override;
  Json whole() override;
  std::string event(const Json& chunk) override;
  Json failure(const ApiError& error) const override;
  std::string ending() const override { return {}; }

 private:
  void advance(const AnswerUpdate& update, std::vector<Json>& events);
  void add_text(const char* item_type, const std::string& text, Json logprobs,
                std::vector<Json>& events);
  void add_call(const ToolCallDelta& call, std::vector<Json>& events);
  void open_item(Json item, std::vector<Json>& events);
  void close_item(bool cut, std::vector<Json>& events);
  Json response() const;
  Json response_usage() const;
  Json about_part(const std::string& type) const;
  Json about_item(const std::string& type) const;

  std::shared_ptr<const ChatRequest> chat_;
  ResponsesRequest request_;
  ResponseStore& store_;
  AnswerUpdate answer_;
  std::string status_ = "in_progress";
  Json output_ = Json::array();  // the items; the last one may be open
  bool open_ = false;
  int64_t events_ = 0;  // that were written
};

}  // namespace um
