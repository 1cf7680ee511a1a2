// Conversations as batches, and a whole run: resumed it is the same run.
#include "post/fine_tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "models/checkpoint.h"
#include "ops/devices.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "tests/train/corpus_util.h"
#include "train/trainer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

ChatTokens byte_tokens() {
  const Tokenizer tokenizer =
      byte_tokenizer({"<|im_start|>", "<|im_end|>"}, R"({"eos_token": "<|im_end|>"})");
  ChatTemplate form = ChatTemplate::from_source("", "chatml", tokenizer);
  ModelConfig config;
  config.vocab = tokenizer.vocab_size();
  const Ends ends = find_ends(config, tokenizer, {}, &form);
  return ChatTokens(tokenizer, std::move(form), ends);
}

class ChatDataTest : public ::testing::Test {
 protected:
  ChatDataTest() : directory_("chat") {}

  /// A file of `count` conversations with answers of different lengths.
  std::string file(const std::string& name, int count, const std::string& more = "") {
    std::string text;
    for (int i = 0; i < count; ++i)
      text += fmt::format("{{\"question\": \"{} of {}\", \"answer\": \"{}\"}}\n", i, name,
                          std::string(static_cast<size_t>(1 + i % 7), 'x'));
    write_file_atomic(directory_.path() / name, text + more);
    return (directory_.path() / name).string();
  }
  std::shared_ptr<const ChatData> data(int64_t seq_len = 128) {
    return std::make_shared<const ChatData>(options_, tokens_, seq_len);
  }

  testing::TemporaryDirectory directory_;
  ChatTokens tokens_ = byte_tokens();
  ChatDataOptions options_;
};

TEST_F(ChatDataTest, EachSampleComesOncePerPassAndNoneIsCut) {
  options_.path = {file("a.jsonl", 40)};
  options_.hold_out = 0;
  ChatStream stream(data(), {.batch = 2, .seq_len = 128});
  const int64_t batches = stream.batches_of(3);
  std::multiset<std::vector<int32_t>> seen;
  std::vector<std::vector<int32_t>> first_pass, second_pass;
  Batch batch;
  for (int64_t i = 0; i < batches; ++i) {
    ASSERT_TRUE(stream.next(batch));
    EXPECT_LE(batch.size(), 256);
    check_sizes(batch);
    for (int64_t s = 0; s < batch.sequences(); ++s) {
      const auto begin = batch.tokens.begin() + batch.seq_offsets[static_cast<size_t>(s)];
      const std::vector<int32_t> tokens(
          begin, batch.tokens.begin() + batch.seq_offsets[static_cast<size_t>(s) + 1]);
      EXPECT_EQ(tokens_.tokenizer().decode({tokens[0]}, false), "<|im_start|>");
      if (seen.size() < 40)
        first_pass.push_back(tokens);
      else if (seen.size() < 80)
        second_pass.push_back(tokens);
      seen.insert(tokens);
    }
    // The targets are the answer and the end of its turn, nothing else.
    for (size_t t = 0; t < batch.targets.size(); ++t) {
      if (batch.targets[t] < 0) continue;
      const std::string target = tokens_.tokenizer().decode({batch.targets[t]}, false);
      EXPECT_TRUE(target == "x" || target == "<|im_end|>") << target;
    }
  }
  EXPECT_GE(seen.size(), 120u);
  EXPECT_EQ(std::set(first_pass.begin(), first_pass.end()).size(), 40u);
  EXPECT_NE(first_pass, second_pass);
  EXPECT_EQ(std::set(first_pass.begin(), first_pass.end()),
            std::set(second_pass.begin(), second_pass.end()));
}

TEST_F(ChatDataTest, GoesOnFromItsState) {
  options_.path = {file("a.jsonl", 30), file("b.jsonl", 10)};
  options_.weights = {1, 2};
  const auto read = data();
  ChatStream whole(read, {.batch = 2, .seq_len = 64}), parts(read, {.batch = 2, .seq_len = 64});
  Batch batch, again;
  for (int i = 0; i < 7; ++i) parts.next(batch), whole.next(batch);
  ChatStream later(read, {.batch = 2, .seq_len = 64});
  later.restore(parts.state());
  for (int i = 0; i < 20; ++i) {
    whole.next(batch), later.next(again);
    EXPECT_EQ(batch.tokens, again.tokens);
    EXPECT_EQ(batch.targets, again.targets);
  }
  ChatStream other(read, {.batch = 2, .seq_len = 64, .seed = 2});
  EXPECT_THROW(other.restore(parts.state()), Error);
  options_.path.pop_back(), options_.weights.pop_back();
  ChatStream fewer(data(), {.batch = 2, .seq_len = 64});
  EXPECT_THROW(fewer.restore(parts.state()), Error);
}

