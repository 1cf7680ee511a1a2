// Files of questions: our own records, and others' (GSM8K, SVAMP, CMATH, multiple choice).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tasks/checker.h"

namespace um {

/// One question and what makes an answer right.
struct Question {
  std::string id = {}, task = {};
  int level = 0;                           ///< 0: none
  std::string language = "en", mode = {};  ///< mode: empty if the record has none
  /// A chat up to the answer, as OpenAI's API takes it, with the tools on offer.
  nlohmann::ordered_json messages = {}, tools = nullptr;
  std::string base_prompt = {};  ///< for a base model
  nlohmann::ordered_json answer = {};
  Checker checker = {};
  std::vector<std::string> choices = {};  ///< of multiple choice, told apart by likelihood
  size_t right_choice = 0;
};

/// Reads a .jsonl file, or a .json file with a list, record by record. What a record is, its fields
/// say (docs/tasks.md); the task of others' is the file's name. Throws Error `FILE:LINE: …`.
std::vector<Question> read_questions(const std::filesystem::path& file);

/// At most `limit` of each task, level and mode, the first ones; 0: all.
std::vector<Question> limited(std::vector<Question> questions, int64_t limit);

}  // namespace um
