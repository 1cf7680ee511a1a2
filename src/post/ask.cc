// See ask.h.
#include "post/ask.h"

#include <algorithm>

#include "core/error.h"
#include "models/model_texts.h"
#include "server/answer_stream.h"
#include "server/prompt.h"
#include "text/prompt.h"

namespace um {
namespace {

/// Where a base model goes on with questions of its own.
constexpr std::string_view kNextQuestion[] = {"\nQuestion:", "\n问题：", "\n\n"};

class Sink : public RequestSink {
 public:
  Sink(const Tokenizer& tokenizer, const ChatMarks& marks, const Asker::Prompt& prompt,
       AnswerOptions options, bool keep_tokens)
      : keep_tokens_(keep_tokens),
        stream_(tokenizer, marks, prompt.ids, std::move(options)),
        answered_(std::make_shared<Answered>()) {}

  std::shared_ptr<const Answered> answered() const { return answered_; }

  size_t on_tokens(std::span<const TokenOutput> tokens) override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      keep(tokens[i]);
      add(stream_.push(tokens[i].id));
      if (stream_.stopped()) return i;
    }
    return tokens.size();
  }

  void on_finish(FinishReason reason, const RequestStats& stats, std::string_view error) override {
    if (!stream_.stopped()) add(stream_.finish());
    if (stats.end) keep(*stats.end);
    answered_->tokens = stats.generated_tokens;
    answered_->reason = reason;
    if (reason == FinishReason::error) answered_->text = error;
  }

 private:
  void keep(const TokenOutput& token) {
    if (!keep_tokens_) return;
    answered_->ids.push_back(token.id);
    answered_->logprobs.push_back(token.logprob);
  }
  void add(const AnswerDelta& delta) {
    answered_->reasoning += delta.reasoning;
    answered_->text += delta.content;
    for (const ToolCallDelta& call : delta.calls) {
      if (call.index >= answered_->calls.size()) answered_->calls.resize(call.index + 1);
      answered_->calls[call.index].name += call.name;
      answered_->calls[call.index].arguments += call.arguments;
    }
  }

  bool keep_tokens_;
  AnswerStream stream_;
  std::shared_ptr<Answered> answered_;
};

}  // namespace

Asker::Asker(Engine& engine, const Tokenizer& tokenizer, const std::filesystem::path& model)
    : engine_(engine),
      tokenizer_(tokenizer),
      template_(ChatTemplate::load(model, tokenizer)),
      marks_(ChatMarks::of(tokenizer, template_)),
      stops_(find_stops(model)),
      base_(is_base_model(model)) {
  UM_CHECK(base_ || template_.fault().empty(), "{}: {}", model.string(), template_.fault());
  const Ends ends = find_ends(engine.model().config(), tokenizer, model, &template_);
  ends_ = base_ ? ends.text : ends.turn;
  if (base_) stops_.insert(stops_.end(), std::begin(kNextQuestion), std::end(kNextQuestion));
}

Asker::Prompt Asker::prompt(const Question& question, const std::string& mode) const {
  Prompt out;
  if (base_) {
    UM_CHECK(question.tools.is_null(), "{}: a base model calls no tools", question.id);
    out.ids = encode_prompt(tokenizer_, question.base_prompt);
  } else {
    nlohmann::ordered_json body = {{"messages", question.messages}};
    if (!question.tools.is_null()) body["tools"] = question.tools;
    if (!mode.empty()) body["chat_template_kwargs"] = {{"mode", mode}};
    try {
      ChatRequest request =
          parse_chat_request(Body(body.dump()), {.vocab = engine_.model().config().vocab});
      out.ids = chat_prompt(template_, tokenizer_, request);
      out.tools = std::move(request.tools);
    } catch (const Error& error) {
      fail("{}: {}", question.id, error.what());
    }
  }
  const int64_t context = engine_.options().context;
  UM_CHECK(std::ssize(out.ids) < context, "{}: a prompt of {} tokens, the context has {}",
           question.id, out.ids.size(), context);
  return out;
}

std::shared_ptr<const Answered> Asker::ask(const Prompt& prompt, uint64_t seed,
                                           const AskOptions& options) {
  AnswerOptions text{.stop = stops_, .split = !base_, .tools = !prompt.tools.empty()};
  text.known = prompt.tools;
  const auto sink =
      std::make_shared<Sink>(tokenizer_, marks_, prompt, std::move(text), options.keep_tokens);
  const int64_t room = engine_.options().context - std::ssize(prompt.ids);
  engine_.submit({.prompt = prompt.ids,
                  .sampling = options.sampling,
                  .seed = seed,
                  .max_tokens = std::min(options.max_tokens, room),
                  .eos = ends_,
                  .top_logprobs = options.keep_tokens ? 0 : -1},
                 sink);
  return sink->answered();
}

}  // namespace um
