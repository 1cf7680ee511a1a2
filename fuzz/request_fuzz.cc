// Fuzz target: request bodies of every endpoint. Generated tool calls: answer_fuzz.cc.
#include <cstdint>
#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/call_rules.h"
#include "server/cut_json.h"
#include "server/messages.h"
#include "server/prompt.h"
#include "server/responses.h"
#include "text/utf8.h"

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"é"}]},
{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
{"role":"tool","content":"3"}],"temperature":0.5,"n":2,"stop":["a","b"],"seed":-3,"logprobs":true,"top_logprobs":2,
"stream":true,"stream_options":{"include_usage":true},"logit_bias":{"5":-100},"max_tokens":7.0,
"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","$defs":{"x":{}}}}}],
"tool_choice":{"type":"function","function":{"name":"f"}},"reasoning_effort":"low",
"chat_template_kwargs":{"enable_thinking":false,"mode":"auto"}})",
      R"({"prompt":["a",[1,2]],"echo":true,"logprobs":null,"response_format":{"type":"json_schema","json_schema":{"schema":{"b":1}}}})",
      R"({"prompt":[1,2,3],"guided_json":"{\"type\":\"object\"}","structured_outputs":{"choice":["a"]}})",
      R"({"system":[{"type":"text","text":"s"}],"max_tokens":5,"stop_sequences":["x"],"thinking":{"type":"enabled","budget_tokens":9},
"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"},
{"type":"tool_use","id":"1","name":"f","input":{"b":[1]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1",
"content":[{"type":"text","text":"r"}]},{"type":"text","text":"é"}]}],"output_config":{"format":{"type":"json_schema","schema":{}}}})",
      R"({"input":[{"role":"developer","content":"s"},{"type":"message","role":"user","content":[{"type":"input_text","text":"é"}]},
{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"t"}]},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},
{"type":"function_call_output","call_id":"1","output":"3"}],"instructions":"i","max_output_tokens":9,"truncation":"auto","metadata":{"a":"b"},
"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],"include":["message.output_text.logprobs"],"top_logprobs":1,
"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]},"reasoning":{"effort":"low","summary":"auto"},
"text":{"format":{"type":"json_schema","name":"x","schema":{}}}})",
      R"([{"name":"f","arguments":{"a":[1,"}\""]}},{"parameters":"{}","name":"g"}])"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const um::RequestLimits limits{.vocab = 100};
  try {
    const um::Body body(text);
    try {
      const um::ChatRequest chat = um::parse_chat_request(body, limits);
      if (!um::is_utf8(um::chat_prompt_text(chat))) __builtin_trap();
      if (chat.input.messages.size() != chat.messages.size()) __builtin_trap();
      for (const um::CallForm& form : um::call_forms())
        um::call_rules(form, chat.tools, chat.tool_choice, chat.parallel_tool_calls, false);
    } catch (const um::ApiError&) {
    }
    try {
      um::parse_chat_request(um::chat_body_of_messages(body), limits);
    } catch (const um::ApiError& error) {
      if (error.status() != 400) __builtin_trap();
    }
    try {
      const um::ResponsesRequest request =
          um::parse_responses_request(body, um::ResponseStore(1, 1 << 20));
      for (size_t skip = 0; skip < 2; ++skip)
        um::parse_chat_request(um::chat_body_of_responses(body, request, skip), limits);
    } catch (const um::ApiError& error) {
      if (um::responses_error(error, body.json).status() != 400) __builtin_trap();
    }
    um::parse_completion_request(body, limits);
  } catch (const um::ApiError& error) {
    if (error.status() != 400) __builtin_trap();
    error.body().dump();
  }
  if (!um::finished_members(text).is_object()) __builtin_trap();
  return 0;
}
