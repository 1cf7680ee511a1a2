// From tasks to a file of records: splits, levels, languages and modes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/task.h"

namespace um {

enum class Split { kTrain, kValid, kTest };
/// "train", "valid" or "test"; throws UsageError for other names.
Split parse_split(std::string_view name);
/// Where a problem belongs, by a hash of its task and key, whatever the seed: 8 of 10 to train.
Split split_of(std::string_view task, const Problem& problem);

/// What a record looks like.
enum class RecordForm {
  kMessages,  ///< a chat: "messages", "mode"
  kPrompt,    ///< "prompt" and "completion", for base models; not of tools
};

struct RecordOptions {
  std::vector<Task> tasks;
  int first_level = 1, last_level = kTaskLevels;
  int64_t count = 100;  ///< problems of each task, level and language
  uint64_t seed = 0;
  Split split = Split::kTrain;
  std::vector<Language> languages = {Language::kEnglish};
  RecordForm form = RecordForm::kMessages;
  std::vector<std::string> modes = {
      "slow"};  ///< a record for each: "slow" has the steps, "fast" not
};

struct RecordCount {
  int64_t records = 0;
  std::vector<std::string> notes = {};  ///< of which task and level problems come twice
};

/// The problems of one task, level and language in the split: a pure function of the seed. None
/// comes twice as long as others are found; then `repeats` counts. Throws Error if the split has
/// none.
struct Drawn {
  uint64_t index = 0;  ///< of the draw
  Problem problem = {};
};
std::vector<Drawn> draw_problems(const Task& task, int level, Language language,
                                 const RecordOptions& options, const TaskInputs& inputs,
                                 int64_t& repeats);

/// One record. `id` and `task` to `checker` are the same in all forms.
nlohmann::ordered_json make_record(const Task& task, int level, Language language,
                                   const Drawn& drawn, const RecordOptions& options,
                                   std::string_view mode);

/// All records, task by task and level by level, each as a line of JSON.
RecordCount make_records(const RecordOptions& options, const TaskInputs& inputs,
                         const std::function<void(std::string_view line)>& write);

/// How a base model is asked: `Question: …\nAnswer:`.
std::string base_prompt(std::string_view question, Language language);

}  // namespace um
