// Service: the model, its tokenizer, the engine and the thread that runs them, behind the routes.
// It exists before the model is loaded, so that the server can say so.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/generator.h"
#include "models/model_texts.h"
#include "server/answer_stream.h"
#include "server/channel.h"
#include "server/formats.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/options.h"
#include "server/request.h"
#include "server/response_store.h"
#include "server/token_limits.h"

namespace um {

class Service;

/// One answer that is asked for.
struct AnswerRequest {
  std::vector<int32_t> prompt;
  std::string field = "prompt";  ///< of the request, which the prompt is from
  AnswerOptions text = {};
  bool chat = false;          ///< the end of the turn ends it
  bool include_stop = false;  ///< the stop string belongs to the text
  bool want_tokens = false;   ///< updates list their tokens
  std::shared_ptr<Constraint> constraint = {};
};

/// A text that the model only reads, and who reads along.
struct Reading {
  std::vector<int32_t> ids;
  std::string field;  ///< of the request, which the text is from
  std::shared_ptr<PromptReader> reader;
};

/// The answers of one HTTP request while they are generated. Destroyed early, it cancels them.
class OpenAnswers {
 public:
  OpenAnswers(Service& service, size_t answers, size_t max_bytes);
  OpenAnswers(const OpenAnswers&) = delete;
  ~OpenAnswers();

  Channel& channel() { return *channel_; }
  size_t answers() const { return answers_; }

 private:
  friend class Service;
  Service& service_;
  std::shared_ptr<Channel> channel_;
  std::vector<uint64_t> ids_;
  size_t answers_;
};

class Service {
 public:
  enum class State { kLoading, kReady, kDraining, kStopped };

  /// `directory` holds the checkpoint, which load() reads.
  Service(const ServeOptions& options, std::filesystem::path directory);
  Service(const Service&) = delete;
  ~Service();

  /// Reads the checkpoint and starts the engine. Throws Error.
  void load(Device& device, std::optional<WeightTypes> weights, std::vector<std::string>* warnings);
  /// Refuses what is new, and waits until all that runs has finished, or so many seconds.
  void drain(double seconds);
  /// Ends everything that still runs.
  void stop();

  State state() const { return state_; }
  bool stopping() const { return state_ == State::kDraining || state_ == State::kStopped; }
  /// How much of the weights has been read, in bytes; for any thread. 0 of 0 before that begins.
  struct Loading {
    uint64_t done, all;
  };
  Loading loading() const { return {loaded_bytes_, weight_bytes_}; }
  /// Throws ApiError 503 unless ready.
  void require_ready() const;

  const std::string& name() const { return name_; }
  int64_t started_at() const { return started_at_; }
  const ServeOptions& options() const { return options_; }
  ServerMetrics& metrics() { return metrics_; }
  ResponseStore& responses() { return responses_; }

  // All that follows is for a loaded service.
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// That gives a context full of ids at most.
  Tokenizer bounded_tokenizer() const;
  const Model& model() const { return *model_; }
  std::string describe_cache() const { return engine_->describe_cache(); }
  const ChatTemplate& chat_template() const { return *template_; }
  const ChatMarks& marks() const { return marks_; }
  const RequestLimits& limits() const { return limits_; }
  Formats& formats() { return *formats_; }
  /// It was not trained for chats.
  bool base_model() const { return base_; }
  /// Whether answers in chats may begin with thinking.
  bool can_think() const;
  /// And the request says whether it does.
  bool can_switch_thinking() const;
  int64_t context() const;
  EngineStats engine_stats() const;

  /// Begins params.n answers to every prompt, answer i of prompt p being number p·n + i. Throws
  /// ApiError for prompts that do not fit and 429 where the queue is full.
  std::unique_ptr<OpenAnswers> generate(const GenerationParams& params,
                                        std::vector<AnswerRequest> prompts);
  /// Has the model read texts, each as an answer that finishes without a token. Throws ApiError
  /// likewise.
  std::unique_ptr<OpenAnswers> read(std::span<const Reading> texts);

 private:
  friend class OpenAnswers;
  TokenLimits limits_of(const GenerationParams& params) const;
  void check_prompt(const std::vector<int32_t>& prompt, const std::string& field) const;
  EngineRequest engine_request(const GenerationParams& params, const AnswerRequest& request,
                               uint64_t seed) const;
  void submit(OpenAnswers& open, EngineRequest request, std::shared_ptr<RequestSink> sink);
  void ended();

  ServeOptions options_;
  std::filesystem::path directory_;
  std::string name_;
  int64_t started_at_;
  std::atomic<State> state_{State::kLoading};
  std::atomic<uint64_t> loaded_bytes_{0}, weight_bytes_{0};
  ServerMetrics metrics_;
  ResponseStore responses_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  ChatMarks marks_;
  RequestLimits limits_;
  std::unique_ptr<Formats> formats_;
  Ends ends_;
  std::vector<std::string> stops_;  ///< the model's own
  bool base_ = false;
  std::unique_ptr<Model> model_, draft_;
  std::unique_ptr<Engine> engine_;
  std::thread thread_;  // runs the engine
  std::mutex mutex_;
  std::condition_variable all_ended_;
  size_t open_ = 0;  // generations
};

}  // namespace um
