// Values of wrong types at every place of every kind of request: taken, or refused with 400 by the
// name of the field; nothing else is thrown.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "server/api_error.h"
#include "server/messages.h"
#include "server/request.h"
#include "server/responses.h"

namespace um {
namespace {

const RequestLimits kLimits{.sampling = {.temperature = 0.7}, .vocab = 400};

const char* const kTools = R"([{"type": "function", "function": {"name": "f", "description": "d",
    "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}])";

/// A kind of request: a body with many fields, and what reads it.
struct Route {
  std::string name;
  Json body;
  std::function<void(const std::string&)> read;
};

const char* const kShared = R"(, "stream": true, "stream_options": {"include_usage": true},
    "temperature": 1, "top_p": 1, "min_p": 0, "top_k": 1, "typical_p": 1, "seed": 1, "stop": ["a"],
    "stop_token_ids": [1], "logit_bias": {"1": 1}, "allowed_token_ids": [1], "bad_words": ["a"],
    "n": 1, "best_of": 1, "min_tokens": 0, "ignore_eos": false, "skip_special_tokens": true,
    "priority": 0, "repetition_penalty": 1, "structured_outputs": {"json": {"type": "object"}}})";

Route chat_route() {
  const std::string text =
      R"({"messages": [{"role": "system", "content": [{"type": "text", "text": "a"}]},
      {"role": "user", "content": "hi", "name": "n"}, {"role": "assistant", "content": null,
       "reasoning_content": "r", "tool_calls": [{"id": "c", "type": "function", "function":
       {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "x"}],
      "tools": )" +
      std::string(kTools) +
      R"(, "tool_choice": {"type": "function", "function": {"name": "f"}},
      "parallel_tool_calls": true, "reasoning": {"effort": "low", "enabled": true},
      "chat_template_kwargs": {"mode": "slow", "thinking_budget": 3, "enable_thinking": true},
      "reasoning_effort": "low", "thinking_token_budget": 3, "include_reasoning": true,
      "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
      "add_generation_prompt": true, "logprobs": true, "top_logprobs": 1, "max_tokens": 3,
      "max_completion_tokens": 3, "continue_final_message": false)" +
      kShared;
  return {"chat", Json::parse(text),
          [](const std::string& body) { parse_chat_request(Body(body), kLimits); }};
}

/// The chat with the other object that `tool_choice` may be.
Route allowed_tools_route() {
  Route route = chat_route();
  route.body["tool_choice"] = Json::parse(R"({"type": "allowed_tools", "allowed_tools":
      {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}})");
  return route;
}

Route completion_route() {
  return {"completions",
          Json::parse(R"({"prompt": [[1, 2]], "echo": true, "logprobs": 1, "max_tokens": 3,
              "add_special_tokens": true, "parse_special": true, "suffix": "")" +
                      std::string(kShared)),
          [](const std::string& body) { parse_completion_request(Body(body), kLimits); }};
}

void read_responses(const std::string& text) {
  ResponseStore store(3, 20'000);
  const Body body(text);
  try {
    ResponsesRequest request = parse_responses_request(body, store);
    parse_chat_request(chat_body_of_responses(body, request), kLimits);
    repeat_fields(request, body);
  } catch (const ApiError& error) {
    throw responses_error(error, body.json);
  }
}

Route responses_route() {
  return {"responses", Json::parse(R"({"input": [
      {"type": "message", "id": "m", "status": "completed", "role": "user",
       "content": [{"type": "input_text", "text": "hi"}]},
      {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
       "content": [{"type": "reasoning_text", "text": "r"}]},
      {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "c", "output": "x"}, {"role": "user",
       "content": "x"}],
      "instructions": "i", "max_output_tokens": 3, "store": false, "stream": true,
      "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
               "verbosity": "low"},
      "tools": [{"type": "function", "name": "f", "description": "d", "strict": true,
                 "parameters": {"type": "object"}}],
      "tool_choice": {"type": "allowed_tools", "mode": "auto",
                      "tools": [{"type": "function", "name": "f"}]},
      "reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"a": "b"},
      "include": ["message.output_text.logprobs"], "top_logprobs": 1, "truncation": "auto",
      "parallel_tool_calls": true, "user": "u", "safety_identifier": "s", "prompt_cache_key": "p",
      "service_tier": "auto", "max_tool_calls": 1, "temperature": 1, "top_p": 1})"),
          read_responses};
}

