// See options.h.
#include "server/options.h"

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

constexpr uint64_t kMaxKeyBytes = 4096;

}  // namespace

void ServeOptions::fields(Fields& f) {
  f.add("host", host, "address to listen on; 0.0.0.0 for all", {.min = 1});
  f.add("port", port, "port to listen on; 0 takes a free one", {.min = 0, .max = 65535});
  f.add("api-key", api_key, "clients must send it as `Authorization: Bearer KEY`", {.min = 1});
  f.add("api-key-file", api_key_file, "the same from a file, which `ps` does not show", {.min = 1});
  f.add("allowed-host", allowed_host,
        "names that the server goes by, beside localhost and --host; any name where there is a key",
        {.min = 1});
  f.add("tls-cert", tls_cert, "certificate chain (PEM); then only HTTPS is spoken", {.min = 1});
  f.add("tls-key", tls_key, "its private key (PEM)", {.min = 1});
  f.add("cors", cors, "origins of web pages that may call the server; * for all");
  f.add("model-name", model_name, "name that clients see (default: the directory's)");
  f.add("draft-model", draft_model,
        "small model (directory or .gguf file) of the same tokenizer that writes drafts");
  f.add("mode", mode,
        "how long the model thinks where a request says nothing (default: as it does by itself)",
        {.choices = {"default", "slow", "fast", "auto"}});
  f.add("max-connections", max_connections, "connections at once; more are refused",
        {.min = 1, .max = 8192});
  f.add("max-body-bytes", max_body_bytes, "largest request body", {.min = 1024, .max = 1 << 30});
  f.add("max-header-bytes", max_header_bytes, "largest request head",
        {.min = 1024, .max = 1 << 20});
  f.add("max-unread-bytes", max_unread_bytes, "output a slow reader may leave waiting",
        {.min = 1 << 16, .max = 1 << 30});
  f.add("max-n", max_n, "answers of one request", {.min = 1, .max = 256});
  f.add("stored-responses", stored_responses,
        "responses of /v1/responses that are kept in memory; 0: none",
        {.min = 0, .max = 1'000'000});
  f.add("stored-response-bytes", stored_response_bytes, "what these may take; the oldest ones go",
        {.min = 0, .max = int64_t{1} << 40});
  f.add("read-timeout", read_timeout, "to send a whole request", {.unit = "seconds", .min = 0.1});
  f.add("write-timeout", write_timeout, "that a client may take no output for",
        {.unit = "seconds", .min = 0.1});
  f.add("request-timeout", request_timeout, "for one answer; 0: no limit",
        {.unit = "seconds", .min = 0});
  f.add("drain-timeout", drain_timeout, "that running answers get after SIGTERM",
        {.unit = "seconds", .min = 0});
  f.add("ping", ping, "between comments on a stream that is silent",
        {.unit = "seconds", .min = 0.1});
  f.add("page", page, "the chat page at /");
  f.add("log-level", log_level,
        "requests that get a line on stderr: those that fail here (error), also those refused or "
        "cut off (warning), all (info), all and why they were refused (debug)",
        {.choices = {"error", "warning", "info", "debug"}});
  f.add("quiet", quiet, "the same as --log-level error");
  f.add("cache-tokens", engine.cache_tokens,
        "tokens that the KV cache holds; 0: one context, at least 8192, within half of the free "
        "memory",
        {.min = 0});
  f.add(
      "cache-dtype", cache_dtype,
      "type of the KV cache; auto: bf16, or f32 where the weights are; int8 takes a quarter of f32",
      {.choices = {"auto", "f32", "bf16", "int8"}});
  f.add("expert-memory", expert_memory,
        "memory for routed experts, the others stay on disk; 0: all, or as many as fit",
        {.unit = "GB", .min = 0, .max = 1e6});
  f.add("context", engine.context, "longest prompt with its answer, in tokens; 0: the model's",
        {.min = 0});
  f.add("max-batch", engine.max_batch, "requests in one forward", {.min = 1, .max = 4096});
  f.add("prefill-rows", engine.prefill_rows, "prompt tokens in one forward", {.min = 1});
  f.add("max-queue", engine.max_queue, "waiting requests; more get 429", {.min = 0});
  f.add("draft-tokens", engine.draft_tokens, "drafts per step; -1: as many as MTP heads, 0: none",
        {.min = -1, .max = 16});
  f.add("ngram-drafts", engine.ngram_drafts,
        "drafts from the text so far, for models without MTP heads");
  f.add("prefix-cache", engine.prefix_cache, "reuse the cache of prompts that begin alike");
}

void ServeOptions::resolve() {
  if (!api_key_file.empty()) {
    if (!api_key.empty()) throw UsageError("--api-key and --api-key-file: give one of them");
    api_key = read_file(api_key_file, kMaxKeyBytes);
    while (!api_key.empty() && (api_key.back() == '\n' || api_key.back() == '\r'))
      api_key.pop_back();
    if (api_key.empty()) throw UsageError(fmt::format("{}: holds no key", api_key_file));
  }
  for (const char c : api_key)
    if (c <= ' ' || c > '~')
      throw UsageError(
          "the API key: expected visible ASCII characters without blanks, as HTTP can carry them");
  for (const std::vector<std::string>* names : {&allowed_host, &cors})
    for (const std::string& name : *names)
      if (name.find(',') != std::string::npos)
        throw UsageError(fmt::format("--{} {}: expected one name; give the option once for each",
                                     names == &cors ? "cors" : "allowed-host", name));
  if (quiet) log_level = "error";
  if (tls_cert.empty() != tls_key.empty())
    throw UsageError("--tls-cert and --tls-key: TLS needs both");
}

}  // namespace um
