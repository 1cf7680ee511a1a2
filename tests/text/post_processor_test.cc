// What cannot stand around texts; what can is compared in tokenizer_json_test.cc.
#include "text/post_processor.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

std::string fault(const std::string& processor) {
  try {
    read_post_processor(Json::parse(processor), "t: post_processor", 264);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(PostProcessor, RefusesWhatCannotStandAroundTexts) {
  for (const auto& [processor, expected] : std::vector<std::pair<const char*, const char*>>{
           {R"({"type": "Other"})", "post_processor: type \"Other\": expected TemplateProcessing"},
           {R"({"type": "Sequence", "processors": [
                {"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]}, {"type": "ByteLevel"},
                {"type": "RobertaProcessing", "sep": ["a", 1], "cls": ["b", 2]}]})",
            "processors: a second one that adds tokens is not supported"},
           {R"({"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 264]})",
            "cls: 264 is no id below 264"},
           {R"({"type": "TemplateProcessing", "single": [], "special_tokens": {}})",
            "expected the text A once"},
           {R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],
                "special_tokens": {}})",
            "\"x\""}})
    EXPECT_NE(fault(processor).find(expected), std::string::npos) << fault(processor);
  std::string deep = R"({"type": "ByteLevel"})";
  for (int i = 0; i < 20; ++i) deep = R"({"type": "Sequence", "processors": [)" + deep + "]}";
  EXPECT_NE(fault(deep).find("more than 8 levels"), std::string::npos);
}

}  // namespace
}  // namespace um
