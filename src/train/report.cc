// See report.h. The page itself is src/train/report_page/, embedded by CMake; here its data are
// gathered and put in.
#include "train/report.h"

#include <chrono>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/html_page.h"
#include "core/paths.h"
#include "embedded/report_page.h"  // made by CMake from report_page/
#include "train/report_data.h"

namespace um {
namespace {

using Json = nlohmann::ordered_json;
constexpr uint64_t kMaxCardBytes = 1 << 20, kMaxConfigBytes = 256 << 10;
constexpr size_t kMaxFacts = 256;

/// "params.PART.total" → PART; empty if `key` has another form.
std::string_view part_of(std::string_view key, std::string_view suffix) {
  constexpr std::string_view kPrefix = "params.";
  if (key.size() <= kPrefix.size() + suffix.size()) return {};
  if (key.substr(0, kPrefix.size()) != kPrefix) return {};
  if (key.substr(key.size() - suffix.size()) != suffix) return {};
  key.remove_prefix(kPrefix.size());
  return key.substr(0, key.size() - suffix.size());
}

/// The message of the Error that this throws; empty if it throws none.
std::string fault_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// A scalar as text for the page; empty for anything else.
std::string scalar_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  return value.is_number() ? value.dump() : std::string();
}

void set_part(Json& parts, std::string_view name, const char* field, const Json& count) {
  for (Json& part : parts) {
    if (part["name"] != name) continue;
    part[field] = count;
    return;
  }
  if (parts.size() < kMaxFacts) parts.push_back({{"name", name}, {field, count}});
}

/// The flat card, sorted into what the page shows where. A missing card is an empty one, one that
/// cannot be read says so.
Json read_card(const std::filesystem::path& path) {
  Json card = {{"parts", Json::array()}, {"data", Json::array()}, {"facts", Json::array()}};
  Json flat = Json::object();
  const std::string fault = fault_of([&] {
    if (path_exists(path)) flat = Json::parse(read_file(path, kMaxCardBytes), nullptr, false);
    UM_CHECK(flat.is_object(), "{}: expected a JSON object", path.string());
  });
  if (!fault.empty()) card["facts"].push_back({"Unreadable", fault});
  if (!flat.is_object()) return card;
  for (const auto& [key, value] : flat.items()) {
    const bool text =
        key == "name" || key == "architecture" || key == "command" || key == "machine";
    const bool number = key == "planned_steps" || key == "total_params" || key == "active_params" ||
                        key == "unigram_entropy_nats" || key == "bytes_per_token" ||
                        key == "bytes_per_target";
    if ((text && value.is_string()) || (number && value.is_number())) {
      card[key] = value;
    } else if (const auto total = part_of(key, ".total"); !total.empty() && value.is_number()) {
      set_part(card["parts"], total, "total", value);
    } else if (const auto used = part_of(key, ".active"); !used.empty() && value.is_number()) {
      set_part(card["parts"], used, "active", value);
    } else if (const std::string shown = scalar_text(value); !shown.empty()) {
      const bool data = key.rfind("data.", 0) == 0;
      Json& list = card[data ? "data" : "facts"];
      if (list.size() < kMaxFacts) list.push_back({data ? key.substr(5) : key, shown});
    }
  }
  return card;
}

/// run.toml as text, cut at a limit with a note; or a note that it cannot be read.
std::string read_config(const std::filesystem::path& path) {
  std::string text;
  const std::string fault = fault_of([&] {
    if (!path_exists(path)) return;
    const MappedFile file(path);
    const auto bytes = file.bytes();
    const size_t shown = std::min<size_t>(bytes.size(), kMaxConfigBytes);
    text.assign(reinterpret_cast<const char*>(bytes.data()), shown);
    if (shown < bytes.size()) text += fmt::format("\n# … {} more bytes", bytes.size() - shown);
  });
  return fault.empty() ? text : "# " + fault;
}

}  // namespace

void write_model_card(const std::filesystem::path& run_dir, const ModelCard& card) {
  Json flat = Json::object();
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) flat[key] = value;
  };
  text("name", card.name);
  text("architecture", card.architecture);
  text("command", card.command);
  text("machine", card.machine);
  if (card.planned_steps > 0) flat["planned_steps"] = card.planned_steps;
  if (card.total_params > 0) flat["total_params"] = card.total_params;
  if (card.active_params > 0) flat["active_params"] = card.active_params;
  for (const ModelCard::Part& part : card.parts) {
    flat[fmt::format("params.{}.total", part.name)] = part.total;
    flat[fmt::format("params.{}.active", part.name)] = part.active;
  }
  if (card.unigram_entropy_nats > 0) flat["unigram_entropy_nats"] = card.unigram_entropy_nats;
  if (card.bytes_per_token > 0) flat["bytes_per_token"] = card.bytes_per_token;
  if (card.bytes_per_target > 0) flat["bytes_per_target"] = card.bytes_per_target;
  for (const auto& [label, value] : card.data) flat["data." + label] = value;
  for (const auto& [label, value] : card.facts) flat[label] = value;
  write_file_atomic(run_dir / "model_card.json",
                    flat.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::filesystem::path write_report(const std::filesystem::path& run_dir,
                                   const ReportOptions& options) {
  UM_CHECK(std::filesystem::is_directory(run_dir),
           "{}: expected the directory of a run, found none", run_dir.string());
  RunData run;
  run.read(run_dir);
  Json card = read_card(run_dir / "model_card.json");
  if (!card.contains("name")) card["name"] = std::filesystem::absolute(run_dir).filename().string();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const Json data = {
      {"live", options.live},
      {"updated", std::chrono::duration_cast<std::chrono::seconds>(now).count()},
      {"card", card},
      {"config", read_config(run_dir / "run.toml")},
      {"metrics", run.to_json()},
  };
  const std::string refresh = options.live
                                  ? fmt::format("<meta http-equiv=\"refresh\" content=\"{}\">",
                                                std::max(1, options.refresh_s))
                                  : std::string();
  // Through JSON, so that the title is valid UTF-8 whatever the card holds.
  const Json name = Json::parse(card["name"].dump(-1, ' ', false, Json::error_handler_t::replace));
  const std::string title = escape_html(name.get<std::string>());
  const std::string json = script_json(data);
  std::filesystem::path path = run_dir / "report.html";
  write_file_atomic(path, fill_page(embedded::kPageHtml, {{"title", title},
                                                          {"refresh", refresh},
                                                          {"style", embedded::kPageCss},
                                                          {"data", json},
                                                          {"chart", embedded::kChartJs},
                                                          {"heat", embedded::kHeatJs},
                                                          {"page", embedded::kPageJs}}));
  return path;
}

}  // namespace um
