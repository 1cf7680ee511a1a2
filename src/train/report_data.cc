// See report_data.h.
#include "train/report_data.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "core/error.h"

namespace um {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kRecentSteps = 50;  // headline figures are means over the last so many steps
constexpr size_t kMaxHeatRows = 1000;
constexpr size_t kMaxSampleSteps = 12, kMaxPrompts = 4, kMaxSampleBytes = 1500;
constexpr double kHeatOctaves = 3;  // load / mean is shown from 1/8 to 8

/// Five digits: more than a pixel, and a third of the bytes. Not finite: null.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(fmt::format("{:.5g}", value).c_str(), nullptr);
}

/// A step number, whole where it is whole (a bucket's mean step may not be).
Json step_json(double step) {
  if (step == std::floor(step) && std::abs(step) < 9e15) return static_cast<int64_t>(step);
  return std::strtod(fmt::format("{:.1f}", step).c_str(), nullptr);
}

Json empty_series() {
  return {{"x", Json::array()}, {"y", Json::array()}};
}

void push(Json& series, double x, double y) {
  series["x"].push_back(step_json(x));
  series["y"].push_back(rounded(y));
}

std::string base64(const std::vector<uint8_t>& bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? bytes[i + k] : uint8_t{0});
    for (size_t k = 0; k < 4; ++k)
      text.push_back(i + k <= bytes.size() ? kDigits[(group >> (18 - 6 * k)) & 63] : '=');
  }
  return text;
}

/// One cell of the heat map: 0 = not measured, 1 = no token at all, 2..254 = log2(load / mean) over
/// [-kHeatOctaves, kHeatOctaves].
uint8_t heat_byte(double load_over_mean) {
  if (!(load_over_mean >= 0)) return 0;
  if (load_over_mean == 0) return 1;
  const double octaves = std::clamp(std::log2(load_over_mean), -kHeatOctaves, kHeatOctaves);
  return static_cast<uint8_t>(std::lround(128 + octaves / kHeatOctaves * 126));
}

template <class Get>
double mean_of(const std::deque<StepMetrics>& steps, Get get) {
  double sum = 0, count = 0;
  for (const StepMetrics& m : steps) {
    if (!std::isfinite(get(m))) continue;
    sum += get(m);
    ++count;
  }
  return count == 0 ? NAN : sum / count;
}

}  // namespace

// --- ThinnedSeries ----------------------------------------------------------------------------

void ThinnedSeries::merge(Bucket& into, const Bucket& from) {
  if (from.finite > 0 && (into.finite == 0 || from.low < into.low)) {
    into.low = from.low;
    into.x_low = from.x_low;
  }
  if (from.finite > 0 && (into.finite == 0 || from.high > into.high)) {
    into.high = from.high;
    into.x_high = from.x_high;
  }
  into.x_sum += from.x_sum;
  into.sum += from.sum;
  into.points += from.points;
  into.finite += from.finite;
}

void ThinnedSeries::add(double x, double y) {
  const bool finite = std::isfinite(y);
  const Bucket point{x, finite ? y : 0, x, y, x, y, 1, finite ? size_t{1} : 0};
  if (!buckets_.empty() && buckets_.back().points < width_) return merge(buckets_.back(), point);
  if (buckets_.size() == max_buckets_) {
    for (size_t i = 0; i < buckets_.size(); i += 2) {
      Bucket pair = buckets_[i];
      if (i + 1 < buckets_.size()) merge(pair, buckets_[i + 1]);
      buckets_[i / 2] = pair;
    }
    buckets_.resize((buckets_.size() + 1) / 2);
    width_ *= 2;
    if (buckets_.back().points < width_) return merge(buckets_.back(), point);
  }
  buckets_.push_back(point);
}

bool ThinnedSeries::empty() const {
  return std::none_of(buckets_.begin(), buckets_.end(), [](const Bucket& b) { return b.finite; });
}

