// Answers of the Responses API (see responses.h).
#include <span>
#include <utility>

#include "server/responses.h"
#include "text/utf8.h"

namespace um {
namespace {

Json text_part(const std::string& type, const std::string& text, Json logprobs) {
  if (type == "reasoning") return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", Json::array()},
          {"logprobs", std::move(logprobs)}};
}

Json new_item(const std::string& type) {
  if (type == "reasoning")
    return {{"id", random_id("rs_")},       {"type", type},
            {"summary", Json::array()},     {"content", Json::array()},
            {"encrypted_content", nullptr}, {"status", "in_progress"}};
  return {{"id", random_id("msg_")},
          {"type", type},
          {"role", "assistant"},
          {"content", Json::array()},
          {"status", "in_progress"}};
}

Json new_call(const std::string& name) {
  return {{"id", random_id("fc_")}, {"type", "function_call"}, {"call_id", random_id("call_")},
          {"name", name},           {"arguments", ""},         {"status", "in_progress"}};
}

}  // namespace

ResponsesReply::ResponsesReply(ReplyHead head, const Tokenizer& tokenizer,
                               std::shared_ptr<const ChatRequest> chat, ResponsesRequest request,
                               ResponseStore& store)
    : Reply(std::move(head), tokenizer, chat->params),
      chat_(std::move(chat)),
      request_(std::move(request)),
      store_(store) {}

Json ResponsesReply::response_usage() const {
  const Json all = usage();
  return {{"input_tokens", all["prompt_tokens"]},
          {"input_tokens_details",
           {{"cached_tokens", all["prompt_tokens_details"]["cached_tokens"]},
            {"cache_write_tokens", 0}}},
          {"output_tokens", all["completion_tokens"]},
          {"output_tokens_details", all["completion_tokens_details"]},
          {"total_tokens", all["total_tokens"]}};
}

Json ResponsesReply::response() const {
  Json json = request_.repeated;
  json["id"] = head_.id;
  json["object"] = "response";
  json["created_at"] = head_.created;
  json["model"] = head_.model;
  json["status"] = status_;
  json["output"] = output_;
  json["error"] = nullptr;
  json["incomplete_details"] = nullptr;
  if (status_ == "incomplete") json["incomplete_details"] = {{"reason", "max_output_tokens"}};
  json["parallel_tool_calls"] = chat_->parallel_tool_calls;
  json["temperature"] = params_.sampling.temperature;
  json["top_p"] = params_.sampling.top_p;
  json["usage"] = nullptr;
  if (status_ == "in_progress") return json;
  if (status_ == "completed") json["completed_at"] = seconds_now();
  json["usage"] = response_usage();
  json["timings"] = timings();
  return json;
}

// ---- items and their events ----

/// An event about the last item.
Json ResponsesReply::about_item(const std::string& type) const {
  return {{"type", type}, {"output_index", output_.size() - 1}};
}

/// An event about the text of the last item.
Json ResponsesReply::about_part(const std::string& type) const {
  Json event = about_item(type);
  event["item_id"] = output_.back()["id"];
  event["content_index"] = 0;
  return event;
}

void ResponsesReply::open_item(Json item, std::vector<Json>& events) {
  close_item(false, events);
  output_.push_back(std::move(item));
  open_ = true;
  Json event = about_item("response.output_item.added");
  event["item"] = output_.back();
  events.push_back(std::move(event));
}

/// `cut`: the answer ended before the item did.
void ResponsesReply::close_item(bool cut, std::vector<Json>& events) {
  if (!std::exchange(open_, false)) return;
  Json& item = output_.back();
  const std::string type = item["type"];
  if (type == "function_call") {
    if (!cut) {
      Json event = about_item("response.function_call_arguments.done");
      event["item_id"] = item["id"];
      event["name"] = item["name"];
      event["arguments"] = item["arguments"];
      events.push_back(std::move(event));
    }
  } else {
    const Json& part = item["content"][0];
    Json event = about_part(type == "reasoning" ? "response.reasoning_text.done"
                                                : "response.output_text.done");
    event["text"] = part["text"];
    if (type == "message") event["logprobs"] = part["logprobs"];
    events.push_back(std::move(event));
    events.push_back(about_part("response.content_part.done"));
    events.back()["part"] = part;
  }
  item["status"] = cut ? "incomplete" : "completed";
  Json event = about_item("response.output_item.done");
  event["item"] = item;
  events.push_back(std::move(event));
}

