// chat/completions and completions: from a request to engine requests, and back to the client.
#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/score.h"
#include "server/api_error.h"
#include "server/field_reader.h"
#include "server/messages.h"
#include "server/prompt.h"
#include "server/responses.h"
#include "server/routes.h"

namespace um {
namespace {

using Clock = Channel::Clock;

/// How often a waiting connection looks whether its client is still there.
constexpr auto kLook = std::chrono::milliseconds(250);

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

ReplyHead make_head(const Service& service, std::string_view prefix) {
  return {.id = random_id(prefix),
          .model = service.name(),
          .created = seconds_now(),
          .moe_layers = service.model().trunk_moe_layers(),
          .top_k = service.model().config().moe.top_k};
}

/// Waits for the answers of one request; what both kinds of reply share.
class Waiter {
 public:
  Waiter(Service& service, const HttpRequest& request, std::shared_ptr<OpenAnswers> generation)
      : service_(service), gone_(request.client_gone), generation_(std::move(generation)) {
    const double limit = service.options().request_timeout;
    deadline_ = limit > 0 ? Clock::now() + seconds(limit) : Clock::time_point::max();
  }

  bool finished() const { return finished_ == generation_->answers(); }
  bool client_gone() const { return client_gone_; }

  /// What came, perhaps nothing. Throws ApiError if the request has failed.
  std::vector<Channel::Entry> next() {
    auto entries = generation_->channel().fetch(std::min(deadline_, look_));
    for (const Channel::Entry& entry : entries) {
      if (!entry.update.finished) continue;
      ++finished_;
      if (entry.update.reason == FinishReason::error) throw ApiError(500, entry.update.error);
      if (entry.update.reason == FinishReason::cancelled)
        throw ApiError(503, "the request was cancelled");
    }
    if (generation_->channel().overflowed()) client_gone_ = true;  // it reads too slowly
    if (!finished() && Clock::now() >= look_) look();
    return entries;
  }

 private:
  Service& service_;
  std::function<bool()> gone_;
  std::shared_ptr<OpenAnswers> generation_;
  /// Whether anybody waits for the rest, and may.
  void look() {
    const auto now = Clock::now();
    look_ = now + kLook;
    client_gone_ = client_gone_ || gone_();
    if (now >= deadline_)
      throw ApiError(
          504, fmt::format("the answer took more than {} s", service_.options().request_timeout));
    if (service_.state() == Service::State::kStopped)
      throw ApiError(503, "the server is shutting down");
  }

  Clock::time_point deadline_, look_ = Clock::now() + kLook;
  size_t finished_ = 0;
  bool client_gone_ = false;
};

void answer_whole(HttpResponse& response, Waiter waiter, Reply& reply) {
  while (!waiter.finished()) {
    for (Channel::Entry& entry : waiter.next()) reply.gather(entry.answer, std::move(entry.update));
    if (waiter.client_gone()) {
      response.status = 499;  // nobody will read it
      return;
    }
  }
  set_json(response, reply.whole());
}

/// Writes server-sent events.
class Events {
 public:
  Events(const HttpWriter& write, double ping) : write_(write), ping_(seconds(ping)) {}

  bool good() const { return good_; }
  void send(const std::string& text) {
    good_ = good_ && write_(text);
    last_ = Clock::now();
  }
  void ping() {
    if (Clock::now() >= last_ + ping_) send(": ping\n\n");
  }

