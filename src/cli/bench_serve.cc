// `ultramoe bench serve`: drives a running server as its clients would: requests arrive at random
// (Poisson), prompts and answers have the lengths of a mix, and what users feel is measured. Or it
// gives the same requests to an engine in this process, to see what the server costs.
#include <httplib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <mutex>
#include <thread>

#include "cli/arguments.h"
#include "cli/bench_measure.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "engine/engine.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace um {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string url = "http://127.0.0.1:8000", api_key;
  std::string model;  ///< in this process, in place of the server
  int64_t requests = 64, concurrency = 256, seed = 1;
  double rate = 0;
  std::vector<int64_t> prompts = {32, 128, 512}, answers = {32, 128};
  double first_limit = 1.0, next_limit = 0.1;
  double shared = 0;
  bool json = false;
};

/// What one request felt like, in seconds from when it was due.
struct Sample {
  std::string error;
  int64_t prompt = 0, tokens = 0;
  double first = 0, total = 0, last = 0;  // last: of the tokens so far
  std::vector<double> gaps;               // between tokens, one each

  /// Tokens that came at once share the time since the last ones.
  void add(size_t count, double now) {
    if (count == 0) return;
    size_t later = count;
    if (tokens == 0) {
      first = now;
      later -= 1;
    }
    for (size_t i = 0; i < later; ++i) gaps.push_back((now - last) / static_cast<double>(later));
    tokens += static_cast<int64_t>(count);
    last = now;
  }
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

httplib::Headers headers_of(const Options& options) {
  if (options.api_key.empty()) return {};
  return {{"Authorization", "Bearer " + options.api_key}};
}

/// What answers the requests.
class Target {
 public:
  virtual ~Target() = default;
  virtual std::string name() const = 0;
  virtual int64_t vocab() const = 0;
  virtual int64_t context() const = 0;  ///< 0: not known
  /// Waits for the whole answer.
  virtual Sample ask(std::vector<int32_t> prompt, int64_t tokens, Clock::time_point due) = 0;
};

/// Reads server-sent events and takes their times.
class Listener {
 public:
  Listener(Clock::time_point due, Sample& sample) : due_(due), sample_(sample) {}

  bool take(std::string_view data) {
    held_ += data;
    for (size_t end; (end = held_.find('\n')) != std::string::npos; held_.erase(0, end + 1))
      line(std::string_view(held_).substr(0, end));
    return sample_.error.empty();
  }
  bool done() const { return done_; }

 private:
  void line(std::string_view text) {
    if (!text.starts_with("data: ")) return;
    text.remove_prefix(6);
    if (text == "[DONE]") {
      done_ = true;
      return;
    }
    const Json chunk = Json::parse(text, nullptr, false);
    if (!chunk.is_object() || chunk.contains("error")) {
      sample_.error = chunk.is_object() ? chunk["error"].dump() : "a chunk is not JSON";
      return;
    }
    if (!chunk.contains("choices") || chunk["choices"].empty()) return;
    const Json& choice = chunk["choices"][0];
    const bool counted = choice.contains("token_ids") && choice["token_ids"].is_array();
    const size_t tokens =
        counted ? choice["token_ids"].size() : static_cast<size_t>(choice.value("text", "") != "");
    sample_.add(tokens, seconds_since(due_));
  }

  Clock::time_point due_;
  Sample& sample_;
  std::string held_;
  bool done_ = false;
};

/// A server at a URL.
class Server : public Target {
 public:
  explicit Server(const Options& options) : options_(options) {
    httplib::Client client(options.url);
    UM_CHECK(client.is_valid(), "{}: not a URL of a server", options.url);
    client.set_connection_timeout(10);
    const auto result = client.Get("/v1/models", headers_of(options));
    UM_CHECK(result, "{}: cannot be reached ({}); is a server running there?", options.url,
             httplib::to_string(result.error()));
    UM_CHECK(result->status == 200, "{}: GET /v1/models: status {}", options.url, result->status);
    const Json json = parse_json(result->body, options.url);
    const Json& model = json.at("data").at(0);
    if (model.contains("meta")) vocab_ = model["meta"].value("n_vocab", vocab_);
    context_ = model.value("max_model_len", context_);
  }
  std::string name() const override { return options_.url; }
  int64_t vocab() const override { return vocab_; }
  int64_t context() const override { return context_; }

  Sample ask(std::vector<int32_t> prompt, int64_t tokens, Clock::time_point due) override {
    Sample sample;
    sample.prompt = std::ssize(prompt);
    httplib::Client client(options_.url);
    client.set_connection_timeout(30);
    client.set_read_timeout(600);
    client.set_tcp_nodelay(true);
    Listener listener(due, sample);
    httplib::Request request;
    request.method = "POST";
    request.path = "/v1/completions";
    request.headers = headers_of(options_);
    request.set_header("Content-Type", "application/json");
    request.body = Json{{"prompt", prompt},   {"max_tokens", tokens},     {"temperature", 0},
                        {"ignore_eos", true}, {"return_token_ids", true}, {"stream", true}}
                       .dump();
    std::string refusal;
    request.response_handler = [](const httplib::Response&) { return true; };
    request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
      if (refusal.size() < 1000) refusal.append(data, std::min<size_t>(size, 1000));
      return listener.take({data, size});
    };
    const httplib::Result result = client.send(request);
    sample.total = seconds_since(due);
    if (sample.error.empty() && !result) sample.error = httplib::to_string(result.error());
    if (sample.error.empty() && result->status != 200)
      sample.error = fmt::format("status {}: {}", result->status, quote(refusal));
    if (sample.error.empty() && !listener.done()) sample.error = "the stream ended early";
    return sample;
  }

