// Fuzzes the readers of tool calls, each form: text in random pieces gives what it gives as a
// whole, what is left over is the end of the text, and only complete calls have closed arguments.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "server/call_reader.h"
#include "text/utf8.h"

namespace {

using um::CallReader;

/// What a text gives.
struct Outcome {
  CallReader::State state = CallReader::State::kReading;
  std::string calls, rest;
  bool operator==(const Outcome&) const = default;
};

const std::vector<um::Tool>& tools() {
  static const std::vector<um::Tool> tools = {
      {"f", "",
       R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}}})"}};
  return tools;
}

/// Reads `text` in pieces of whole characters, as long as `next_size` says.
template <class NextSize>
Outcome read(const um::CallForm& form, const std::string& text, NextSize next_size) {
  const auto reader = CallReader::make(form, tools());
  Outcome outcome;
  std::vector<std::string> arguments;
  std::vector<bool> complete;
  size_t at = 0;
  while (at < text.size() && outcome.state == CallReader::State::kReading) {
    size_t size = std::min<size_t>(next_size(), text.size() - at);
    while (at + size < text.size() && (text[at + size] & 0xC0) == 0x80) ++size;
    std::vector<um::ToolCallDelta> deltas;
    outcome.state = reader->push(std::string_view(text).substr(at, size), deltas);
    at += size;
    for (const um::ToolCallDelta& delta : deltas) {
      if (!delta.name.empty()) {
        if (delta.index != arguments.size()) std::abort();  // told in order, once
        arguments.emplace_back();
        complete.push_back(false);
        outcome.calls += delta.name + "\n";
      }
      if (delta.index + 1 != arguments.size() || complete.back()) std::abort();
      arguments.back() += delta.arguments;
      complete.back() = delta.complete;
      if (!um::is_utf8(delta.arguments)) std::abort();
    }
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    outcome.calls += arguments[i] + (complete[i] ? "\n" : "…\n");
    if (!complete[i] && um::Json::accept(arguments[i])) std::abort();
  }
  if (!text.substr(0, at).ends_with(reader->rest())) std::abort();
  outcome.rest = std::string(reader->rest()) + text.substr(at);
  return outcome;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  const std::vector<um::Call> calls = {{"f", {{"a", "x \"y\" é\n"}, {"b", 3}}}, {"f", {{"a", ""}}}};
  for (size_t i = 0; i < um::call_forms().size(); ++i) {
    const um::CallForm& form = um::call_forms()[i];
    std::string text = um::write_calls(form, calls);
    text.erase(0, text.find(form.opener()) + form.opener().size());
    seeds.push_back(std::string(1, static_cast<char>(i)) + "\x07" + text);
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const um::CallForm& form = um::call_forms()[data[0] % um::call_forms().size()];
  const std::string text = um::repair_utf8({reinterpret_cast<const char*>(data) + 2, size - 2});
  uint32_t seed = data[1];
  const auto small = [&] { return 1 + ((seed = seed * 1664525 + 1013904223) >> 28); };
  const Outcome pieces = read(form, text, small);
  const Outcome whole = read(form, text, [&] { return text.size(); });
  if (pieces != whole) std::abort();
  return 0;
}