 private:
  const HttpWriter& write_;
  Clock::duration ping_;
  Clock::time_point last_ = Clock::now();
  bool good_ = true;
};

/// False if the client went away. An error behind the first token is an event, and `failure` what
/// the log says of it.
bool answer_stream(const HttpWriter& write, Waiter waiter, Reply& reply, size_t answers,
                   double ping, bool include_usage, HttpNote& failure) {
  Events events(write, ping);
  for (const Json& chunk : reply.opening(answers)) events.send(reply.event(chunk));
  try {
    while (!waiter.finished() && events.good()) {
      for (Channel::Entry& entry : waiter.next())
        for (const Json& chunk : reply.chunks(entry.answer, std::move(entry.update)))
          events.send(reply.event(chunk));
      if (waiter.client_gone()) return false;
      events.ping();
    }
    if (include_usage) events.send(reply.event(reply.usage_chunk()));
  } catch (const ApiError& error) {
    failure = {" " + error.log_note(), error.status()};
    events.send(reply.event(reply.failure(error)));
  }
  events.send(reply.ending());
  return events.good();
}

AnswerOptions text_options(const GenerationParams& params) {
  return {.stop = params.stop,
          .min_tokens = params.min_tokens,
          .skip_special = params.skip_special,
          .split = false};
}

bool wants_tokens(const GenerationParams& params) {
  return params.top_logprobs >= 0 || params.return_token_ids;
}

}  // namespace

void answer(Service& service, const HttpRequest& request, HttpResponse& response,
            const GenerationParams& params, std::vector<AnswerRequest> prompts,
            std::shared_ptr<Reply> reply) {
  const std::shared_ptr<OpenAnswers> generation = service.generate(params, std::move(prompts));
  Waiter waiter(service, request, generation);
  const auto failure = std::make_shared<HttpNote>();
  response.note = [reply, failure] {
    return HttpNote{reply->log_note() + failure->text, failure->failure};
  };
  if (!params.stream) return answer_whole(response, std::move(waiter), *reply);
  response.content_type = "text/event-stream";
  response.headers.emplace_back("Cache-Control", "no-cache");
  response.headers.emplace_back("X-Accel-Buffering", "no");  // for proxies of the nginx kind
  response.stream = [waiter = std::move(waiter), reply = std::move(reply), failure,
                     answers = generation->answers(), ping = service.options().ping,
                     usage = params.include_usage](const HttpWriter& write) {
    return answer_stream(write, waiter, *reply, answers, ping, usage, *failure);
  };
}

void read_texts(Service& service, const HttpRequest& request, std::span<const Reading> texts) {
  // All at once could be more than the queue takes.
  const auto most = static_cast<size_t>(service.options().engine.max_batch);
  while (!texts.empty()) {
    const size_t count = std::min(most, texts.size());
    Waiter waiter(service, request, service.read(texts.first(count)));
    texts = texts.subspan(count);
    while (!waiter.finished()) {
      waiter.next();
      if (waiter.client_gone()) throw ApiError(499, "the client has gone");
    }
  }
}

namespace {

AnswerRequest chat_answer(Service& service, const ChatRequest& chat) {
  AnswerRequest prompt;
  prompt.prompt = chat_prompt(service.chat_template(), service.bounded_tokenizer(), chat);
  prompt.field = "messages";
  prompt.chat = true;
  prompt.include_stop = chat.params.include_stop;
  prompt.want_tokens = wants_tokens(chat.params);
  prompt.text = text_options(chat.params);
  prompt.text.split = true;
  prompt.text.tools = chat.tool_choice.kind != ToolChoice::kNone;
  prompt.text.parallel_tools = chat.parallel_tool_calls;
  prompt.text.known = chat.tools;
  const ChatMarks& marks = service.marks();
  bool thinking = marks.opens_thinking(service.tokenizer(), prompt.prompt);
  // No constraint can wait for an end that is plain text: what is held to a form begins behind it.
  if (thinking && marks.think_close < 0 && chat.held()) {
    const auto end = service.tokenizer().encode("\n" + marks.think_close_text + "\n\n");
    prompt.prompt.insert(prompt.prompt.end(), end.begin(), end.end());
    thinking = false;
  }
  prompt.constraint = service.formats().of_chat(chat, thinking);
  return prompt;
}

Body read_messages(const HttpRequest& request, const Body& body) {
  const std::string beta = request.header("Anthropic-Beta");
  return chat_body_of_messages(body, beta.find("interleaved-thinking") != std::string::npos);
}

std::shared_ptr<const ChatRequest> read_chat(const Service& service, const Body& body) {
  return std::make_shared<const ChatRequest>(parse_chat_request(body, service.limits()));
}

}  // namespace

void route_chat(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const auto chat = read_chat(service, Body(request.body));
  AnswerRequest prompt = chat_answer(service, *chat);
  auto reply =
      std::make_shared<ChatReply>(make_head(service, "chatcmpl-"), service.tokenizer(), chat);
  answer(service, request, response, chat->params, {std::move(prompt)}, std::move(reply));
}

void route_messages(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Body body(request.body);
  if (field_of(body.json, "max_tokens") == nullptr) bad_field("max_tokens", "missing");
  const Body chat_body = read_messages(request, body);
  try {
    const auto chat = read_chat(service, chat_body);
    AnswerRequest prompt = chat_answer(service, *chat);
    auto reply = std::make_shared<MessagesReply>(make_head(service, "msg_"), service.tokenizer(),
                                                 chat, std::ssize(prompt.prompt));
    answer(service, request, response, chat->params, {std::move(prompt)}, std::move(reply));
  } catch (const ApiError& error) {
    throw messages_names(error, body.json);
  }
}

void route_count_tokens(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Body body(request.body);
  const Body chat_body = read_messages(request, body);
  try {
    const auto chat = read_chat(service, chat_body);
    const auto ids = chat_prompt(service.chat_template(), service.tokenizer(), *chat);
    set_json(response, {{"input_tokens", ids.size()}});
  } catch (const ApiError& error) {
    throw messages_names(error, body.json);
  }
}

namespace {

/// The chat that a Responses request asks for. Of one that may be shortened and is too long,
/// without as few of the first turns as will do; there is to be room for an answer.
std::shared_ptr<const ChatRequest> read_responses_chat(const Service& service, const Body& body,
                                                       const ResponsesRequest& request) {
  const auto chat_without = [&](size_t skip) {
    return read_chat(service, chat_body_of_responses(body, request, skip));
  };
  const int64_t context = service.context();
  const auto length = [&](const ChatRequest& chat) {
    return std::ssize(chat_prompt(service.chat_template(), service.tokenizer(), chat));
  };
  auto chat = chat_without(0);
  const size_t turns = user_turns(request);
  if (!request.truncate || turns < 2 || length(*chat) < context) return chat;
  const int64_t asked = chat->params.max_tokens;
  const int64_t room = asked < 0 ? context / 4 : std::min(asked, context / 2);
  size_t low = 1, high = turns - 1;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (length(*chat_without(middle)) + room <= context)
      high = middle;
    else
      low = middle + 1;
  }
  return chat_without(low);
}

}  // namespace

