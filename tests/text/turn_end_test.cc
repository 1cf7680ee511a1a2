// The end of a turn as templates write it, for tokens and templates of many manners.
#include "text/turn_end.h"

#include <gtest/gtest.h>

#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/jinja_cases_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

using Tokens = std::vector<std::string>;

/// The names of the ends that a tokenizer with `tokens` and a template have.
Tokens ends_of(const Tokens& tokens, const std::string& source, const std::string& config = "{}") {
  const Tokenizer tokenizer = byte_tokenizer(tokens, config);
  Tokens names;
  for (const int32_t id : turn_ends(ChatTemplate::from_source(source, "t", tokenizer), tokenizer))
    names.push_back(tokenizer.piece(id));
  return names;
}

TEST(TurnEnd, IsWhatTheTemplateWritesAfterAnAnswer) {
  EXPECT_EQ(ends_of({"<|im_start|>", "<|im_end|>"}, kChatMlTemplate), Tokens{"<|im_end|>"});
  EXPECT_EQ(ends_of({"<|im_start|>", "<|im_end|>", "<think>", "</think>"}, kQwenTemplate),
            Tokens{"<|im_end|>"});
  EXPECT_EQ(ends_of({"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"},
                    kLlamaTemplate),
            (Tokens{"<|eot_id|>", "<|eom_id|>"}));
  EXPECT_EQ(ends_of({"<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"}, kDeepSeekTemplate),
            Tokens{"<｜end▁of▁sentence｜>"});
}

TEST(TurnEnd, CallsMayEndInTheirOwnWay) {
  const std::string source =
      "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls[0].function.name "
      "}}<|calls|>{% else %}<|end|>{% endif %}{% endfor %}";
  EXPECT_EQ(ends_of({"<|end|>", "<|calls|>", "<|call|>"}, source),
            (Tokens{"<|end|>", "<|calls|>"}));
  EXPECT_EQ(ends_of({"<|end|>", "<|call|>"}, source), Tokens{"<|end|>"});
  // By what begins the tool's message.
  const std::string turns =
      "{% for m in messages %}<|{{ 'observation' if m.role == 'tool' else m.role }}|>{{ m.content "
      "}}{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}{% endif %}{% endfor %}";
  EXPECT_EQ(ends_of({"<|user|>", "<|observation|>"}, turns),
            (Tokens{"<|user|>", "<|observation|>"}));
}

TEST(TurnEnd, NeedsNoListOfNames) {
  const std::string loop = "{% for m in messages %}";
  EXPECT_EQ(
      ends_of({"<<A>>", "<<Z>>"}, loop + "<<A>>{{ m.role }}\n{{ m.content }} \n<<Z>>{% endfor %}"),
      Tokens{"<<Z>>"});
  // By the next turn's begin, as in GLM.
  EXPECT_EQ(ends_of({"<|user|>", "<|assistant|>"},
                    loop + "<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"),
            Tokens{"<|user|>"});
  // The end of the last turn, not what stands between turns.
  EXPECT_EQ(ends_of({"<sep>", "<stop>"},
                    loop + "{{ m.content }}{% if loop.last %}<stop>{% else %}<sep>{% endif %}"
                           "{% endfor %}"),
            Tokens{"<stop>"});
  // By a variable.
  EXPECT_EQ(ends_of({"</s>"}, loop + "{{ m.content }}{{ eos_token }}{% endfor %}",
                    R"({"eos_token": "</s>"})"),
            Tokens{"</s>"});
  // A template that wants a system message, or alternating roles.
  EXPECT_EQ(ends_of({"<e>"},
                    "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}"
                    "{% endif %}" +
                        loop + "{{ m.content }}<e>{% endfor %}"),
            Tokens{"<e>"});
}

TEST(TurnEnd, IsNoneWhereTextComesFirst) {
  const std::string loop = "{% for m in messages %}";
  EXPECT_EQ(ends_of({"<sep>"}, loop + "{{ m.role }}: {{ m.content }}\n{% endfor %}"), Tokens{});
  EXPECT_EQ(ends_of({"<sep>"}, loop + "{{ m.content }} END <sep>{% endfor %}"), Tokens{});
  EXPECT_EQ(ends_of({"<sep>"}, "{{ raise_exception('never') }}"), Tokens{});
  EXPECT_EQ(ends_of({"<sep>"}, "{% broken"), Tokens{});
}

TEST(TurnEnd, OfThePanguFormat) {
  const Tokenizer& tokenizer = tiny_tokenizer();
  const auto ends = turn_ends(ChatTemplate::from_source("", "t", tokenizer), tokenizer);
  EXPECT_EQ(ends, std::vector<int32_t>{*tokenizer.id("[unused10]")});
}

}  // namespace
}  // namespace um
