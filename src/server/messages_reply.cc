// Answers of the Messages API (see messages.h).
#include <span>
#include <utility>

#include "server/cut_json.h"
#include "server/messages.h"
#include "text/chat_content.h"
#include "text/utf8.h"

namespace um {
namespace {

std::string stop_reason(const AnswerUpdate& answer) {
  if (!answer.stop_reason.empty()) return "stop_sequence";
  if (answer.reason == FinishReason::context) return "model_context_window_exceeded";
  if (answer.reason == FinishReason::max_tokens) return "max_tokens";
  return answer.called_tools ? "tool_use" : "end_turn";
}

Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

/// What a model wrote as arguments should be an object, and is shown in one if it is not. Of an
/// answer that was cut off there, `input` is what it had finished.
Json input_of(const std::string& arguments, bool cut) {
  Json input = Json::parse(arguments, nullptr, false);
  if (!input.is_object() && (cut || arguments.empty())) return finished_members(arguments);
  return input.is_object() ? input : Json(arguments_object(repair_utf8(arguments)));
}

}  // namespace

Json messages_error(const ApiError& error) {
  std::string_view type = error_type(error.status());
  if (error.status() == 413) type = "request_too_large";
  if (error.status() == 503) type = "overloaded_error";
  if (error.status() == 501) type = "invalid_request_error";
  if (type == "server_error") type = "api_error";
  return {{"type", "error"}, {"error", {{"type", type}, {"message", repair_utf8(error.what())}}}};
}

MessagesReply::MessagesReply(ReplyHead head, const Tokenizer& tokenizer,
                             std::shared_ptr<const ChatRequest> request, int64_t prompt_tokens)
    : Reply(std::move(head), tokenizer, request->params),
      request_(std::move(request)),
      prompt_tokens_(prompt_tokens) {}

/// Tokens that were read from the cache are not among the input's.
Json MessagesReply::message_usage() const {
  const Json all = usage();
  const int64_t cached = all["prompt_tokens_details"]["cached_tokens"];
  return {{"input_tokens", prompt_tokens_ - cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached},
          {"output_tokens", all["completion_tokens"]},
          {"output_tokens_details",
           {{"thinking_tokens", all["completion_tokens_details"]["reasoning_tokens"]}}}};
}

Json MessagesReply::message(Json content) const {
  return {{"id", head_.id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", head_.model},
          {"content", std::move(content)},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"usage", message_usage()}};
}

Json MessagesReply::call_block(const ToolCallDelta& call, Json input) {
  return {{"type", "tool_use"},
          {"id", random_id("toolu_")},
          {"name", call.name},
          {"input", std::move(input)}};
}

// ---- streams ----

std::string MessagesReply::event(const Json& chunk) {
  return "event: " + chunk["type"].get<std::string>() + "\n" + Reply::event(chunk);
}

std::vector<Json> MessagesReply::opening(size_t) {
  return {{{"type", "message_start"}, {"message", message(Json::array())}}};
}

void MessagesReply::open_block(std::vector<Json>& events, Json block) {
  close_block(events);
  block_ = block["type"];
  events.push_back(
      {{"type", "content_block_start"}, {"index", blocks_++}, {"content_block", std::move(block)}});
}

void MessagesReply::add_delta(std::vector<Json>& events, const char* type, const char* field,
                              const std::string& text) const {
  events.push_back({{"type", "content_block_delta"},
                    {"index", blocks_ - 1},
                    {"delta", {{"type", type}, {field, text}}}});
}

void MessagesReply::close_block(std::vector<Json>& events) {
  if (!block_.empty()) events.push_back({{"type", "content_block_stop"}, {"index", blocks_ - 1}});
  block_.clear();
}

std::vector<Json> MessagesReply::chunks(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  std::vector<Json> events;
  const auto add_call = [&](const ToolCallDelta& call) {
    if (!call.name.empty()) open_block(events, call_block(call, Json::object()));
    if (!call.arguments.empty())
      add_delta(events, "input_json_delta", "partial_json", call.arguments);
  };
  // Arguments of the call that is open come before what stands behind it.
  std::span<const ToolCallDelta> calls = update.delta.calls;
  for (; !calls.empty() && calls[0].name.empty(); calls = calls.subspan(1)) add_call(calls[0]);
  if (!update.delta.reasoning.empty() && request_->include_reasoning) {
    if (block_ != "thinking")
      open_block(events, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
    add_delta(events, "thinking_delta", "thinking", update.delta.reasoning);
  }
  if (!update.delta.content.empty()) {
    if (block_ != "text") open_block(events, {{"type", "text"}, {"text", ""}});
    add_delta(events, "text_delta", "text", update.delta.content);
  }
  for (const ToolCallDelta& call : calls) add_call(call);
  if (!update.finished) return events;
  close_block(events);
  events.push_back(
      {{"type", "message_delta"},
       {"delta",
        {{"stop_reason", stop_reason(update)}, {"stop_sequence", or_null(update.stop_reason)}}},
       {"usage", message_usage()}});
  events.push_back({{"type", "message_stop"}});
  return events;
}

// ---- as a whole ----

void MessagesReply::gather(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  append_update(answer_, std::move(update));
}

Json MessagesReply::whole() {
  Json content = Json::array();
  const AnswerDelta& said = answer_.delta;
  if (!said.reasoning.empty() && request_->include_reasoning)
    content.push_back({{"type", "thinking"}, {"thinking", said.reasoning}, {"signature", ""}});
  if (!said.content.empty()) content.push_back({{"type", "text"}, {"text", said.content}});
  const bool cut = is_cut(answer_.reason);
  for (const ToolCallDelta& call : said.calls)
    content.push_back(
        call_block(call, input_of(call.arguments, cut && call.index == said.calls.back().index)));
  Json json = message(std::move(content));
  json["stop_reason"] = stop_reason(answer_);
  json["stop_sequence"] = or_null(answer_.stop_reason);
  return json;
}

}  // namespace um