 private:
  const Options& options_;
  int64_t vocab_ = 256, context_ = 0;
};

/// An engine in this process, as the server has one.
///
/// The model is loaded on the engine's thread: OpenMP gives each thread that forks workers of its
/// own, and with more of them than cores they sleep between regions instead of spinning.
class LocalEngine : public Target {
 public:
  LocalEngine(const Options& options, Device& device) : name_(options.model) {
    const auto ready = std::make_shared<std::promise<void>>();
    thread_ = std::thread([this, ready, &device] {
      try {
        model_ = load_model(find_model(name_), device, nullptr, std::nullopt);
        engine_ = std::make_unique<Engine>(*model_, EngineOptions{});
      } catch (...) {
        ready->set_exception(std::current_exception());
        return;
      }
      ready->set_value();
      engine_->run();
    });
    try {
      ready->get_future().get();
    } catch (...) {
      thread_.join();
      throw;
    }
  }
  LocalEngine(const LocalEngine&) = delete;
  ~LocalEngine() override {
    engine_->stop();
    thread_.join();
  }
  std::string name() const override { return name_; }
  int64_t vocab() const override { return model_->config().vocab; }
  int64_t context() const override { return engine_->options().context; }

  Sample ask(std::vector<int32_t> prompt, int64_t tokens, Clock::time_point due) override {
    const auto sink = std::make_shared<Sink>(due);
    sink->sample.prompt = std::ssize(prompt);
    engine_->submit(
        {.prompt = std::move(prompt), .sampling = {.temperature = 0}, .max_tokens = tokens}, sink);
    sink->done.get_future().wait();
    sink->sample.total = seconds_since(due);
    return sink->sample;
  }

 private:
  struct Sink : RequestSink {
    explicit Sink(Clock::time_point begin) : due(begin) {}
    size_t on_tokens(std::span<const TokenOutput> outputs) override {
      sample.add(outputs.size(), seconds_since(due));
      return outputs.size();
    }
    void on_finish(FinishReason, const RequestStats&, std::string_view error) override {
      sample.error = error;
      done.set_value();
    }
    Clock::time_point due;
    Sample sample;
    std::promise<void> done;
  };

  const std::string name_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  std::thread thread_;
};

/// Value below which the share `p` of the sorted values lies.
double percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - std::floor(at)) * (sorted[high] - sorted[low]);
}

struct Summary {
  std::vector<double> first, gaps, total;
  int64_t good = 0, in_limit = 0, prompt = 0, tokens = 0;
  std::string error;
};

Summary summarize(const Options& options, const std::vector<Sample>& samples) {
  Summary summary;
  for (const Sample& sample : samples) {
    if (!sample.error.empty() || sample.tokens == 0) {
      summary.error = sample.error.empty() ? "no token came" : sample.error;
      continue;
    }
    ++summary.good;
    summary.prompt += sample.prompt;
    summary.tokens += sample.tokens;
    summary.first.push_back(sample.first);
    summary.total.push_back(sample.total);
    double mean = 0;
    for (const double gap : sample.gaps) mean += gap / static_cast<double>(sample.gaps.size());
    summary.gaps.insert(summary.gaps.end(), sample.gaps.begin(), sample.gaps.end());
    summary.in_limit += sample.first <= options.first_limit && mean <= options.next_limit ? 1 : 0;
  }
  for (auto* values : {&summary.first, &summary.gaps, &summary.total})
    std::sort(values->begin(), values->end());
  return summary;
}

