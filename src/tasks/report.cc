// See report.h. The page is src/tasks/page/, embedded by CMake.
#include "tasks/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/files.h"
#include "core/html_page.h"
#include "embedded/tasks_page.h"  // made by CMake

namespace um {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

}  // namespace

OrderedJson to_json(const ResultRow& row) {
  OrderedJson pass = OrderedJson::object();
  for (size_t i = 0; i < row.k.size(); ++i) pass[std::to_string(row.k[i])] = row.pass[i];
  return {{"task", row.task},
          {"level", row.level == 0 ? OrderedJson() : OrderedJson(row.level)},
          {"mode", row.mode},
          {"problems", row.problems},
          {"samples", row.samples},
          {"exact", row.exact},
          {"interval", {row.interval.low, row.interval.high}},
          {"pass", pass},
          {"tokens", row.tokens},
          {"cut", row.cut}};
}

OrderedJson to_json(const TaskReport& report) {
  OrderedJson rows = OrderedJson::array();
  for (const ResultRow& row : report.rows) rows.push_back(to_json(row));
  return {{"model", report.model},       {"tasks", report.file}, {"form", report.form},
          {"settings", report.settings}, {"rows", rows},         {"seconds", report.seconds}};
}

std::vector<std::string> table_of(std::span<const ResultRow> rows) {
  size_t width = 4;
  bool several = false;
  for (const ResultRow& row : rows) {
    width = std::max(width, row.task.size());
    several = several || row.samples > 1;
  }
  const auto line = [&](std::string_view task, std::string_view level, std::string_view mode,
                        std::string_view n, std::string_view exact, std::string_view interval,
                        std::string_view pass, std::string_view tokens, std::string_view cut) {
    std::string text = fmt::format("{:<{}}  {:>5}  {:<15}  {:>8}  {:>7}  {:>15}", task, width,
                                   level, mode, n, exact, interval);
    if (several) text += fmt::format("  {:>13}", pass);
    return text + fmt::format("  {:>8}  {:>7}", tokens, cut);
  };
  std::vector<std::string> lines = {line("task", "level", "mode", "problems", "exact",
                                         "95% interval", "pass@k", "tokens", "cut")};
  for (const ResultRow& row : rows)
    lines.push_back(
        line(row.task, row.level == 0 ? "all" : std::to_string(row.level), row.mode,
             std::to_string(row.problems), percent(row.exact),
             fmt::format("{:.1f} to {:.1f} %", 100 * row.interval.low, 100 * row.interval.high),
             fmt::format("@{} {}", row.k.back(), percent(row.pass.back())),
             fmt::format("{:.1f}", row.tokens), percent(row.cut)));
  return lines;
}

void write_task_report(const TaskReport& report, const std::filesystem::path& file) {
  OrderedJson data = to_json(report);
  data["samples"] = report.samples;
  const std::string title = escape_html(report.model), json = script_json(data);
  write_file_atomic(file, fill_page(embedded::kTasksHtml, {{"title", title},
                                                           {"style", embedded::kPageCss},
                                                           {"own_style", embedded::kTasksCss},
                                                           {"data", json},
                                                           {"script", embedded::kTasksJs}}));
}

}  // namespace um
