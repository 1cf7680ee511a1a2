// Fuzzes records of conversations in all their forms: each is read or refused with an Error, an
// answer that is to be learnt is the assistant's, and what is read is a request that is read or
// refused in its turn.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ordered_json.h"
#include "post/chat_records.h"
#include "server/request.h"
#include "text/utf8.h"

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"<think>b</think>c","weight":1}],"mode":"fast"})",
      R"({"functions":[{"name":"f"}],"messages":[{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},
{"role":"function","name":"f","content":"1"}],"chat_template_kwargs":{"enable_thinking":false},"reasoning_effort":"low"})",
      R"({"system":"s","tools":"[{\"name\":\"f\"}]","conversations":[{"from":"human","value":"a"},
{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{}}"},{"from":"observation","value":"1"},
{"from":"gpt","value":"b <tool_call>{\"name\":\"f\"}</tool_call>","weight":0}]})",
      R"({"instruction":"i","input":"x","output":"o","history":[["q","a"]]})",
      R"({"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]})",
      R"({"prompt":"p","completion":"c"})",
      R"({"question":"q","answer":"a"})",
      R"({"text":"t"})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    um::Record record = um::read_record(um::parse_ordered_json(um::repair_json(text), "fuzz"));
    auto* chat = std::get_if<um::ChatRecord>(&record);
    if (chat == nullptr) return 0;
    um::split_thinking(*chat);
    const um::OrderedJson& messages = chat->body["messages"];
    if (messages.size() != chat->learnt.size()) std::abort();
    for (size_t i = 0; i < messages.size(); ++i)
      if (chat->learnt[i] && messages[i]["role"] != "assistant") std::abort();
    um::parse_chat_request(um::Body(chat->body.dump()), {});
  } catch (const um::Error&) {
  }
  return 0;
}