Json ThinnedSeries::envelope() const {
  Json series = empty_series();
  if (empty()) return series;
  for (const Bucket& b : buckets_) {
    if (b.finite == 0) {
      push(series, b.x_sum / static_cast<double>(b.points), NAN);
    } else if (b.x_low == b.x_high) {
      push(series, b.x_low, b.low);
    } else {
      const bool low_first = b.x_low < b.x_high;
      push(series, low_first ? b.x_low : b.x_high, low_first ? b.low : b.high);
      push(series, low_first ? b.x_high : b.x_low, low_first ? b.high : b.low);
    }
  }
  return series;
}

Json ThinnedSeries::means() const {
  Json series = empty_series();
  if (empty()) return series;
  for (const Bucket& b : buckets_)
    push(series, b.x_sum / static_cast<double>(b.points),
         b.finite == 0 ? NAN : b.sum / static_cast<double>(b.finite));
  return series;
}

Json ThinnedSeries::peaks() const {
  Json series = empty_series();
  for (const Bucket& b : buckets_)
    if (b.finite > 0) push(series, b.x_high, b.high);
  return series;
}

// --- ThinnedMatrix ----------------------------------------------------------------------------

void ThinnedMatrix::add(double x, std::span<const float> values) {
  if (rows_ == 0) rows_ = values.size();
  if (values.empty() || values.size() != rows_) return;
  if (columns_.size() == max_columns_ && columns_.back().points >= width_) {
    for (size_t i = 0; i < columns_.size(); i += 2) {
      Column pair = std::move(columns_[i]);
      if (i + 1 < columns_.size()) {
        const Column& next = columns_[i + 1];
        for (size_t row = 0; row < rows_; ++row) {
          pair.sum[row] += next.sum[row];
          pair.finite[row] += next.finite[row];
        }
        pair.x_sum += next.x_sum;
        pair.points += next.points;
      }
      columns_[i / 2] = std::move(pair);
    }
    columns_.resize((columns_.size() + 1) / 2);
    width_ *= 2;
  }
  if (columns_.empty() || columns_.back().points >= width_)
    columns_.push_back({x, 0, 0, std::vector<float>(rows_, 0.f), std::vector<uint32_t>(rows_, 0)});
  Column& column = columns_.back();
  for (size_t row = 0; row < rows_; ++row) {
    if (!std::isfinite(values[row])) continue;
    column.sum[row] += values[row];
    ++column.finite[row];
  }
  column.x_sum += x;
  ++column.points;
  last_ = x;
}

double ThinnedMatrix::at(size_t row, size_t column) const {
  const Column& c = columns_[column];
  return c.finite[row] == 0 ? NAN : static_cast<double>(c.sum[row]) / c.finite[row];
}

std::vector<double> ThinnedMatrix::edges() const {
  std::vector<double> edges;
  for (const Column& column : columns_) edges.push_back(column.first);
  edges.push_back(last_);
  return edges;
}

Json ThinnedMatrix::curves() const {
  Json curves = empty_series();
  for (const Column& column : columns_)
    curves["x"].push_back(step_json(column.x_sum / static_cast<double>(column.points)));
  for (size_t row = 0; row < rows_; ++row) {
    Json list = Json::array();
    for (size_t column = 0; column < columns_.size(); ++column)
      list.push_back(rounded(at(row, column)));
    curves["y"].push_back(std::move(list));
  }
  return curves;
}

// --- RunData ----------------------------------------------------------------------------------

void RunData::read(const std::filesystem::path& run_dir) {
  for_each_line(run_dir / "metrics.jsonl", [&](std::string_view line) {
    const MetricsLine parsed = parse_metrics_line(line);
    if (parsed.step) add(*parsed.step);
    if (parsed.validation) add(*parsed.validation);
    unreadable_ += !parsed.step && !parsed.validation;
  });
  for_each_line(run_dir / "samples.jsonl", [&](std::string_view line) {
    if (std::optional<Sample> sample = parse_sample_line(line)) add(std::move(*sample));
  });
}

