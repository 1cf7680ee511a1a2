// What an evaluation on tasks found, for people and programs.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tasks/statistics.h"

namespace um {

struct TaskReport {
  std::string model, file;  ///< names
  std::string form;         ///< how questions were asked
  nlohmann::ordered_json settings = {};
  std::vector<ResultRow> rows = {};
  /// A few samples, as they are in the file of results.
  std::vector<nlohmann::ordered_json> samples = {};
  double seconds = 0;
};

nlohmann::ordered_json to_json(const ResultRow& row);
/// All but the samples.
nlohmann::ordered_json to_json(const TaskReport& report);
/// Lines for a terminal, the head first.
std::vector<std::string> table_of(std::span<const ResultRow> rows);
/// One self-contained page. Throws Error.
void write_task_report(const TaskReport& report, const std::filesystem::path& file);

}  // namespace um
