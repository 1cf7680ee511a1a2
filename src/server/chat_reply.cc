// Replies of chat/completions (see reply.h).
#include <utility>

#include "server/reply.h"

namespace um {
namespace {

/// Adds the thinking under both names that clients read.
void set_reasoning(Json& json, const std::string& text) {
  json["reasoning_content"] = text;
  json["reasoning"] = text;
}

}  // namespace

ChatReply::ChatReply(ReplyHead head, const Tokenizer& tokenizer,
                     std::shared_ptr<const ChatRequest> request)
    : Reply(std::move(head), tokenizer, request->params), request_(std::move(request)) {
  chunk_object_ = "chat.completion.chunk";
}

std::string ChatReply::finish_reason(const AnswerUpdate& update) const {
  const std::string_view reason = api_finish_reason(update.reason);
  return std::string(update.called_tools && reason == "stop" ? "tool_calls" : reason);
}

Json ChatReply::call_deltas(const std::vector<ToolCallDelta>& calls) const {
  Json list = Json::array();
  for (const ToolCallDelta& call : calls) {
    Json json = {{"index", call.index}};
    if (!call.name.empty()) {
      json["id"] = random_id("call_");
      json["type"] = "function";
      json["function"] = {{"name", call.name}, {"arguments", ""}};
      list.push_back(json);
      if (call.arguments.empty()) continue;
      json = {{"index", call.index}};
    }
    json["function"] = {{"arguments", call.arguments}};
    list.push_back(std::move(json));
  }
  return list;
}

std::vector<Json> ChatReply::opening(size_t answers) {
  std::vector<Json> chunks;
  for (size_t i = 0; i < answers; ++i)
    chunks.push_back(chunk({{"index", i},
                            {"delta", {{"role", "assistant"}, {"content", ""}}},
                            {"logprobs", nullptr},
                            {"finish_reason", nullptr}}));
  return chunks;
}

std::vector<Json> ChatReply::chunks(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  std::vector<Json> chunks;
  // Logprobs and ids travel with the first part of what their tokens made, or by themselves.
  bool carried = false;
  const auto add = [&](Json delta) {
    Json choice = {{"index", answer},
                   {"delta", std::move(delta)},
                   {"logprobs", nullptr},
                   {"finish_reason", nullptr}};
    if (!std::exchange(carried, true) && !update.tokens.empty()) {
      if (params_.top_logprobs >= 0) choice["logprobs"] = chat_logprobs(tokenizer_, update.tokens);
      if (params_.return_token_ids) choice["token_ids"] = token_ids(update.tokens);
    }
    chunks.push_back(chunk(std::move(choice)));
  };
  if (!update.delta.reasoning.empty() && request_->include_reasoning) {
    Json delta = Json::object();
    set_reasoning(delta, update.delta.reasoning);
    add(std::move(delta));
  }
  if (!update.delta.content.empty()) add({{"content", update.delta.content}});
  for (Json& call : call_deltas(update.delta.calls)) add({{"tool_calls", Json::array({call})}});
  const bool unsaid =
      !update.tokens.empty() && (params_.top_logprobs >= 0 || params_.return_token_ids);
  if (!carried && unsaid) add(Json::object());
  if (!update.finished) return chunks;
  Json last = chunk({{"index", answer},
                     {"delta", Json::object()},
                     {"logprobs", nullptr},
                     {"finish_reason", finish_reason(update)}});
  if (!update.stop_reason.empty()) last["choices"][0]["stop_reason"] = update.stop_reason;
  add_experts(last["choices"][0], update.stats);
  last["timings"] = timings();
  chunks.push_back(std::move(last));
  return chunks;
}

void ChatReply::gather(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  if (answer >= answers_.size()) answers_.resize(answer + 1);
  append_update(answers_[answer], std::move(update));
}

Json ChatReply::message(const AnswerUpdate& answer) const {
  Json message = {{"role", "assistant"}, {"refusal", nullptr}};
  const std::string& content = answer.delta.content;
  const bool calls = !answer.delta.calls.empty();
  message["content"] = calls && content.empty() ? Json() : Json(content);
  if (!answer.delta.reasoning.empty() && request_->include_reasoning)
    set_reasoning(message, answer.delta.reasoning);
  if (!calls) return message;
  Json list = Json::array();
  for (const ToolCallDelta& call : answer.delta.calls)
    list.push_back({{"id", random_id("call_")},
                    {"type", "function"},
                    {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  message["tool_calls"] = std::move(list);
  return message;
}

Json ChatReply::whole() {
  Json choices = Json::array();
  for (size_t i = 0; i < answers_.size(); ++i) {
    const AnswerUpdate& answer = answers_[i];
    Json choice = {{"index", i},
                   {"message", message(answer)},
                   {"logprobs", nullptr},
                   {"finish_reason", finish_reason(answer)}};
    if (params_.top_logprobs >= 0) choice["logprobs"] = chat_logprobs(tokenizer_, answer.tokens);
    if (params_.return_token_ids) choice["token_ids"] = token_ids(answer.tokens);
    if (!answer.stop_reason.empty()) choice["stop_reason"] = answer.stop_reason;
    add_experts(choice, answer.stats);
    choices.push_back(std::move(choice));
  }
  Json json = base("chat.completion");
  json["choices"] = std::move(choices);
  json["usage"] = usage();
  json["timings"] = timings();
  return json;
}

}  // namespace um