Route messages_route() {
  const auto read = [](const std::string& text) {
    const Body body(text);
    const Body chat = chat_body_of_messages(body);
    try {
      parse_chat_request(chat, kLimits);
    } catch (const ApiError& error) {
      throw messages_names(error, body.json);
    }
  };
  return {"messages", Json::parse(R"({"system": [{"type": "text", "text": "s"}], "messages": [
      {"role": "user", "content": "hi"}, {"role": "assistant", "content": [
       {"type": "thinking", "thinking": "t", "signature": ""}, {"type": "text", "text": "a"},
       {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c",
       "content": [{"type": "text", "text": "x"}]}]}],
      "max_tokens": 2000, "tools": [{"name": "f", "description": "d",
      "input_schema": {"type": "object"}}],
      "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
      "thinking": {"type": "adaptive", "budget_tokens": 1024}, "stop_sequences": ["a"],
      "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
      "temperature": 1, "top_k": 1, "top_p": 1, "stream": true})"),
          read};
}

/// With a thinking that rules out a tool_choice of one tool.
Route enabled_thinking_route() {
  Route route = messages_route();
  route.body["thinking"]["type"] = "enabled";
  route.body.erase("tool_choice");
  return route;
}

std::vector<Json> values() {
  std::vector<Json> found;
  for (const char* text : {"true",
                           "5",
                           "-1",
                           "0.5",
                           "\"x\"",
                           "\"\"",
                           "[]",
                           "[5]",
                           "[\"a\"]",
                           "[null]",
                           "{}",
                           "{\"a\": 1}",
                           "{\"type\": 5}",
                           "[{}]",
                           "[[[]]]",
                           "1e308",
                           "18446744073709551615",
                           "9223372036854775808",
                           "\"\\u0000\"",
                           "null"})
    found.push_back(Json::parse(text));
  return found;
}

/// All places in `json`, the outer ones first.
void places(const Json& json, const Json::json_pointer& at, std::vector<Json::json_pointer>& out) {
  if (!at.empty()) out.push_back(at);
  if (json.is_object())
    for (const auto& [key, value] : json.items()) places(value, at / key, out);
  if (json.is_array())
    for (size_t i = 0; i < json.size(); ++i) places(json[i], at / i, out);
}

std::string field_of_place(const Json::json_pointer& at) {
  const std::string text = at.to_string();
  return text.substr(1, text.find('/', 1) - 1);
}

/// What is wrong with how this body is answered; empty: nothing.
std::string fault(const Route& route, const Json& body) {
  try {
    route.read(body.dump());
    return {};
  } catch (const ApiError& error) {
    if (error.status() != 400) return std::string("status of ") + error.what();
    const bool named = !error.param().empty() &&
                       body.contains(error.param().substr(0, error.param().find_first_of(".[/")));
    const bool missing = std::string_view(error.what()).find("missing") != std::string_view::npos;
    return named || missing ? "" : std::string("not named: ") + error.what();
  } catch (const std::exception& error) {
    return std::string("escaped: ") + error.what();
  }
}

TEST(WrongTypes, AreRefusedByName) {
  for (const Route& route : {chat_route(), allowed_tools_route(), completion_route(),
                             responses_route(), messages_route(), enabled_thinking_route()}) {
    EXPECT_EQ(fault(route, route.body), "") << route.name;
    std::vector<Json::json_pointer> all;
    places(route.body, Json::json_pointer(), all);
    EXPECT_GT(all.size(), 30u);
    for (const Json::json_pointer& at : all)
      for (const Json& value : values()) {
        Json body = route.body;
        body[at] = value;
        EXPECT_EQ(fault(route, body), "")
            << route.name << " " << at.to_string() << " " << value.dump();
      }
  }
}

/// Of these nothing but the type in the body is right.
TEST(WrongTypes, OfTheResponsesApiNameWhatIsExpectedAndFound) {
  const Route route = responses_route();
  const auto message = [&](const std::string& place, const Json& value) {
    Json body = route.body;
    body[Json::json_pointer(place)] = value;
    try {
      read_responses(body.dump());
    } catch (const ApiError& error) {
      EXPECT_EQ(error.param().substr(0, error.param().find_first_of(".[")),
                field_of_place(Json::json_pointer(place)));
      return std::string(error.what());
    }
    return std::string("taken");
  };
  for (const char* place : {"/text",
                            "/text/format",
                            "/reasoning",
                            "/tools",
                            "/tools/0",
                            "/tools/0/name",
                            "/tools/0/description",
                            "/tools/0/strict",
                            "/tools/0/parameters",
                            "/instructions",
                            "/input/0/id",
                            "/input/0/status",
                            "/input/0/content/0",
                            "/input/1/summary",
                            "/input/1/content/0",
                            "/input/2/arguments",
                            "/reasoning/summary",
                            "/text/verbosity",
                            "/user",
                            "/metadata",
                            "/tool_choice/tools",
                            "/tool_choice/tools/0",
                            "/include/0",
                            "/max_output_tokens",
                            "/store",
                            "/stream",
                            "/parallel_tool_calls"}) {
    const std::string text = message(place, 1.5);
    EXPECT_NE(text.find("expected "), std::string::npos) << place << ": " << text;
    EXPECT_NE(text.find("found "), std::string::npos) << place << ": " << text;
  }
  EXPECT_EQ(message("/text", true), "text: expected an object, found true");
  EXPECT_EQ(message("/tools", Json::array({5})),
            "tools[0]: expected an object with a \"type\", found 5");
  EXPECT_EQ(message("/instructions", 5), "instructions: expected a string, found 5");
}