void RunData::add(const StepMetrics& m) {
  const auto x = static_cast<double>(m.step);
  ++steps_;
  spike_count_ += m.spike;
  skipped_count_ += m.skipped;
  not_finite_ += !std::isfinite(m.loss);
  loss_.add(x, m.loss);
  grad_norm_.add(x, m.grad_norm);
  detector_.observe(m.grad_norm);
  spike_limit_.add(x, detector_.limit());
  if (m.spike && std::isfinite(m.grad_norm)) spikes_.add(x, m.grad_norm);
  if (m.skipped || !std::isfinite(m.loss)) skipped_.add(x, 0);
  lr_.add(x, m.lr);
  tokens_per_s_.add(x, m.tokens_per_s);
  flops_per_s_.add(x, m.model_flops_per_s);
  balance_.add(x, m.balance_loss);
  z_.add(x, m.z_loss);
  tokens_.add(x, static_cast<double>(m.tokens));
  time_.add(x, m.time_s);
  if (mtp_.empty()) mtp_.assign(std::min<size_t>(m.mtp_loss.size(), 16), ThinnedSeries(500));
  for (size_t head = 0; head < std::min(mtp_.size(), m.mtp_loss.size()); ++head)
    mtp_[head].add(x, m.mtp_loss[head]);
  const std::vector<float> rms(m.activation_rms.begin(), m.activation_rms.end());
  activation_.add(x, rms);
  add_experts(m);
  last_.step = m.step;
  last_.time_s = m.time_s;
  last_.tokens = m.tokens;
  last_.loss = m.loss;
  last_.tokens_per_s = m.tokens_per_s;
  last_.model_flops_per_s = m.model_flops_per_s;
  recent_.push_back(last_);
  if (recent_.size() > kRecentSteps) recent_.pop_front();
  if (m.val_loss) add(ValidationPoint{.step = m.step, .tokens = m.tokens, .loss = *m.val_loss});
}

void RunData::add_experts(const StepMetrics& m) {
  if (m.moe.empty()) return;
  const auto x = static_cast<double>(m.step);
  std::vector<float> ratios, entropies, dead, loads;
  std::vector<size_t> sizes;
  for (const ExpertLoad& load : m.moe) {
    ratios.push_back(static_cast<float>(load.max_over_mean));
    entropies.push_back(static_cast<float>(load.entropy));
    dead.push_back(static_cast<float>(load.dead));
    sizes.push_back(load.fractions.size());
    for (float share : load.fractions)
      loads.push_back(share * static_cast<float>(load.fractions.size()));
  }
  if (layers_.empty())
    for (const ExpertLoad& load : m.moe) layers_.push_back(load.layer);
  max_over_mean_.add(x, ratios);
  entropy_.add(x, entropies);
  dead_.add(x, dead);
  if (loads.empty()) return;
  if (heat_sizes_.empty()) {
    heat_sizes_ = sizes;
    for (const ExpertLoad& load : m.moe) heat_layers_.push_back(load.layer);
  }
  if (sizes == heat_sizes_) heat_.add(x, loads);
}

void RunData::add(const ValidationPoint& point) {
  validation_.add(static_cast<double>(point.step), point.loss);
  if (!std::isfinite(point.loss)) return;
  last_validation_ = point;
  if (!(best_validation_.loss <= point.loss)) best_validation_ = point;
}

void RunData::add(Sample sample) {
  sample.prompt.resize(std::min(sample.prompt.size(), kMaxSampleBytes));
  sample.text.resize(std::min(sample.text.size(), kMaxSampleBytes));
  samples_.push_back(std::move(sample));
}

