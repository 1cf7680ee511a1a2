// What a client gets back for a generation: one JSON object, or the chunks of a stream.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "server/api_error.h"
#include "server/channel.h"
#include "server/ids.h"
#include "server/request.h"

namespace um {

/// The time, in seconds since 1970.
int64_t seconds_now();

/// What all answers of one request carry.
struct ReplyHead {
  std::string id, model;
  int64_t created = 0;
  int64_t moe_layers = 0, top_k = 0;  ///< the shape of routed_experts
};

/// "stop" or "length"; "abort" for what was cancelled.
std::string_view api_finish_reason(FinishReason reason);

/// Whether an answer ended for want of room: what it had begun may not be finished.
bool is_cut(FinishReason reason);

/// A token's bytes; of a special token its name.
std::string token_bytes(const Tokenizer& tokenizer, int32_t id);
/// A token as logprobs name it: its text, or `bytes:\xNN…` as OpenAI has it where its bytes are no
/// whole characters. Tokens of different bytes have different names.
std::string token_name(const Tokenizer& tokenizer, int32_t id);
/// A finite number: -infinity, which JSON does not have, becomes -9999 as in vLLM.
double json_logprob(float logprob);
/// {"content": [{token, logprob, bytes, top_logprobs}]}
Json chat_logprobs(const Tokenizer& tokenizer, const std::vector<TokenOutput>& tokens);

/// RFC 4648.
std::string base64(std::string_view bytes);
std::string experts_npy(const std::vector<int16_t>& experts, int64_t layers, int64_t top_k);
Json token_ids(const std::vector<TokenOutput>& tokens);
/// Appends what came later to what an answer has.
void append_update(AnswerUpdate& answer, AnswerUpdate&& later);

/// Gathers the answers of one request.
class Reply {
 public:
  Reply(ReplyHead head, const Tokenizer& tokenizer, const GenerationParams& params);
  Reply(const Reply&) = delete;
  virtual ~Reply() = default;

  /// The chunks before any token.
  virtual std::vector<Json> opening(size_t answers) = 0;
  /// The chunks for what came; none where nothing can be shown.
  virtual std::vector<Json> chunks(size_t answer, AnswerUpdate&& update) = 0;
  /// For a reply as a whole: keeps what came.
  virtual void gather(size_t answer, AnswerUpdate&& update) = 0;
  /// The reply as a whole, once all answers have finished.
  virtual Json whole() = 0;
  /// What the log says about it: tokens and times.
  std::string log_note() const;
  /// The last chunk of a stream that asked for its usage.
  Json usage_chunk() const;

  /// How a stream carries a chunk, an error behind the first token, and its end.
  virtual std::string event(const Json& chunk);
  virtual Json failure(const ApiError& error) const { return error.body(); }
  virtual std::string ending() const { return "data: [DONE]\n\n"; }

 protected:
  Json base(std::string_view object) const;
  /// Counts tokens; call it for every update.
  void count(size_t answer, const AnswerUpdate& update);
  Json usage() const;
  Json timings() const;
  /// `routed_experts`, if they were asked for.
  void add_experts(Json& choice, const RequestStats& stats) const;
  /// A chunk with this choice; with usage so far if that was asked for.
  Json chunk(Json choice) const;

  ReplyHead head_;
  const Tokenizer& tokenizer_;
  const GenerationParams& params_;
  std::string chunk_object_;

 private:
  struct Counts {
    int64_t tokens = 0, reasoning = 0;
    RequestStats stats;
  };
  RequestStats longest() const;

  std::vector<Counts> counts_;
};

class ChatReply : public Reply {
 public:
  ChatReply(ReplyHead head, const Tokenizer& tokenizer, std::shared_ptr<const ChatRequest> request);
  std::vector<Json> opening(size_t answers) override;
  std::vector<Json> chunks(size_t answer, AnswerUpdate&& update) override;
  void gather(size_t answer, AnswerUpdate&& update) override;
  Json whole() override;

 private:
  std::string finish_reason(const AnswerUpdate& update) const;
  Json call_deltas(const std::vector<ToolCallDelta>& calls) const;
  Json message(const AnswerUpdate& answer) const;

  std::shared_ptr<const ChatRequest> request_;
  std::vector<AnswerUpdate> answers_;
};

/// What stands before an answer's text, if the prompt is echoed.
struct Echo {
  std::string text = {};
  bool verbatim = false;                 ///< special tokens stand in it as they were written
  std::vector<TokenOutput> tokens = {};  ///< the prompt's, if logprobs are wanted
};

class CompletionReply : public Reply {
 public:
  /// `echoes`: one for each answer.
  CompletionReply(ReplyHead head, const Tokenizer& tokenizer,
                  std::shared_ptr<const CompletionRequest> request, std::vector<Echo> echoes);
  std::vector<Json> opening(size_t answers) override;
  std::vector<Json> chunks(size_t answer, AnswerUpdate&& update) override;
  void gather(size_t answer, AnswerUpdate&& update) override;
  Json whole() override;

 private:
  Json logprobs(size_t answer, const std::vector<TokenOutput>& tokens, bool from_start = false);
  int64_t width(int32_t id, bool verbatim) const;
  void drop_ungenerated(AnswerUpdate& update) const;
  std::vector<TokenOutput> scored(const AnswerUpdate& update) const;

  std::shared_ptr<const CompletionRequest> request_;
  std::vector<Echo> echoes_;
  std::vector<AnswerUpdate> answers_;
  std::vector<int64_t> offsets_;  // of the next token in the text, in characters
};

}  // namespace um
