// See metrics.h.
#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/input_file.h"
#include "core/paths.h"
#include "core/stats.h"

namespace um {
namespace {

using Json = nlohmann::ordered_json;
constexpr size_t kMaxLine = size_t{16} << 20;
constexpr size_t kMaxItems = size_t{1} << 20;

// --- JSON out ---------------------------------------------------------------------------------

/// nlohmann writes the shortest text that reads back as the same double, and NaN and Inf as null.
Json load_json(const ExpertLoad& load) {
  Json json = {{"layer", load.layer},
               {"max_over_mean", load.max_over_mean},
               {"entropy", load.entropy},
               {"dead", load.dead}};
  if (!load.fractions.empty()) {
    Json& list = json["load"] = Json::array();
    // A float's shortest text has at most 9 digits, that of the same value as a double up to 17.
    for (float share : load.fractions)
      list.push_back(std::strtod(fmt::format("{}", share).c_str(), nullptr));
  }
  return json;
}

std::string dump(const Json& json) {
  // Text from a tokenizer may be cut inside a character: replace, never throw.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// --- JSON in ----------------------------------------------------------------------------------

/// A field of the wrong type is as good as absent: the file may be edited or damaged.
double number(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<double>() : NAN;
}

int64_t integer(const Json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_number_integer()) return 0;
  if (it->is_number_unsigned() && it->get<uint64_t>() > (uint64_t{1} << 62)) return 0;
  return it->get<int64_t>();
}

bool flag(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_boolean() && it->get<bool>();
}

std::string text(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

template <class T>
std::vector<T> numbers(const Json& json, const char* key) {
  std::vector<T> list;
  const auto it = json.find(key);
  if (it == json.end() || !it->is_array() || it->size() > kMaxItems) return list;
  list.reserve(it->size());
  for (const Json& item : *it)
    list.push_back(item.is_number() ? static_cast<T>(item.get<double>())
                                    : std::numeric_limits<T>::quiet_NaN());
  return list;
}

std::vector<std::pair<std::string, double>> named_numbers(const Json& json, const char* key) {
  std::vector<std::pair<std::string, double>> list;
  const auto it = json.find(key);
  if (it == json.end() || !it->is_object() || it->size() > kMaxItems) return list;
  for (const auto& [name, value] : it->items())
    if (value.is_number()) list.emplace_back(name, value.get<double>());
  return list;
}

ExpertLoad parse_load(const Json& json) {
  ExpertLoad load;
  load.layer = static_cast<int>(std::clamp<int64_t>(integer(json, "layer"), 0, 1 << 20));
  load.max_over_mean = number(json, "max_over_mean");
  load.entropy = number(json, "entropy");
  load.dead = static_cast<int>(std::clamp<int64_t>(integer(json, "dead"), 0, 1 << 20));
  load.fractions = numbers<float>(json, "load");
  return load;
}

StepMetrics parse_step(const Json& json) {
  StepMetrics m;
  m.step = integer(json, "step");
  m.time_s = number(json, "time_s");
  m.tokens = integer(json, "tokens");
  m.loss = number(json, "loss");
  if (json.contains("val_loss")) m.val_loss = number(json, "val_loss");
  m.mtp_loss = numbers<double>(json, "mtp_loss");
  m.balance_loss = number(json, "balance_loss");
  m.z_loss = number(json, "z_loss");
  m.grad_norm = number(json, "grad_norm");
  m.spike = flag(json, "spike");
  m.skipped = flag(json, "skipped");
  m.lr = number(json, "lr");
  m.tokens_per_s = number(json, "tokens_per_s");
  m.model_flops_per_s = number(json, "model_flops_per_s");
  m.activation_rms = numbers<double>(json, "activation_rms");
  m.measures = named_numbers(json, "measures");
  const auto moe = json.find("moe");
  if (moe != json.end() && moe->is_array() && moe->size() <= kMaxItems)
    for (const Json& layer : *moe)
      if (layer.is_object()) m.moe.push_back(parse_load(layer));
  return m;
}

Json parse_object(std::string_view line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json();
}

// --- files ------------------------------------------------------------------------------------

int open_append(const std::filesystem::path& path) {
  check_optional_file(path);  // to open a pipe is to wait
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  UM_CHECK(fd >= 0, "{}: cannot open for appending: {}", path.string(), std::strerror(errno));
  return fd;
}

void append_line(int fd, const std::filesystem::path& path, std::string line) {
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t put = ::write(fd, rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    UM_CHECK(put > 0, "{}: cannot append: {}", path.string(), std::strerror(errno));
    rest.remove_prefix(static_cast<size_t>(put));
  }
}

/// Keeps the lines whose step (-1: unreadable) is in [0, last_step].
void keep_lines(const std::filesystem::path& path, int64_t last_step,
                const std::function<int64_t(std::string_view)>& step_of) {
  if (last_step > 0 && !path_exists(path)) return;
  AtomicFile kept(path);
  std::string buffer;
  const auto drain = [&] {
    kept.write(std::string_view(buffer));
    buffer.clear();
  };
  if (last_step > 0) {
    for_each_line(path, [&](std::string_view line) {
      const int64_t step = step_of(line);
      if (step < 0 || step > last_step) return;
      buffer.append(line).push_back('\n');
      if (buffer.size() > (size_t{1} << 20)) drain();
    });
  }
  drain();
  kept.commit();
}

int64_t step_of_metrics(std::string_view line) {
  const MetricsLine parsed = parse_metrics_line(line);
  if (parsed.step) return parsed.step->step;
  return parsed.validation ? parsed.validation->step : -1;
}

int64_t step_of_sample(std::string_view line) {
  const std::optional<Sample> sample = parse_sample_line(line);
  return sample ? sample->step : -1;
}

}  // namespace

ExpertLoad expert_load(int layer, std::span<const int64_t> counts) {
  ExpertLoad load;
  load.layer = layer;
  load.max_over_mean = load.entropy = NAN;
  double total = 0, most = 0;
  for (int64_t count : counts) {
    UM_CHECK(count >= 0, "expert load of layer {}: expected counts >= 0, found {}", layer, count);
    total += static_cast<double>(count);
    most = std::max(most, static_cast<double>(count));
    load.dead += count == 0;
  }
  if (total == 0) return load;
  const auto experts = static_cast<double>(counts.size());
  load.max_over_mean = most * experts / total;
  double entropy = 0;
  load.fractions.reserve(counts.size());
  for (int64_t count : counts) {
    const double share = static_cast<double>(count) / total;
    if (count > 0) entropy -= share * std::log(share);
    load.fractions.push_back(static_cast<float>(share));
  }
  load.entropy = counts.size() > 1 ? entropy / std::log(experts) : 1.0;
  return load;
}

std::string to_json_line(const StepMetrics& m) {
  Json json = {{"step", m.step}, {"time_s", m.time_s}, {"tokens", m.tokens}, {"loss", m.loss}};
  if (m.val_loss) json["val_loss"] = *m.val_loss;
  if (!m.mtp_loss.empty()) json["mtp_loss"] = m.mtp_loss;
  const std::pair<const char*, double> optional[] = {{"balance_loss", m.balance_loss},
                                                     {"z_loss", m.z_loss}};
  for (const auto& [key, value] : optional)
    if (!std::isnan(value)) json[key] = value;
  json["grad_norm"] = m.grad_norm;
  json["spike"] = m.spike;
  if (m.skipped) json["skipped"] = true;
  json["lr"] = m.lr;
  json["tokens_per_s"] = m.tokens_per_s;
  json["model_flops_per_s"] = m.model_flops_per_s;
  if (!m.activation_rms.empty()) json["activation_rms"] = m.activation_rms;
  for (const auto& [name, value] : m.measures) json["measures"][name] = value;
  if (!m.moe.empty()) {
    Json& list = json["moe"] = Json::array();
    for (const ExpertLoad& load : m.moe) list.push_back(load_json(load));
  }
  return dump(json);
}

std::string to_json_line(const ValidationPoint& point) {
  Json json = {
      {"type", "val"}, {"step", point.step}, {"tokens", point.tokens}, {"val_loss", point.loss}};
  for (const auto& [name, loss] : point.parts) json["val_parts"][name] = loss;
  return dump(json);
}

std::string to_json_line(const Sample& sample) {
  return dump({{"step", sample.step}, {"prompt", sample.prompt}, {"text", sample.text}});
}

namespace {
ValidationPoint parse_validation(const Json& json) {
  ValidationPoint point{.step = integer(json, "step"),
                        .tokens = integer(json, "tokens"),
                        .loss = number(json, "val_loss"),
                        .parts = named_numbers(json, "val_parts")};
  return point;
}
}  // namespace

MetricsLine parse_metrics_line(std::string_view line) {
  const Json json = parse_object(line);
  const auto step = json.find("step");
  if (json.is_null() || step == json.end() || !step->is_number_integer()) return {};
  if (integer(json, "step") < 0) return {};
  if (text(json, "type") == "val") return {.step = {}, .validation = parse_validation(json)};
  return {.step = parse_step(json), .validation = {}};
}

std::optional<Sample> parse_sample_line(std::string_view line) {
  const Json json = parse_object(line);
  if (json.is_null() || integer(json, "step") < 0 || !json.contains("text")) return std::nullopt;
  return Sample{integer(json, "step"), text(json, "prompt"), text(json, "text")};
}

void for_each_line(const std::filesystem::path& path,
                   const std::function<void(std::string_view)>& visit) {
  if (!path_exists(path)) return;
  InputFile file(path);
  std::string line;
  std::vector<char> block(size_t{1} << 16);
  bool too_long = false;
  const auto finish = [&] {
    if (!too_long && !line.empty()) visit(line);
    line.clear();
    too_long = false;
  };
  while (const size_t got = file.read(block.data(), block.size())) {
    std::string_view rest(block.data(), got);
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      const std::string_view piece = rest.substr(0, end);
      too_long = too_long || line.size() + piece.size() > kMaxLine;
      if (!too_long) line.append(piece);
      if (end == std::string_view::npos) break;
      finish();
      rest.remove_prefix(end + 1);
    }
  }
  finish();
}

bool SpikeDetector::observe(double norm) {
  ++steps_;
  if (norms_.size() >= kMinimum) {
    limit_ = factor_ * median({norms_.begin(), norms_.end()});
  }
  const bool spike = !std::isfinite(norm) || norm > limit_;  // false while limit_ is NaN
  spikes_ += spike;
  if (!std::isfinite(norm)) return spike;
  norms_.push_back(norm);
  if (norms_.size() > window_) norms_.pop_front();
  return spike;
}

void SpikeDetector::replay(const std::filesystem::path& run_dir) {
  for_each_line(run_dir / "metrics.jsonl", [&](std::string_view line) {
    if (const MetricsLine parsed = parse_metrics_line(line); parsed.step)
      observe(parsed.step->grad_norm);
  });
}

MetricsWriter::MetricsWriter(const std::filesystem::path& run_dir, int64_t resumed_step)
    : metrics_path_(run_dir / "metrics.jsonl"), samples_path_(run_dir / "samples.jsonl") {
  keep_lines(metrics_path_, resumed_step, step_of_metrics);
  keep_lines(samples_path_, resumed_step, step_of_sample);
  metrics_ = open_append(metrics_path_);
  samples_ = open_append(samples_path_);
}

MetricsWriter::~MetricsWriter() {
  if (metrics_ >= 0) ::close(metrics_);
  if (samples_ >= 0) ::close(samples_);
}

void MetricsWriter::write(const StepMetrics& metrics) {
  append_line(metrics_, metrics_path_, to_json_line(metrics));
}

void MetricsWriter::write(const ValidationPoint& point) {
  append_line(metrics_, metrics_path_, to_json_line(point));
}

void MetricsWriter::write(const Sample& sample) {
  append_line(samples_, samples_path_, to_json_line(sample));
}

void MetricsWriter::sync() {
  for (const auto& [fd, path] : {std::pair{metrics_, metrics_path_}, {samples_, samples_path_}})
    UM_CHECK(::fdatasync(fd) == 0, "{}: cannot flush to disk: {}", path.string(),
             std::strerror(errno));
}

}  // namespace um
