// Replies of completions (see reply.h).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/reply.h"

namespace um {
namespace {

/// Those that begin in these bytes.
int64_t characters(std::string_view utf8) {
  return static_cast<int64_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

/// The token's name as a key among those of the `top` tokens: where one that comes before it has
/// the same bytes (a byte token beside the letter), its id as vLLM writes it.
std::string key_of(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& top, int32_t id) {
  const std::string bytes = token_bytes(tokenizer, id);
  for (const TokenLogprob& other : top) {
    if (other.id == id) break;
    if (token_bytes(tokenizer, other.id) == bytes) return fmt::format("token_id:{}", id);
  }
  return token_name(tokenizer, id);
}

}  // namespace

CompletionReply::CompletionReply(ReplyHead head, const Tokenizer& tokenizer,
                                 std::shared_ptr<const CompletionRequest> request,
                                 std::vector<Echo> echoes)
    : Reply(std::move(head), tokenizer, request->params),
      request_(std::move(request)),
      echoes_(std::move(echoes)) {
  chunk_object_ = "text_completion";
  answers_.resize(echoes_.size());
  // The prompt's tokens end where its text does; those in front may have more than it has (a space,
  // the beginning of a text).
  for (const Echo& echo : echoes_) {
    offsets_.push_back(characters(echo.text));
    for (const TokenOutput& token : echo.tokens) offsets_.back() -= width(token.id, echo.verbatim);
  }
}

std::vector<Json> CompletionReply::opening(size_t answers) {
  std::vector<Json> chunks;
  for (size_t i = 0; i < answers; ++i) {
    const Echo& echo = echoes_[i];
    if (echo.text.empty() && echo.tokens.empty()) continue;
    Json choice = {
        {"index", i}, {"text", echo.text}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
    if (!echo.tokens.empty()) choice["logprobs"] = logprobs(i, echo.tokens, true);
    chunks.push_back(chunk(std::move(choice)));
  }
  return chunks;
}

/// How many characters of the text a token is; `verbatim`: of one where special tokens stand.
int64_t CompletionReply::width(int32_t id, bool verbatim) const {
  const bool left_out = tokenizer_.is_special(id) && !verbatim;
  return left_out ? 0 : characters(token_bytes(tokenizer_, id));
}

Json CompletionReply::logprobs(size_t answer, const std::vector<TokenOutput>& tokens,
                               bool from_start) {
  Json texts = Json::array(), values = Json::array(), tops = Json::array(), offsets = Json::array();
  for (const TokenOutput& token : tokens) {
    texts.push_back(key_of(tokenizer_, token.top, token.id));
    offsets.push_back(std::max<int64_t>(offsets_[answer], 0));
    const bool of_prompt = from_start && values.size() < echoes_[answer].tokens.size();
    offsets_[answer] +=
        width(token.id, of_prompt ? echoes_[answer].verbatim : !params_.skip_special);
    if (from_start && values.empty()) {  // nothing stands before it
      values.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    values.push_back(json_logprob(token.logprob));
    Json top = Json::object();
    for (const TokenLogprob& other : token.top)
      top[key_of(tokenizer_, token.top, other.id)] = json_logprob(other.logprob);
    tops.push_back(std::move(top));
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

/// Where nothing was to be generated, the engine has made one token all the same.
void CompletionReply::drop_ungenerated(AnswerUpdate& update) const {
  if (!request_->only_echo) return;
  update.delta = {};
  update.tokens.clear();
  update.token_count = update.stats.generated_tokens = 0;
  update.stop_reason.clear();
  if (update.reason == FinishReason::eos || update.reason == FinishReason::stop)
    update.reason = FinishReason::max_tokens;
}

/// The tokens whose logprobs are shown: also that which ended the answer, as OpenAI and vLLM have
/// it (lm-eval takes the last one for generated).
std::vector<TokenOutput> CompletionReply::scored(const AnswerUpdate& update) const {
  std::vector<TokenOutput> tokens = update.tokens;
  if (update.reason == FinishReason::eos && update.stats.end) tokens.push_back(*update.stats.end);
  return tokens;
}

std::vector<Json> CompletionReply::chunks(size_t answer, AnswerUpdate&& update) {
  drop_ungenerated(update);
  count(answer, update);
  std::vector<Json> chunks;
  const bool tokens = !update.tokens.empty();
  if (!update.delta.content.empty() || tokens || update.finished) {
    Json choice = {{"index", answer},
                   {"text", update.delta.content},
                   {"logprobs", nullptr},
                   {"finish_reason", nullptr}};
    if (const auto shown = scored(update); !shown.empty() && params_.top_logprobs >= 0)
      choice["logprobs"] = logprobs(answer, shown);
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
  drop_ungenerated(update);
  count(answer, update);
  append_update(answers_[answer], std::move(update));
}

Json CompletionReply::whole() {
  Json choices = Json::array();
  for (size_t i = 0; i < answers_.size(); ++i) {
    const AnswerUpdate& answer = answers_[i];
    Json choice = {{"index", i},
                   {"text", echoes_[i].text + answer.delta.content},
                   {"logprobs", nullptr},
                   {"finish_reason", api_finish_reason(answer.reason)}};
    if (params_.top_logprobs >= 0) {
      std::vector<TokenOutput> tokens = echoes_[i].tokens;
      const bool from_start = !tokens.empty();
      for (TokenOutput& token : scored(answer)) tokens.push_back(std::move(token));
      choice["logprobs"] = logprobs(i, tokens, from_start);
    }
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