/// A field that changes nothing, a value of its type, and one that is of it only on the outside.
struct Ignored {
  const char* place;
  Json right;
  Json nearly = nullptr;
};

const Json kCacheMark = {{"type", "ephemeral"}, {"ttl", "5m"}}, kNoCacheMark = {{"type", 5}};
const Json kObject = Json::object(), kList = Json::array();

const std::vector<Ignored> kOpenAi = {
    {"/model", "m"},
    {"/user", "u"},
    {"/safety_identifier", "s"},
    {"/prompt_cache_key", "k"},
    {"/prompt_cache_retention", "24h"},
    {"/prompt_cache_options", kObject},
    {"/service_tier", "auto"},
    {"/metadata", {{"a", "b"}}, {{"a", 5}}},
    {"/store", true},
    {"/stream_options/include_obfuscation", false},
};
const std::vector<Ignored> kChat = {
    {"/verbosity", "low"},
    {"/moderation", kObject},
    {"/cache_control", kCacheMark, kNoCacheMark},
    {"/messages/2/refusal", "no"},
    {"/messages/2/annotations", kList},
    {"/messages/2/reasoning", "r"},
    {"/messages/2/reasoning_details", kList},
    {"/messages/1/cache_control", kCacheMark, {{"ttl", 5}}},
    {"/messages/2/tool_calls/0/id", "c"},
    {"/messages/2/tool_calls/0/type", "function"},
    {"/messages/2/tool_calls/0/index", 0, 0.5},
    {"/messages/0/content/0/annotations", kList},
    {"/messages/0/content/0/cache_control", kCacheMark, kNoCacheMark},
    {"/messages/0/content/0/prompt_cache_breakpoint", kObject},
    {"/tools/0/cache_control", kCacheMark, kNoCacheMark},
    {"/tools/0/function/strict", true},
    {"/tool_choice/type", "function"},
    {"/response_format/json_schema/name", "s"},
    {"/response_format/json_schema/description", "d"},
    {"/response_format/json_schema/strict", true},
    {"/reasoning/summary", "auto"},
    {"/reasoning/exclude", true},
    {"/reasoning/max_tokens", 5, 0.5},
};
const std::vector<Ignored> kResponses = {
    {"/access_programs", kObject},
    {"/background_options", kObject},
    {"/image", kObject},
    {"/input/0/phase", "commentary"},
    {"/input/1/encrypted_content", "e"},
    {"/input/2/namespace", "n"},
    {"/input/2/caller", kObject},
    {"/input/2/async", false},
    {"/input/0/content/0/annotations", kList},
    {"/input/0/content/0/logprobs", kList},
    {"/input/0/content/0/prompt_cache_breakpoint", kObject},
    {"/reasoning/context", "auto"},
    {"/reasoning/mode", "standard"},
    {"/reasoning/summary", "auto"},
    {"/reasoning/generate_summary", "auto"},
    {"/text/verbosity", "low"},
    {"/text/format/name", "n"},
    {"/text/format/description", "d"},
    {"/text/format/strict", true},
    {"/tools/0/strict", true},
    {"/tools/0/async", false},
    {"/tools/0/defer_loading", false},
    {"/tools/0/allowed_callers", {"direct"}, {5}},
    {"/tools/0/output_schema", kObject},
};
const std::vector<Ignored> kMessages = {
    {"/model", "m"},
    {"/metadata", kObject},
    {"/metadata/user_id", "u"},
    {"/service_tier", "auto"},
    {"/inference_geo", "us"},
    {"/speed", "fast"},
    {"/user_profile_id", "p"},
    {"/workspace_id", "w"},
    {"/diagnostics", kObject},
    {"/betas", {"a"}, {"a", 5}},
    {"/cache_control", kCacheMark, kNoCacheMark},
    {"/output_config/effort", "low"},
    {"/output_config/format/type", "json_schema"},
    {"/thinking/display", "omitted"},
    {"/system/0/cache_control", kCacheMark, kNoCacheMark},
    {"/system/0/citations", kList},
    {"/messages/1/content/0/signature", "s"},
    {"/messages/1/content/0/data", "d"},
    {"/messages/1/content/1/cache_control", kCacheMark, kNoCacheMark},
    {"/messages/1/content/1/citations", kList},
    {"/messages/1/content/2/caller", kObject},
    {"/messages/1/content/2/toolset_name", "t"},
    {"/messages/2/content/0/is_error", true},
    {"/messages/2/content/0/content/0/cache_control", kCacheMark, kNoCacheMark},
    {"/messages/2/content/0/content/0/citations", kList},
    {"/tools/0/cache_control", kCacheMark, kNoCacheMark},
    {"/tools/0/strict", true},
    {"/tools/0/defer_loading", false},
    {"/tools/0/eager_input_streaming", false},
    {"/tools/0/allowed_callers", {"direct"}, {5}},
    {"/tools/0/input_examples", kList},
};