TEST_F(ChatDataTest, WeightsAreSharesOfTokens) {
  options_.path = {file("a.jsonl", 50), file("bb.jsonl", 50)};
  options_.weights = {1, 3};
  options_.hold_out = 0;
  ChatStream stream(data(), {.batch = 4, .seq_len = 64});
  double a = 0, b = 0;
  Batch batch;
  for (int i = 0; i < 60; ++i) {
    stream.next(batch);
    const std::string text = tokens_.tokenizer().decode(batch.tokens, false);
    for (size_t at = text.find("of "); at != std::string::npos; at = text.find("of ", at + 1))
      (text[at + 3] == 'a' ? a : b) += 1;
  }
  EXPECT_NEAR(b / a, 3, 0.2);
}

TEST_F(ChatDataTest, ValidationIsBySourceAndEqualRecordsAreOnOneSide) {
  options_.path = {file("a.jsonl", 200), file("b.jsonl", 200)};
  options_.path.push_back(options_.path[0]);
  options_.hold_out = 0.2;
  const auto read = data();
  for (size_t i : {0, 1}) {
    EXPECT_GT(read->files()[i].valid.size(), 15u);
    EXPECT_LT(read->files()[i].valid.size(), 70u);
  }
  EXPECT_EQ(read->files()[0].valid.size(), read->files()[2].valid.size());
  RunOptions options = fine_tuning_options();
  *options.chat = options_;
  const TrainingTask task = fine_tuning(options, read, tokens_);
  Phase phase;
  phase.batch = 4, phase.seq_len = 64;
  const std::vector<HeldOut> parts = task.held_out(phase);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].name, options_.path[0]);  // two are called the same
  EXPECT_EQ(parts[1].name, "b.jsonl");
  Batch batch;
  int64_t sequences = 0;
  while (parts[1].source->next(batch)) sequences += batch.sequences();
  EXPECT_EQ(sequences, std::ssize(read->files()[1].valid));
  options_.valid = {file("v.jsonl", 5)};
  const auto apart = data();
  EXPECT_EQ(apart->files()[0].train.size(), 200u);
  EXPECT_EQ(apart->files()[3].valid.size(), 5u);
}

TEST_F(ChatDataTest, WhatIsSaidDecidesTheSideNotTheRestOfTheRecord) {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += fmt::format("{{\"id\": {}, \"question\": \"q\", \"answer\": \"a\"}}\n", i);
  options_.path = {file("same.jsonl", 0, text), file("b.jsonl", 5)};
  options_.hold_out = 0.4;
  const auto read = data();
  EXPECT_TRUE(read->files()[0].valid.empty() || read->files()[0].train.empty());
  options_.valid = {options_.path[1]};
  EXPECT_THROW(data(), UsageError);
  options_.valid.clear();
  options_.weights = {1, 0};
  EXPECT_THROW(data(), UsageError);
}

