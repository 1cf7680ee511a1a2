// See fine_tuning.h.
#include "post/fine_tuning.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "models/config.h"
#include "text/chat.h"
#include "text/tokenizer_hash.h"

namespace um {
namespace {

namespace fs = std::filesystem;

ChatStreamOptions stream_options(const RunOptions& options, const Phase& phase, size_t index) {
  return {.batch = phase.batch,
          .seq_len = phase.seq_len,
          .seed = static_cast<uint64_t>(options.chat->seed) + index};
}

/// What a file's loss is called: its name, with the path where two are called the same.
std::string part_name(const ChatData& data, size_t index) {
  const auto name = [&](size_t i) { return fs::path(data.files()[i].name).filename(); };
  for (size_t i = 0; i < data.files().size(); ++i)
    if (i != index && name(i) == name(index)) return data.files()[index].name;
  return name(index).string();
}

/// Makes an assistant of the model in a checkpoint: it was trained for chats, has their template,
/// and stops at the end of a turn in programs that only look at generation_config.json.
void write_chat_texts(const fs::path& directory, const std::string& chat_template,
                      const std::vector<int32_t>& turn_ends) {
  if (!chat_template.empty()) write_file_atomic(directory / "chat_template.jinja", chat_template);
  write_trained_for(directory, "chat");
  Json config = read_json_file(directory / "config.json");
  config["eos_token_id"] = turn_ends;
  if (!turn_ends.empty()) write_generation_config(directory, config);
}

}  // namespace

RunOptions fine_tuning_options() {
  RunOptions options;
  options.chat.emplace();
  TrainOptions& train = options.train;
  train.lr = 2e-5, train.final_lr = 2e-6;
  train.warmup = 20;
  train.batch = 4, train.seq_len = 1024;
  train.weight_decay = 0;
  options.log.eval_every = 50, options.log.eval_batches = 0;
  options.log.sample_every = 100, options.log.sample_tokens = 128;
  return options;
}

ChatTokens chat_tokens_of(const fs::path& path, const std::string& given) {
  UM_CHECK(has_tokenizer(path), "{}: has no tokenizer, which fine-tuning needs", path.string());
  const Tokenizer tokenizer = Tokenizer::load(path);
  const std::string source = given.empty() ? std::string() : read_file(given, 1u << 20);
  UM_CHECK(given.empty() || !source.empty(), "{}: empty", given);
  ChatTemplate form = ChatTemplate::load(path, tokenizer, source);
  UM_CHECK(form.fault().empty(), "{}: {}; --data.chat_template FILE gives it one", path.string(),
           form.fault());
  const Ends ends =
      find_ends(read_config(path), tokenizer, fs::is_directory(path) ? path : fs::path(), &form);
  return ChatTokens(tokenizer, std::move(form), ends);
}

int64_t steps_of_epochs(const RunOptions& options, const std::shared_ptr<const ChatData>& data) {
  const ChatStream stream(data, {.batch = options.train.batch,
                                 .seq_len = options.train.seq_len,
                                 .seed = static_cast<uint64_t>(options.chat->seed)});
  const int64_t batches = stream.batches_of(options.chat->epochs);
  return std::max<int64_t>(1, (batches + options.train.accumulate - 1) / options.train.accumulate);
}

TrainingTask fine_tuning(const RunOptions& options, std::shared_ptr<const ChatData> data,
                         const ChatTokens& tokens) {
  for (const PhaseOptions& phase : options.train.phases)  // each has room for every conversation
    ChatStream(data, {.batch = phase.batch > 0 ? phase.batch : options.train.batch,
                      .seq_len = phase.seq_len > 0 ? phase.seq_len : options.train.seq_len});
  TrainingTask task;
  task.stream = [=](const Phase& phase, size_t index) {
    return std::make_unique<ChatStream>(data, stream_options(options, phase, index));
  };
  task.held_out = [=](const Phase& phase) {
    std::vector<HeldOut> parts;
    for (size_t i = 0; i < data->files().size(); ++i) {
      const ChatFile& file = data->files()[i];
      if (file.valid.empty()) continue;
      ChatStreamOptions stream = stream_options(options, phase, 0);
      stream.held_out_file = static_cast<int64_t>(i);
      parts.push_back(
          {.name = part_name(*data, i), .source = std::make_unique<ChatStream>(data, stream)});
    }
    if (parts.size() == 1) parts[0].name.clear();
    return parts;
  };
  task.objective = std::make_shared<NextTokenObjective>(
      NextTokenOptions{.mtp_weight = options.train.mtp_weight, .z_weight = options.train.z_weight});
  const bool given = !options.chat->chat_template.empty();
  const std::string source =
      tokens.form().is_pangu() ? std::string(kChatTemplate) : tokens.form().source();
  task.finish_texts = [given, source, ends = tokens.ends().turn](const fs::path& directory) {
    const bool has_one = !given && !find_chat_sources(directory).main.empty();
    write_chat_texts(directory, has_one ? std::string() : source, ends);
  };
  return task;
}

}  // namespace um