void print(const Options& options, const std::string& target, const Summary& summary,
           int64_t failed, double seconds) {
  const auto per_s = [&](int64_t count) { return static_cast<double>(count) / seconds; };
  if (options.json) {
    const auto spread = [](const std::vector<double>& values) {
      return nlohmann::ordered_json{{"p50", percentile(values, 0.5)},
                                    {"p95", percentile(values, 0.95)},
                                    {"p99", percentile(values, 0.99)}};
    };
    print_json({{"target", target},
                {"requests", summary.good},
                {"failed", failed},
                {"seconds", seconds},
                {"rate", options.rate},
                {"requests_per_s", per_s(summary.good)},
                {"output_tokens_per_s", per_s(summary.tokens)},
                {"total_tokens_per_s", per_s(summary.tokens + summary.prompt)},
                {"ttft_s", spread(summary.first)},
                {"itl_s", spread(summary.gaps)},
                {"e2e_s", spread(summary.total)},
                {"goodput_requests_per_s", per_s(summary.in_limit)},
                {"ttft_limit_s", options.first_limit},
                {"itl_limit_s", options.next_limit}});
    return;
  }
  fmt::print("{} requests in {}, {} failed\n", summary.good, duration_text(seconds), failed);
  fmt::print("throughput  {:.2f} requests/s, {:.1f} tokens/s out, {:.1f} tokens/s in and out\n",
             per_s(summary.good), per_s(summary.tokens), per_s(summary.tokens + summary.prompt));
  fmt::print("goodput     {:.2f} requests/s with the first token within {} s and {} s a token\n",
             per_s(summary.in_limit), options.first_limit, options.next_limit);
  fmt::print("{:<22}{:>10}{:>10}{:>10}\n", "", "p50", "p95", "p99");
  const auto row = [](const char* name, const std::vector<double>& values) {
    fmt::print("{:<22}{:>8.1f}ms{:>8.1f}ms{:>8.1f}ms\n", name, 1e3 * percentile(values, 0.5),
               1e3 * percentile(values, 0.95), 1e3 * percentile(values, 0.99));
  };
  row("time to first token", summary.first);
  row("between tokens", summary.gaps);
  row("whole request", summary.total);
}

void bench_serve(const Options& options, Device& device) {
  std::unique_ptr<Target> target;
  if (options.model.empty())
    target = std::make_unique<Server>(options);
  else
    target = std::make_unique<LocalEngine>(options, device);
  const int64_t vocab = target->vocab(), context = target->context();
  const RandomStream random(static_cast<uint64_t>(options.seed), hash_name("bench serve"));
  uint64_t drawn = 0;
  const auto pick = [&](const std::vector<int64_t>& list) {
    return list[random.bits(drawn++) % list.size()];
  };
  std::vector<Sample> samples(static_cast<size_t>(options.requests));
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable room;
  int64_t open = 0;
  const auto start = Clock::now();
  auto due = start;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (options.rate > 0)
      due += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
          -std::log(1 - 0.999999 * random.uniform(drawn++)) / options.rate));
    const int64_t tokens = pick(options.answers);
    int64_t length = pick(options.prompts);
    if (context > 0) length = std::max<int64_t>(1, std::min(length, context - tokens - 1));
    std::vector<int32_t> prompt(static_cast<size_t>(length));
    const auto common = static_cast<size_t>(options.shared * static_cast<double>(length));
    for (size_t t = 0; t < prompt.size(); ++t)
      prompt[t] = static_cast<int32_t>((t < common ? t * 7919 : random.bits(drawn++)) %
                                       static_cast<uint64_t>(vocab));
    std::unique_lock lock(mutex);
    room.wait(lock, [&] { return open < options.concurrency; });
    ++open;
    lock.unlock();
    std::this_thread::sleep_until(due);
    const auto counted_from = options.rate > 0 ? due : Clock::now();
    threads.emplace_back([&, i, tokens, counted_from, prompt = std::move(prompt)]() mutable {
      samples[i] = target->ask(std::move(prompt), tokens, counted_from);
      const std::lock_guard done(mutex);
      --open;
      room.notify_one();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = seconds_since(start);
  const Summary summary = summarize(options, samples);
  const int64_t failed = options.requests - summary.good;
  if (failed > 0) fmt::print(stderr, "{} requests failed: {}\n", failed, summary.error);
  UM_CHECK(summary.good > 0, "no request succeeded");
  print(options, target->name(), summary, failed, seconds);
}

}  // namespace

void add_bench_serve(CLI::App& family, Globals& globals) {
  CLI::App* command = add_command(family, "serve", "load on a running server", globals);
  auto options = std::make_shared<Options>();
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command->add_option(name, value, help)->capture_default_str();
  };
  CLI::Option* url = add("--url", options->url, "the server");
  add("--model", options->model, "no server: the model in this process, to see what HTTP costs")
      ->excludes(url);
  add("--api-key", options->api_key, "its key");
  add("--requests", options->requests, "requests in all")->check(CLI::Range(1, 1000000));
  add("--rate", options->rate,
      "requests per second, at random times (0: as fast as --concurrency lets)")
      ->check(finite_number(0, kNoLimit));
  add("--concurrency", options->concurrency, "requests open at once, at most")
      ->check(CLI::Range(1, 900));
  add("--prompt-tokens", options->prompts, "lengths of prompts, drawn from evenly")->delimiter(',');
  add("--answer-tokens", options->answers, "lengths of answers, drawn from evenly")->delimiter(',');
  add("--shared-prefix", options->shared, "share of each prompt that all prompts begin with")
      ->check(finite_number(0, 1));
  add("--ttft-limit", options->first_limit, "goodput: seconds to the first token, at most")
      ->check(finite_number(0, kNoLimit));
  add("--itl-limit", options->next_limit, "goodput: seconds per token after it, on average")
      ->check(finite_number(0, kNoLimit));
  add("--seed", options->seed, "of arrivals and prompts");
  add_json_flag(command, options->json);
  run_with(command, globals, [options, &globals] { bench_serve(*options, globals.device()); });
}

}  // namespace um
