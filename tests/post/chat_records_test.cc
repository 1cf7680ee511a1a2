// The forms that conversations come in.
#include "post/chat_records.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/train/corpus_util.h"

namespace um {
namespace {

ChatRecord chat(const char* json) {
  return std::get<ChatRecord>(read_record(OrderedJson::parse(json)));
}

/// "role:content" of each message, learnt ones with a star.
std::string shown(const ChatRecord& record) {
  std::string text;
  for (size_t i = 0; i < record.learnt.size(); ++i) {
    const OrderedJson& message = record.body["messages"][i];
    text += message["role"].get<std::string>() + (record.learnt[i] ? "*" : "") + ":" +
            message.value("content", "") + "|";
  }
  return text;
}

std::string fault(const char* json) {
  try {
    read_record(OrderedJson::parse(json));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(ChatRecords, ShareGpt) {
  EXPECT_EQ(shown(chat(R"({"system": "s", "conversations": [{"from": "human", "value": "a"},
                           {"from": "gpt", "value": "b"}, {"from": "observation", "value": "c"},
                           {"from": "gpt", "value": "d"}]})")),
            "system:s|user:a|assistant*:b|tool:c|assistant*:d|");
  const ChatRecord calls = chat(R"({"tools": "[{\"name\": \"f\", \"parameters\": {}}]",
    "conversations": [{"from": "human", "value": "a"},
    {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
    {"from": "observation", "value": "1"},
    {"from": "gpt", "value": "So\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"}]})");
  EXPECT_EQ(shown(calls), "user:a|assistant*:|tool:1|assistant*:So|");
  EXPECT_EQ(calls.body["tools"][0]["function"]["name"], "f");
  EXPECT_EQ(calls.body["messages"][1]["tool_calls"][0]["function"]["arguments"]["x"], 1);
  EXPECT_EQ(calls.body["messages"][3]["tool_calls"].size(), 1u);
  // What only looks like a call stays a text.
  EXPECT_EQ(shown(chat(R"({"conversations": [{"from": "human", "value": "a"},
                           {"from": "gpt", "value": "<tool_call> is a tag"}]})")),
            "user:a|assistant*:<tool_call> is a tag|");
  EXPECT_NE(fault(R"({"conversations": [{"from": "me", "value": "a"}]})").find("\"me\""),
            std::string::npos);
}

TEST(ChatRecords, OpenAiWithOlderCalls) {
  const ChatRecord record = chat(R"({"functions": [{"name": "f"}], "messages": [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "1"},
    {"role": "assistant", "content": "b", "weight": 0}]})");
  EXPECT_EQ(record.learnt, (std::vector<bool>{false, true, false, false}));
  EXPECT_EQ(record.body["tools"][0]["type"], "function");
  EXPECT_EQ(record.body["messages"][1]["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(record.body["messages"][2]["role"], "tool");
  EXPECT_NE(
      fault(R"({"messages": [{"role": "user", "content": "a", "weight": 2}]})").find("weight"),
      std::string::npos);
}

TEST(ChatRecords, ASystemsTextBesideTheMessages) {
  EXPECT_EQ(shown(chat(R"({"system": "s", "messages": [{"role": "user", "content": "a"},
                           {"role": "assistant", "content": "b"}]})")),
            "system:s|user:a|assistant*:b|");
  EXPECT_NE(fault(R"({"prompt": "p", "chosen": "a", "rejected": "b"})").find("preferences"),
            std::string::npos);
}

TEST(ChatRecords, Pairs) {
  EXPECT_EQ(shown(chat(R"({"instruction": "i", "input": "x", "output": "o", "id": 3})")),
            "user:i\n\nx|assistant*:o|");
  EXPECT_EQ(shown(chat(R"({"instruction": "i", "output": "o", "history": [["q", "a"]]})")),
            "user:q|assistant*:a|user:i|assistant*:o|");
  EXPECT_EQ(shown(chat(R"({"question": "q", "answer": "a"})")), "user:q|assistant*:a|");
  EXPECT_EQ(shown(chat(R"({"prompt": "q", "response": "a"})")), "user:q|assistant*:a|");
  EXPECT_EQ(shown(chat(R"({"prompt": [{"role": "user", "content": "q"},
                                      {"role": "assistant", "content": "x"},
                                      {"role": "user", "content": "r"}],
                           "completion": [{"role": "assistant", "content": "a"}]})")),
            "user:q|assistant:x|user:r|assistant*:a|");
  const auto plain = std::get<PlainRecord>(
      read_record(OrderedJson::parse(R"({"prompt": "p", "completion": "c"})")));
  EXPECT_EQ(plain.prompt + "|" + plain.completion, "p|c");
}

TEST(ChatRecords, UnknownForms) {
  EXPECT_NE(fault("[1]").find("expected an object"), std::string::npos);
  EXPECT_NE(fault(R"({"a": 1})").find("its fields are \"a\""), std::string::npos);
  EXPECT_NE(fault(R"({"messages": "a"})").find("list of messages"), std::string::npos);
  EXPECT_NE(fault(R"({"messages": [3]})").find("expected objects"), std::string::npos);
  EXPECT_NE(fault(R"({"instruction": "a"})").find("\"output\": missing"), std::string::npos);
  EXPECT_NE(
      fault(R"({"mode": "fast", "chat_template_kwargs": [1], "messages": [{"role": "user"}]})")
          .find("expected an object"),
      std::string::npos);
  EXPECT_NE(fault(R"({"mode": "quick", "messages": [{"role": "user"}]})").find("\"quick\""),
            std::string::npos);
}

TEST(ChatRecords, ThinkingInFrontOfAnswers) {
  ChatRecord record = chat(R"({"messages": [{"role": "user", "content": "<think>x</think>y"},
    {"role": "assistant", "content": "\n<think>\nwell\n</think>\n\nso"},
    {"role": "assistant", "content": "a <think>b</think>"},
    {"role": "assistant", "content": "<think></think>c"}]})");
  split_thinking(record);
  EXPECT_EQ(shown(record),
            "user:<think>x</think>y|assistant*:so|assistant*:a <think>b</think>|"
            "assistant*:c|");
  EXPECT_EQ(record.body["messages"][1]["reasoning_content"], "well");
  EXPECT_FALSE(record.body["messages"][3].contains("reasoning_content"));
}

