// Supervised fine-tuning: the task that makes an assistant of a model, from conversations.
// docs/fine_tuning.md
#pragma once

#include <filesystem>
#include <memory>

#include "post/chat_data.h"
#include "train/task.h"

namespace um {

/// Options of a run with what fine-tuning wants where nobody says anything.
RunOptions fine_tuning_options();

/// How the model at `path` reads conversations: its tokenizer, its template (or the one in the file
/// `given`), its ends. Throws Error where there is no template and its tokenizer has no chat tokens
/// that we know.
ChatTokens chat_tokens_of(const std::filesystem::path& path, const std::string& given);

/// Next-token prediction of the answers in `data`. Checkpoints have the template, and end where
/// turns do.
TrainingTask fine_tuning(const RunOptions& options, std::shared_ptr<const ChatData> data,
                         const ChatTokens& tokens);

/// The updates that data.epochs take.
int64_t steps_of_epochs(const RunOptions& options, const std::shared_ptr<const ChatData>& data);

}  // namespace um