/// "/a/0/b" as errors name it: "a[0].b".
std::string error_name(std::string_view place) {
  std::string name;
  for (size_t i = 1; i < place.size(); ++i) {
    const bool digit = place[i] >= '0' && place[i] <= '9';
    if (place[i] == '/' && place[i + 1] >= '0' && place[i + 1] <= '9')
      name += '[';
    else if (place[i] == '/')
      name += '.';
    else
      name += std::string(1, place[i]) + (digit ? "]" : "");
  }
  return name;
}

TEST(WrongTypes, OfFieldsThatChangeNothingAreRefused) {
  const auto refusal = [](const Route& route, const Json& body) {
    try {
      route.read(body.dump());
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status(), 400);
      return error.param() + "|" + error.what();
    }
    return std::string("taken");
  };
  const auto check = [&](const Route& route, const std::vector<Ignored>& fields) {
    for (const auto& [place, right, nearly] : fields) {
      const Json::json_pointer at{std::string(place)};
      Json body = route.body;
      body.erase("structured_outputs");  // there may be a response_format, too
      for (const Json& value : {right, Json()}) {
        body[at] = value;
        EXPECT_EQ(refusal(route, body), "taken") << route.name << " " << place << " " << value;
      }
      std::vector<Json> wrong = {5, 0.5, true, "x", Json::array(), Json::object()};
      const std::string_view type = right.type_name();
      std::erase_if(wrong, [&](const Json& value) {
        return value.type_name() == type && !value.is_number_float();
      });
      if (!nearly.is_null()) wrong.push_back(nearly);
      for (const Json& value : wrong) {
        body[at] = value;
        const std::string name = error_name(place);
        EXPECT_TRUE(refusal(route, body).starts_with(name + "|" + name + ": expected "))
            << route.name << " " << place << " " << value << ": " << refusal(route, body);
      }
    }
  };
  check(chat_route(), kOpenAi);
  check(chat_route(), kChat);
  check(allowed_tools_route(), {{"/tool_choice/allowed_tools/tools/0/type", "function"}});
  check(completion_route(), kOpenAi);
  check(responses_route(), kOpenAi);
  check(responses_route(), kResponses);
  check(messages_route(), kMessages);
}

TEST(WrongTypes, EmptyListsAndTextsSayWhatWasFound) {
  const auto message = [](const Route& route, const char* body) {
    try {
      route.read(body);
    } catch (const ApiError& error) {
      return error.param() + "|" + error.what();
    }
    return std::string();
  };
  EXPECT_EQ(message(messages_route(), R"({"max_tokens": 2, "messages": []})"),
            "messages|messages: expected a list of 1 to 10000 messages, found a list of 0 values");
  EXPECT_EQ(message(responses_route(), R"({"input": []})"),
            "input|input: expected text or a list of 1 to 10000 items, found a list of 0 values");
  const std::string prompt = R"({"prompt": "a", "guided_json": )";
  EXPECT_EQ(message(completion_route(), (prompt + R"("x"})").c_str()),
            "guided_json|guided_json: not valid JSON at line 1, column 1");
  EXPECT_EQ(message(completion_route(), (prompt + R"("5"})").c_str()),
            "guided_json|guided_json: expected a JSON schema, or one as text, found 5");
}

TEST(WrongTypes, TheTextOfAForeignErrorIsNotShown) {
  try {
    static_cast<void>(Json(5).at("a"));
    FAIL();
  } catch (const std::exception& error) {
    const ApiError shown = failure_of(error);
    EXPECT_EQ(shown.status(), 500);
    EXPECT_EQ(std::string_view(shown.what()).find("json"), std::string_view::npos);
  }
  EXPECT_STREQ(failure_of(Error("ours")).what(), "ours");
}

}  // namespace
}  // namespace um