/// Text of the thinking or of the answer.
void ResponsesReply::add_text(const char* item_type, const std::string& text, Json logprobs,
                              std::vector<Json>& events) {
  if (!open_ || output_.back()["type"] != item_type) {
    open_item(new_item(item_type), events);
    output_.back()["content"].push_back(text_part(item_type, "", Json::array()));
    events.push_back(about_part("response.content_part.added"));
    events.back()["part"] = output_.back()["content"][0];
  }
  const bool reasoning = output_.back()["type"] == "reasoning";
  Json& part = output_.back()["content"][0];
  part["text"].get_ref<std::string&>() += text;
  Json event =
      about_part(reasoning ? "response.reasoning_text.delta" : "response.output_text.delta");
  event["delta"] = text;
  if (!reasoning) {
    for (const Json& entry : logprobs) part["logprobs"].push_back(entry);
    event["logprobs"] = std::move(logprobs);
  }
  events.push_back(std::move(event));
}

void ResponsesReply::add_call(const ToolCallDelta& call, std::vector<Json>& events) {
  if (!call.name.empty()) open_item(new_call(call.name), events);
  if (call.arguments.empty()) return;
  output_.back()["arguments"].get_ref<std::string&>() += call.arguments;
  Json event = about_item("response.function_call_arguments.delta");
  event["item_id"] = output_.back()["id"];
  event["delta"] = call.arguments;
  events.push_back(std::move(event));
}

void ResponsesReply::advance(const AnswerUpdate& update, std::vector<Json>& events) {
  Json logprobs = Json::array();
  if (params_.top_logprobs >= 0)
    logprobs = std::move(chat_logprobs(tokenizer_, update.tokens)["content"]);
  // Arguments of the call that is open come before what stands behind it.
  std::span<const ToolCallDelta> calls = update.delta.calls;
  for (; !calls.empty() && calls[0].name.empty(); calls = calls.subspan(1))
    add_call(calls[0], events);
  if (!update.delta.reasoning.empty() && chat_->include_reasoning)
    add_text("reasoning", update.delta.reasoning, {}, events);
  if (!update.delta.content.empty())
    add_text("message", update.delta.content, std::move(logprobs), events);
  for (const ToolCallDelta& call : calls) add_call(call, events);
  if (!update.finished) return;
  const bool cut = is_cut(update.reason);
  close_item(cut, events);
  status_ = cut ? "incomplete" : "completed";
  Json whole = response();
  if (request_.store) store_.put(OrderedJson(whole), request_.items, request_.history);
  events.push_back({{"type", "response." + status_}, {"response", std::move(whole)}});
}

// ---- streams ----

std::vector<Json> ResponsesReply::opening(size_t) {
  return {{{"type", "response.created"}, {"response", response()}},
          {{"type", "response.in_progress"}, {"response", response()}}};
}

std::vector<Json> ResponsesReply::chunks(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  std::vector<Json> events;
  advance(update, events);
  return events;
}

std::string ResponsesReply::event(const Json& chunk) {
  Json event = chunk;
  event["sequence_number"] = events_++;
  return "event: " + chunk["type"].get<std::string>() + "\n" + Reply::event(event);
}

Json ResponsesReply::failure(const ApiError& error) const {
  Json failed = response();
  failed["status"] = "failed";
  failed["error"] = {{"code", "server_error"}, {"message", repair_utf8(error.what())}};
  return {{"type", "response.failed"}, {"response", std::move(failed)}};
}

// ---- as a whole ----

void ResponsesReply::gather(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  append_update(answer_, std::move(update));
}

Json ResponsesReply::whole() {
  std::vector<Json> events;
  advance(answer_, events);
  return std::move(events.back()["response"]);
}

}  // namespace um