TEST_F(ChatDataTest, BadRecordsStopOrAreListed) {
  options_.path = {file("a.jsonl", 3, "{\"messages\": []}\nnonsense\n{\"b\": 1}\n")};
  const auto fault = [&] {
    try {
      data();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(fault().find("a.jsonl:4: "), std::string::npos) << fault();
  EXPECT_NE(fault().find("data.on_bad"), std::string::npos);
  options_.on_bad = "skip";
  const auto read = data();
  EXPECT_EQ(read->files()[0].records, 6);
  ASSERT_EQ(read->files()[0].left_out.size(), 3u);
  EXPECT_NE(read->files()[0].left_out[1].find("a.jsonl:5"), std::string::npos);
  EXPECT_NE(read->summary()[0].find("3 left out"), std::string::npos);
  options_.path = {file("none.jsonl", 0, "{\"b\": 1}\n")};
  EXPECT_NE(fault().find("no conversation is left"), std::string::npos) << fault();
}

TEST_F(ChatDataTest, ThinkingWithoutMarksIsTold) {
  options_.path = {file("a.jsonl", 2, R"({"messages": [{"role": "user", "content": "q"},
    {"role": "assistant", "content": "a", "reasoning_content": "r"}]})")};
  std::string text = read_file(options_.path[0], 1 << 20);
  std::erase(text, '\n');
  for (size_t at = text.find("}{"); at != std::string::npos; at = text.find("}{", at + 2))
    text.insert(at + 1, "\n");
  write_file_atomic(options_.path[0], text);
  const std::string line = data()->summary()[0];
  EXPECT_EQ(line.find("thinking of 1 ") != std::string::npos, !tokens_.form().can_think()) << line;
}

TEST_F(ChatDataTest, LongConversations) {
  const std::string answer(200, 'y');
  options_.path = {file("a.jsonl", 3, "{\"question\": \"q\", \"answer\": \"" + answer + "\"}\n")};
  options_.hold_out = 0;
  EXPECT_EQ(data(100)->files()[0].train.size(), 3u);
  EXPECT_EQ(data(100)->files()[0].too_long, 1);
  options_.too_long = "cut";
  const auto cut = data(100);
  EXPECT_EQ(cut->files()[0].train.back().tokens.size(), 101u);
  options_.too_long = "stop";
  EXPECT_THROW(data(100), Error);
  EXPECT_EQ(data(1000)->files()[0].train.size(), 4u);
  EXPECT_THROW(ChatStream(data(1000), {.batch = 1, .seq_len = 100}), Error);
}

// ---- a run ----

class FineTuningTest : public ::testing::Test {
 protected:
  FineTuningTest() : directory_("sft") {
    // A base model: a checkpoint of random weights with the tokenizer that knows the Pangu tokens.
    RunOptions base = testing::small_run("", 1);
    ModelConfig config = configure_model(base.model);
    config.vocab = std::max<int64_t>(config.vocab, tiny_tokenizer().vocab_size());
    const auto model = make_model(config, cpu_device());
    model->params().initialize(1);
    save_model(*model, directory_.path() / "base");
    tiny_tokenizer().save(directory_.path() / "base");
    write_trained_for(directory_.path() / "base", "text");
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += fmt::format("{{\"question\": \"{}\", \"answer\": \"the answer {}\"}}\n", i, i % 5);
    write_file_atomic(directory_.path() / "chat.jsonl", text);
    options_ = fine_tuning_options();
    options_.model.from = (directory_.path() / "base").string();
    options_.chat->path = {(directory_.path() / "chat.jsonl").string()};
    options_.chat->hold_out = 0.1;
    options_.train.batch = 2, options_.train.seq_len = 48, options_.train.lr = 3e-3,
    options_.train.warmup = 2;
    options_.log.checkpoint_every = 5, options_.log.eval_every = 5, options_.log.sample_every = 0;
    options_.log.tensorboard = false;
  }

  fs::path train(const std::string& name, bool resume = false, int64_t stop_after = 0) {
    const ChatTokens tokens = chat_tokens_of(options_.model.from, "");
    const auto data = std::make_shared<const ChatData>(*options_.chat, tokens, 48);
    options_.train.steps = steps_of_epochs(options_, data);
    TrainerHooks hooks;
    Trainer* running = nullptr;
    hooks.interrupted = [&] { return stop_after > 0 && running->state().step >= stop_after; };
    Trainer trainer(fine_tuning(options_, data, tokens), options_, directory_.path() / name,
                    cpu_device(), resume, hooks);
    running = &trainer;
    return trainer.run();
  }

  testing::TemporaryDirectory directory_;
  RunOptions options_;
};

TEST_F(FineTuningTest, MakesAnAssistantOfABaseModel) {
  options_.chat->epochs = 4;
  const fs::path checkpoint = train("run");
  EXPECT_EQ(trained_for(checkpoint), "chat");
  EXPECT_FALSE(is_base_model(checkpoint));
  const Tokenizer tokenizer = Tokenizer::load(checkpoint);
  const ChatTemplate form = ChatTemplate::load(checkpoint, tokenizer);
  EXPECT_TRUE(form.is_pangu());
  EXPECT_FALSE(find_chat_sources(checkpoint).main.empty());
  const Json generation = read_json_file(checkpoint / "generation_config.json");
  const auto ends = generation["eos_token_id"].get<std::set<int32_t>>();
  EXPECT_TRUE(ends.contains(*tokenizer.id("[unused10]"))) << generation;
  EXPECT_TRUE(ends.contains(tokenizer.eos_id())) << generation;
  std::vector<double> losses;
  for_each_line(directory_.path() / "run" / "metrics.jsonl", [&](std::string_view line) {
    if (const auto parsed = parse_metrics_line(line); parsed.validation)
      losses.push_back(parsed.validation->loss);
  });
  ASSERT_GE(losses.size(), 2u);
  EXPECT_LT(losses.back(), losses.front() - 1);
}

TEST_F(FineTuningTest, AResumedRunIsTheSameRun) {
  const fs::path whole = train("whole");
  train("parts", false, 3);
  const fs::path parts = train("parts", true);
  EXPECT_EQ(read_file(whole / "model.safetensors", 1u << 28),
            read_file(parts / "model.safetensors", 1u << 28));
}

TEST_F(FineTuningTest, ResumingWithOtherConversationsIsRefused) {
  train("run", false, 3);
  write_file_atomic(directory_.path() / "chat.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n");
  options_.chat->hold_out = 0;
  EXPECT_THROW(train("run", true), Error);
}

TEST_F(FineTuningTest, ATemplateOfTheUsersGoesIntoTheCheckpoint) {
  write_file_atomic(directory_.path() / "t.jinja",
                    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                    "{% if add_generation_prompt %}assistant: {% endif %}");
  options_.chat->chat_template = (directory_.path() / "t.jinja").string();
  const ChatTokens tokens = chat_tokens_of(options_.model.from, options_.chat->chat_template);
  const auto data = std::make_shared<const ChatData>(*options_.chat, tokens, 48);
  options_.train.steps = 1;
  Trainer trainer(fine_tuning(options_, data, tokens), options_, directory_.path() / "run",
                  cpu_device(), false, {});
  EXPECT_NE(find_chat_sources(trainer.run()).main.find("{{ m.role }}: "), std::string::npos);
}

}  // namespace
}  // namespace um
