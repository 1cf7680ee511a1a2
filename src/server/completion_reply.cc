// Replies of completions (see reply.h).
#include <utility>

#include "server/reply.h"

namespace um {

CompletionReply::CompletionReply(ReplyHead head, const Tokenizer& tokenizer,
                                 std::shared_ptr<const CompletionRequest> request,
                                 std::vector<std::string> echoes)
    : Reply(std::move(head), tokenizer, request->params),
      request_(std::move(request)),
      echoes_(std::move(echoes)) {
  chunk_object_ = "text_completion";
  answers_.resize(echoes_.size());
  for (const std::string& echo : echoes_) offsets_.push_back(echo.size());
}

std::vector<Json> CompletionReply::opening(size_t answers) {
  std::vector<Json> chunks;
  for (size_t i = 0; i < answers; ++i)
    if (!echoes_[i].empty())
      chunks.push_back(chunk(
          {{"index", i}, {"text", echoes_[i]}, {"logprobs", nullptr}, {"finish_reason", nullptr}}));
  return chunks;
}

Json CompletionReply::logprobs(size_t answer, const std::vector<TokenOutput>& tokens) {
  Json texts = Json::array(), values = Json::array(), tops = Json::array(), offsets = Json::array();
  for (const TokenOutput& token : tokens) {
    const std::string text = token_text(tokenizer_, token.id);
    texts.push_back(text);
    values.push_back(json_logprob(token.logprob));
    Json top = Json::object();
    for (const TokenLogprob& other : token.top)
      top[token_text(tokenizer_, other.id)] = json_logprob(other.logprob);
    tops.push_back(std::move(top));
    offsets.push_back(offsets_[answer]);
    offsets_[answer] += text.size();
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

std::vector<Json> CompletionReply::chunks(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  std::vector<Json> chunks;
  const bool tokens = !update.tokens.empty();
  if (!update.delta.content.empty() || tokens || update.finished) {
    Json choice = {{"index", answer},
                   {"text", update.delta.content},
                   {"logprobs", nullptr},
                   {"finish_reason", nullptr}};
    if (tokens && params_.top_logprobs >= 0) choice["logprobs"] = logprobs(answer, update.tokens);
    if (tokens && params_.return_token_ids) choice["token_ids"] = token_ids(update.tokens);
    if (update.finished) {
      choice["finish_reason"] = api_finish_reason(update.reason);
      add_experts(choice, update.stats);
    }
    if (!update.stop_reason.empty()) choice["stop_reason"] = update.stop_reason;
    chunks.push_back(chunk(std::move(choice)));
    if (update.finished) chunks.back()["timings"] = timings();
  }
  return chunks;
}

void CompletionReply::gather(size_t answer, AnswerUpdate&& update) {
  count(answer, update);
  append_update(answers_[answer], std::move(update));
}

Json CompletionReply::whole() {
  Json choices = Json::array();
  for (size_t i = 0; i < answers_.size(); ++i) {
    const AnswerUpdate& answer = answers_[i];
    Json choice = {{"index", i},
                   {"text", echoes_[i] + answer.delta.content},
                   {"logprobs", nullptr},
                   {"finish_reason", api_finish_reason(answer.reason)}};
    if (params_.top_logprobs >= 0) choice["logprobs"] = logprobs(i, answer.tokens);
    if (params_.return_token_ids) choice["token_ids"] = token_ids(answer.tokens);
    if (!answer.stop_reason.empty()) choice["stop_reason"] = answer.stop_reason;
    add_experts(choice, answer.stats);
    choices.push_back(std::move(choice));
  }
  Json json = base("text_completion");
  json["choices"] = std::move(choices);
  json["usage"] = usage();
  json["timings"] = timings();
  return json;
}

}  // namespace um