TEST(ChatRecords, FilesOfLinesAndOfOneList) {
  const testing::TemporaryDirectory directory("records");
  const auto read = [&](const std::string& text, const std::string& name = "r.jsonl") {
    const auto path = directory.path() / name;
    write_file_atomic(path, text);
    std::string seen;
    for_each_record(
        path,
        [&](const OrderedJson& json, const std::string& where) {
          seen += where.substr(where.find("r.json")) + "=" + json.dump() + " ";
        },
        [&](const std::string& message) {
          seen += message.substr(message.find("r.jsonl"), 9) + "! ";
        });
    return seen;
  };
  EXPECT_EQ(read("{\"a\":1}\n\n{\"b\":2}"), "r.jsonl:1={\"a\":1} r.jsonl:3={\"b\":2} ");
  EXPECT_EQ(read("\n[{\"a\":1},\n{\"b\":2}]\n", "r.json"),
            "r.json[0]={\"a\":1} r.json[1]={\"b\":2} ");
  EXPECT_EQ(read("[1]\n"), "r.jsonl:1=[1] ");
  EXPECT_EQ(read("{\"a\":1}\r\n{no\r\n3\n"), "r.jsonl:1={\"a\":1} r.jsonl:2! r.jsonl:3=3 ");
  EXPECT_THROW(read("[{\"a\":1},", "r.json"), Error);
}

}  // namespace
}  // namespace um