Json RunData::totals() const {
  return {{"steps", steps_},
          {"last_step", last_.step},
          {"tokens", last_.tokens},
          {"time_s", rounded(last_.time_s)},
          {"train_loss", rounded(mean_of(recent_, [](const auto& m) { return m.loss; }))},
          {"train_loss_steps", recent_.size()},
          {"val_loss", rounded(last_validation_.loss)},
          {"val_step", last_validation_.step},
          {"best_val_loss", rounded(best_validation_.loss)},
          {"best_val_step", best_validation_.step},
          {"tokens_per_s", rounded(mean_of(recent_, [](const auto& m) { return m.tokens_per_s; }))},
          {"model_flops_per_s",
           rounded(mean_of(recent_, [](const auto& m) { return m.model_flops_per_s; }))},
          {"spikes", spike_count_},
          {"skipped", skipped_count_},
          {"not_finite", not_finite_},
          {"unreadable", unreadable_}};
}

Json RunData::experts_json() const {
  if (layers_.empty()) return nullptr;
  return {{"layers", layers_},
          {"max_over_mean", max_over_mean_.curves()},
          {"entropy", entropy_.curves()},
          {"dead", dead_.curves()}};
}

Json RunData::heat_json() const {
  if (heat_.columns() == 0) return nullptr;
  // Very many experts share rows: `fold` neighbours of a layer, the most unbalanced one shown.
  const size_t fold = (heat_.rows() + kMaxHeatRows - 1) / kMaxHeatRows;
  std::vector<uint8_t> cells;
  Json layers = Json::array();
  size_t row = 0;
  for (size_t i = 0; i < heat_sizes_.size(); ++i) {
    layers.push_back({{"layer", heat_layers_[i]}, {"experts", heat_sizes_[i]}});
    for (size_t expert = 0; expert < heat_sizes_[i]; expert += fold) {
      const size_t members = std::min(fold, heat_sizes_[i] - expert);
      for (size_t column = 0; column < heat_.columns(); ++column) {
        uint8_t worst = 0;
        for (size_t k = 0; k < members; ++k) {
          const uint8_t cell = heat_byte(heat_.at(row + k, column));
          if (worst == 0 || std::abs(cell - 128) > std::abs(worst - 128)) worst = cell;
        }
        cells.push_back(worst);
      }
      row += members;
    }
  }
  Json edges = Json::array();
  for (double edge : heat_.edges()) edges.push_back(step_json(edge));
  return {{"x", edges},
          {"layers", layers},
          {"fold", fold},
          {"cells", base64(cells)},
          {"octaves", kHeatOctaves}};
}

Json RunData::samples_json() const {
  std::vector<int64_t> steps;
  for (const Sample& sample : samples_)
    if (steps.empty() || steps.back() != sample.step) steps.push_back(sample.step);
  std::vector<int64_t> shown;  // the first, the last, and evenly spread ones between
  const size_t count = std::min(steps.size(), kMaxSampleSteps);
  for (size_t i = 0; i < count; ++i)
    shown.push_back(count == 1 ? steps[0] : steps[i * (steps.size() - 1) / (count - 1)]);
  Json list = Json::array();
  for (int64_t step : shown) {
    size_t prompts = 0;
    for (const Sample& sample : samples_)
      if (sample.step == step && prompts++ < kMaxPrompts)
        list.push_back({{"step", step}, {"prompt", sample.prompt}, {"text", sample.text}});
  }
  return list;
}

Json RunData::to_json() const {
  Json mtp = Json::array();
  for (const ThinnedSeries& head : mtp_) mtp.push_back(head.means());
  return {{"totals", totals()},
          {"tokens", tokens_.means()},
          {"time", time_.means()},
          {"loss", loss_.envelope()},
          {"loss_mean", loss_.means()},
          {"val", validation_.means()},
          {"mtp", mtp},
          {"grad_norm", grad_norm_.envelope()},
          {"spike_limit", spike_limit_.means()},
          {"spikes", spikes_.peaks()},
          {"skipped", skipped_.peaks()},
          {"lr", lr_.means()},
          {"tokens_per_s", tokens_per_s_.means()},
          {"flops_per_s", flops_per_s_.means()},
          {"balance", balance_.means()},
          {"z", z_.means()},
          {"experts", experts_json()},
          {"heat", heat_json()},
          {"activation", activation_.columns() == 0 ? Json() : activation_.curves()},
          {"samples", samples_json()}};
}

}  // namespace um