void route_responses(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Body body(request.body);
  try {
    ResponsesRequest own = parse_responses_request(body, service.responses());
    const auto chat = read_responses_chat(service, body, own);
    repeat_fields(own, body);
    AnswerRequest prompt = chat_answer(service, *chat);
    auto reply = std::make_shared<ResponsesReply>(make_head(service, "resp_"), service.tokenizer(),
                                                  chat, std::move(own), service.responses());
    answer(service, request, response, chat->params, {std::move(prompt)}, std::move(reply));
  } catch (const ApiError& error) {
    throw responses_error(error, body.json);
  }
}

void route_count_responses(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Body body(request.body);
  try {
    const ResponsesRequest own = parse_responses_request(body, service.responses());
    const auto chat = read_responses_chat(service, body, own);
    const auto ids = chat_prompt(service.chat_template(), service.bounded_tokenizer(), *chat);
    set_json(response, {{"object", "response.input_tokens"}, {"input_tokens", ids.size()}});
  } catch (const ApiError& error) {
    throw responses_error(error, body.json);
  }
}

void route_completions(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Body body(request.body);
  const auto completion =
      std::make_shared<const CompletionRequest>(parse_completion_request(body, service.limits()));
  const Tokenizer& tokenizer = service.tokenizer();
  const Tokenizer bounded = service.bounded_tokenizer();
  const bool ends = completion->add_special_tokens;
  const EncodeOptions encode = {.add_bos = ends && tokenizer.add_bos(),
                                .add_eos = ends && tokenizer.add_eos(),
                                .parse_special = completion->parse_special};
  std::vector<AnswerRequest> prompts;
  std::vector<Echo> echoes;
  std::vector<Reading> readings;
  std::vector<std::shared_ptr<TokenScores>> scores;
  for (const CompletionRequest::Prompt& given : completion->prompts) {
    AnswerRequest prompt;
    prompt.prompt = given.is_text ? bounded.encode(given.text, encode) : given.ids;
    prompt.include_stop = completion->params.include_stop;
    prompt.want_tokens = wants_tokens(completion->params);
    prompt.text = text_options(completion->params);
    prompt.constraint = service.formats().of_completion(completion->params);
    Echo echo;
    if (completion->echo) {
      echo.text = given.is_text ? given.text : tokenizer.decode(given.ids);
      echo.verbatim = given.is_text;
      if (completion->params.top_logprobs >= 0) {
        scores.push_back(std::make_shared<TokenScores>(service.model(), prompt.prompt,
                                                       completion->params.top_logprobs));
        readings.push_back({prompt.prompt, prompt.field, scores.back()});
      }
    }
    echoes.insert(echoes.end(), static_cast<size_t>(completion->params.n), echo);
    prompts.push_back(std::move(prompt));
  }
  read_texts(service, request, readings);
  for (size_t i = 0; i < echoes.size() && !scores.empty(); ++i)
    echoes[i].tokens = scores[i / static_cast<size_t>(completion->params.n)]->scores();
  auto reply = std::make_shared<CompletionReply>(make_head(service, "cmpl-"), tokenizer, completion,
                                                 std::move(echoes));
  answer(service, request, response, completion->params, std::move(prompts), std::move(reply));
}

}  // namespace um
