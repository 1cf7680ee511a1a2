// What chat and plain completions share (see reply.h).
#include "server/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "text/utf8.h"

namespace um {

int64_t seconds_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

std::string_view api_finish_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
    case FinishReason::stop:
      return "stop";
    case FinishReason::max_tokens:
    case FinishReason::context:
      return "length";
    case FinishReason::cancelled:
    case FinishReason::error:
      break;
  }
  return "abort";
}

bool is_cut(FinishReason reason) {
  return reason == FinishReason::max_tokens || reason == FinishReason::context;
}

std::string token_bytes(const Tokenizer& tokenizer, int32_t id) {
  if (id < 0 || id >= tokenizer.vocab_size()) return {};
  const std::string_view bytes = tokenizer.bytes(id);
  return bytes.empty() ? tokenizer.piece(id) : std::string(bytes);
}

std::string token_name(const Tokenizer& tokenizer, int32_t id) {
  std::string bytes = token_bytes(tokenizer, id);
  if (is_utf8(bytes)) return bytes;
  std::string name = "bytes:";
  for (const char c : bytes) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return name;
}

double json_logprob(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
}

namespace {

Json logprob_entry(const Tokenizer& tokenizer, int32_t id, float logprob) {
  Json list = Json::array();
  for (const char c : token_bytes(tokenizer, id)) list.push_back(static_cast<unsigned char>(c));
  return {{"token", token_name(tokenizer, id)},
          {"logprob", json_logprob(logprob)},
          {"bytes", std::move(list)}};
}

}  // namespace

Json chat_logprobs(const Tokenizer& tokenizer, const std::vector<TokenOutput>& tokens) {
  Json content = Json::array();
  for (const TokenOutput& token : tokens) {
    Json entry = logprob_entry(tokenizer, token.id, token.logprob);
    Json top = Json::array();
    for (const TokenLogprob& other : token.top)
      top.push_back(logprob_entry(tokenizer, other.id, other.logprob));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

/// The experts of an answer's rows as a .npy file, [rows, moe layers, top_k] in int16.
std::string experts_npy(const std::vector<int16_t>& experts, int64_t layers, int64_t top_k) {
  const int64_t row = std::max<int64_t>(layers * top_k, 1);
  std::string header =
      fmt::format("{{'descr': '<i2', 'fortran_order': False, 'shape': ({}, {}, {}), }}",
                  std::ssize(experts) / row, layers, top_k);
  header.append(63 - (header.size() + 10) % 64, ' ').push_back('\n');
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() % 256);
  file += static_cast<char>(header.size() / 256);
  file += header;
  file.append(reinterpret_cast<const char*>(experts.data()), experts.size() * sizeof(int16_t));
  return file;
}

Json token_ids(const std::vector<TokenOutput>& tokens) {
  Json ids = Json::array();
  for (const TokenOutput& token : tokens) ids.push_back(token.id);
  return ids;
}

void append_update(AnswerUpdate& answer, AnswerUpdate&& later) {
  answer.delta.append(std::move(later.delta));
  for (TokenOutput& token : later.tokens) answer.tokens.push_back(std::move(token));
  answer.called_tools = answer.called_tools || later.called_tools;
  if (!later.finished) return;
  answer.finished = true;
  answer.reason = later.reason;
  answer.stats = std::move(later.stats);
  answer.stop_reason = std::move(later.stop_reason);
}

Reply::Reply(ReplyHead head, const Tokenizer& tokenizer, const GenerationParams& params)
    : head_(std::move(head)), tokenizer_(tokenizer), params_(params) {}

void Reply::count(size_t answer, const AnswerUpdate& update) {
  if (answer >= counts_.size()) counts_.resize(answer + 1);
  Counts& counts = counts_[answer];
  counts.tokens += update.token_count;
  counts.reasoning = std::max(counts.reasoning, update.reasoning_tokens);
  if (!update.finished) return;
  counts.stats = update.stats;
  counts.tokens = update.stats.generated_tokens;  // with the one that ended it
}

Json Reply::base(std::string_view object) const {
  return {{"id", head_.id},
          {"object", object},
          {"created", head_.created},
          {"model", head_.model},
          {"system_fingerprint", "ultramoe-" UM_VERSION}};
}

// The answers to one prompt share its tokens, so they count once (as OpenAI and vLLM do).
Json Reply::usage() const {
  int64_t prompt = 0, cached = 0, completion = 0, reasoning = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    completion += counts_[i].tokens;
    reasoning += counts_[i].reasoning;
    if (i % static_cast<size_t>(params_.n) != 0) continue;
    prompt += counts_[i].stats.prompt_tokens;
    cached += counts_[i].stats.cached_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}},
          {"completion_tokens_details", {{"reasoning_tokens", reasoning}}}};
}

/// Of the answer that took longest.
RequestStats Reply::longest() const {
  RequestStats stats;
  for (const Counts& counts : counts_)
    if (counts.stats.decode_s >= stats.decode_s) stats = counts.stats;
  return stats;
}

std::string Reply::log_note() const {
  const Json tokens = usage();
  const RequestStats stats = longest();
  return fmt::format(
      "prompt={} cached={} generated={} queue_ms={:.0f} prompt_ms={:.0f} "
      "generate_ms={:.0f}",
      tokens["prompt_tokens"].get<int64_t>(),
      tokens["prompt_tokens_details"]["cached_tokens"].get<int64_t>(),
      tokens["completion_tokens"].get<int64_t>(), 1e3 * stats.queue_s, 1e3 * stats.prefill_s,
      1e3 * stats.decode_s);
}

/// As llama.cpp reports them.
Json Reply::timings() const {
  const RequestStats stats = longest();
  const auto ratio = [](double value, double of) { return of > 0 ? value / of : 0.0; };
  const int64_t prompt = stats.prompt_tokens - stats.cached_tokens;
  const int64_t decoded = std::max<int64_t>(stats.generated_tokens - 1, 0);  // in decode_s
  const auto prompts = static_cast<double>(prompt), later = static_cast<double>(decoded);
  return {{"queue_ms", 1e3 * stats.queue_s},
          {"prompt_n", prompt},
          {"cache_n", stats.cached_tokens},
          {"prompt_ms", 1e3 * stats.prefill_s},
          {"prompt_per_token_ms", ratio(1e3 * stats.prefill_s, prompts)},
          {"prompt_per_second", ratio(prompts, stats.prefill_s)},
          {"predicted_n", stats.generated_tokens},
          {"predicted_ms", 1e3 * stats.decode_s},
          {"predicted_per_token_ms", ratio(1e3 * stats.decode_s, later)},
          {"predicted_per_second", ratio(later, stats.decode_s)},
          {"draft_n", stats.drafted},
          {"draft_n_accepted", stats.accepted}};
}

void Reply::add_experts(Json& choice, const RequestStats& stats) const {
  if (params_.routed_experts)
    choice["routed_experts"] =
        base64(experts_npy(stats.routed_experts, head_.moe_layers, head_.top_k));
}

Json Reply::chunk(Json choice) const {
  Json json = base(chunk_object_);
  json["choices"] = Json::array({std::move(choice)});
  if (params_.continuous_usage) json["usage"] = usage();
  return json;
}

std::string Reply::event(const Json& chunk) {
  return "data: " + chunk.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n\n";
}

Json Reply::usage_chunk() const {
  Json json = base(chunk_object_);
  json["choices"] = Json::array();
  json["usage"] = usage();
  json["timings"] = timings();
  return json;
}

}  // namespace um
