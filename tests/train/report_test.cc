// The report: synthetic runs (full, dense, empty, one step, broken, hostile) must give a page that
// is complete in itself. tests/report_screenshot.sh renders the same pages in Chromium; it keeps
// them by naming a directory in UM_REPORT_DIR.
#include "train/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>

#include "core/error.h"
#include "core/files.h"
#include "train/metrics.h"
#include "train/report_data.h"
#include "train/tensorboard.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// A plausible small Pangu Ultra MoE run: 5 MoE layers x 16 experts, 8 layers deep, one MTP head.
class SyntheticRun {
 public:
  explicit SyntheticRun(int64_t steps) : steps_(steps) {
    popularity_.assign(kLayers, std::vector<double>(kExperts, 1.0));
    std::normal_distribution<double> normal;
    for (auto& layer : popularity_)
      for (double& expert : layer) expert = std::exp(0.75 * normal(random_));
  }

  StepMetrics step(int64_t step) {
    std::normal_distribution<double> normal;
    const double t = static_cast<double>(step), progress = t / static_cast<double>(steps_);
    StepMetrics m;
    m.step = step;
    m.time_s = 0.31 * t + (step > steps_ / 2 ? 12 : 0);
    m.tokens = step * 2048;
    m.lr = 1e-3 * (step < 100 ? t / 100 : 0.55 + 0.45 * std::cos(3.14159 * progress));
    const double ideal = 2.75 + 5.6 * std::exp(-t / 60) + 1.9 * std::exp(-t / 500);
    const bool burst = step > 150 && random_() % 130 == 0;
    if (burst) shock_ = 1;
    shock_ *= 0.7;
    m.loss = ideal + 0.07 * normal(random_) + 0.35 * shock_;
    m.mtp_loss = {ideal + 0.62 + 0.08 * normal(random_)};
    m.balance_loss = 1.02 + 0.5 * std::exp(-t / 120) + 0.01 * normal(random_);
    m.z_loss = 0.02 + 0.1 * std::exp(-t / 200) + 0.002 * std::abs(normal(random_));
    m.grad_norm = (0.32 + 3 * std::exp(-t / 40)) * std::exp(0.13 * normal(random_));
    if (burst) m.grad_norm *= 3 + 2 * std::abs(normal(random_));
    m.spike = spikes_.observe(m.grad_norm);
    m.tokens_per_s = 6650 * std::exp(0.02 * normal(random_)) * (step % 500 == 7 ? 0.6 : 1);
    m.model_flops_per_s = m.tokens_per_s * 2.35e7;
    experts(m, t);
    for (int layer = 0; layer < 8; ++layer)
      m.activation_rms.push_back(0.22 + (0.09 + 0.12 * (1 - std::exp(-t / 300))) * (layer + 1) +
                                 0.01 * normal(random_));
    return m;
  }

 private:
  static constexpr size_t kLayers = 5, kExperts = 16;

  void experts(StepMetrics& m, double t) {
    const double bias = 0.12 + std::exp(-t / 180);  // the balance loss evens the router out
    for (size_t layer = 0; layer < kLayers; ++layer) {
      std::vector<double> weights;
      for (size_t e = 0; e < kExperts; ++e) {
        const double drift = 0.25 * std::sin(t / 170 + static_cast<double>(e * 3 + layer));
        weights.push_back(std::pow(popularity_[layer][e], bias * 1.6) * (1 + drift * 0.6));
      }
      if (layer == 3 && t < 260) weights[11] = 0;  // an expert that starts dead
      std::discrete_distribution<size_t> draw(weights.begin(), weights.end());
      std::vector<int64_t> counts(kExperts, 0);
      for (int token = 0; token < 1024; ++token) ++counts[draw(random_)];
      m.moe.push_back(expert_load(static_cast<int>(layer) + 1, counts));
    }
  }

  int64_t steps_;
  std::mt19937_64 random_{7};
  SpikeDetector spikes_;
  double shock_ = 0;
  std::vector<std::vector<double>> popularity_;
};

constexpr const char* kConfig = R"(# Everything needed to repeat this run.
[model]
preset = "pangu-ultra-moe-tiny"

[data]
train = "data/train"   # packed shards
sequence_length = 256

[train]
steps = 2000
batch_tokens = 2048
lr = 1e-3
warmup_steps = 100
mtp_weight = 0.3
balance_weight = 0.01
seed = 1
)";

ModelCard full_card() {
  ModelCard card;
  card.name = "pangu-ultra-moe-tiny";
  card.architecture = "PanguUltraMoEForCausalLM";
  card.command = "ultramoe train --config runs/demo/run.toml --train.seed 1 --out runs/demo";
  card.machine = "2 cores, AVX-512, 16 GB";
  card.planned_steps = 2000;
  card.parts = {{"embedding", 1048576, 0},
                {"attention (MLA)", 786432, 786432},
                {"dense MLP", 196608, 196608},
                {"routed experts", 3932160, 491520},
                {"shared experts", 245760, 245760},
                {"router", 20480, 20480},
                {"MTP head", 655360, 0},
                {"output head", 1048576, 1048576}};
  for (const auto& part : card.parts) {
    card.total_params += part.total;
    card.active_params += part.active;
  }
  card.unigram_entropy_nats = 6.214;
  card.bytes_per_token = 3.47;
  card.data = {{"Corpus", "Debian package of public-domain books"},
               {"Training tokens", "4,812,330"},
               {"Validation tokens", "98,304"},
               {"Vocabulary", "4,096"}};
  card.facts = {{"Optimizer", "AdamW, β 0.9 / 0.95, weight decay 0.1"}, {"Precision", "f32"}};
  return card;
}

class ReportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* kept = std::getenv("UM_REPORT_DIR");
    keep_ = kept != nullptr;
    root_ = keep_ ? fs::path(kept)
                  : fs::temp_directory_path() / fmt::format("um_report_{}", ::getpid());
    fs::create_directories(root_);
  }
  void TearDown() override {
    if (!keep_) fs::remove_all(root_);
  }

  fs::path make(const std::string& name) const {
    const fs::path run = root_ / name;
    fs::remove_all(run);
    fs::create_directories(run);
    return run;
  }

  /// Writes the page, checks what holds for every page, returns its embedded data.
  static nlohmann::json page(const fs::path& run, const ReportOptions& options = {}) {
    const std::string text = read_file(write_report(run, options));
    for (const char* outside : {"http:", "https:", "<link", "src=", "@import", "url(//", "<img"})
      EXPECT_EQ(text.find(outside), std::string::npos) << outside;
    EXPECT_EQ(text.find("{{"), std::string::npos) << "a placeholder was left";
    const std::string open = "<script type=\"application/json\" id=\"data\">";
    const size_t begin = text.find(open) + open.size();
    // One data block and one script: no text of the run may open or close another.
    EXPECT_EQ(count(text, "</script>"), 2u);
    EXPECT_EQ(count(text, "<script"), 2u);
    return nlohmann::json::parse(text.substr(begin, text.find("</script>", begin) - begin));
  }

  static size_t count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }

  fs::path root_;
  bool keep_ = false;
};

void write_full_run(const fs::path& run, int64_t steps) {
  SyntheticRun synthetic(2000);
  MetricsWriter writer(run);
  TensorBoardWriter tensorboard(run);
  writer.write(Sample{0, "The captain", " %ke wug .th∎ 0qz rrr plo =tn e e the"});
  for (int64_t step = 1; step <= steps; ++step) {
    const StepMetrics m = synthetic.step(step);
    writer.write(m);
    tensorboard.write(m);
    if (step % 100 != 0) continue;
    const double t = static_cast<double>(step);
    const ValidationPoint point{step, m.tokens,
                                2.87 + 5.6 * std::exp(-t / 60) + 1.85 * std::exp(-t / 500)};
    writer.write(point);
    tensorboard.write(point);
    if (step % 200 != 0) continue;
    writer.write(Sample{step, "The captain",
                        step < 600 ? " was the the of and a the in of ship, and the the was he of"
                                   : " looked out over the water and said nothing for a long time. "
                                     "“We shall have wind before night,” he told the mate, and "
                                     "went below to his charts."});
    writer.write(Sample{step, "It was", " a cold morning, and the men were slow to rise."});
  }
  write_model_card(run, full_card());
  write_file_atomic(run / "run.toml", kConfig);
}

TEST_F(ReportTest, FullRunIsCompleteAndSmall) {
  const fs::path run = make("full");
  write_full_run(run, 2000);
  const nlohmann::json data = page(run);
  const auto& metrics = data["metrics"];
  EXPECT_EQ(metrics["totals"]["last_step"], 2000);
  EXPECT_NEAR(metrics["totals"]["val_loss"].get<double>(), 2.9, 0.05);
  EXPECT_GT(metrics["totals"]["spikes"].get<int>(), 5);
  EXPECT_EQ(metrics["val"]["x"].size(), 20u);
  EXPECT_LE(metrics["loss"]["x"].size(), 2000u);
  EXPECT_LE(metrics["heat"]["x"].size(), 201u);
  EXPECT_EQ(metrics["heat"]["layers"].size(), 5u);
  EXPECT_EQ(metrics["activation"]["y"].size(), 8u);
  EXPECT_EQ(metrics["mtp"].size(), 1u);
  EXPECT_EQ(data["card"]["parts"].size(), 8u);
  EXPECT_EQ(data["card"]["parts"][3]["active"], 491520);
  EXPECT_EQ(data["card"]["unigram_entropy_nats"], 6.214);
  EXPECT_EQ(data["config"], kConfig);
  EXPECT_LT(fs::file_size(run / "report.html"), 500u << 10);
  EXPECT_EQ(read_file(run / "report.html").find("http-equiv=\"refresh\""), std::string::npos);
}

TEST_F(ReportTest, LiveRunReloads) {
  const fs::path run = make("live");
  write_full_run(run, 430);
  EXPECT_TRUE(page(run, {.live = true, .refresh_s = 7})["live"].get<bool>());
  EXPECT_NE(read_file(run / "report.html").find("<meta http-equiv=\"refresh\" content=\"7\">"),
            std::string::npos);
}

TEST_F(ReportTest, EmptyDirectoryAndMissingDirectory) {
  const fs::path run = make("empty");
  const nlohmann::json data = page(run);
  EXPECT_EQ(data["metrics"]["totals"]["steps"], 0);
  EXPECT_EQ(data["card"]["name"], "empty");
  EXPECT_THROW(write_report(run / "missing"), Error);
}

/// What is there and cannot be read is not shown as if nothing were there.
TEST_F(ReportTest, UnreadableFilesAreNamed) {
  const fs::path run = make("unreadable");
  fs::create_directory(run / "run.toml");
  fs::create_symlink("nowhere", run / "model_card.json");
  nlohmann::json data = page(run);
  EXPECT_EQ(data["config"],
            "# " + (run / "run.toml").string() + ": expected a regular file, found a directory");
  EXPECT_NE(data["card"]["facts"].dump().find("a symbolic link that leads nowhere"),
            std::string::npos)
      << data["card"];
  fs::remove(run / "model_card.json");
  write_file_atomic(run / "model_card.json", "[1]");
  data = page(run);
  EXPECT_NE(data["card"]["facts"].dump().find("expected a JSON object"), std::string::npos);
}

TEST_F(ReportTest, OneStepWithoutAnythingOptional) {
  const fs::path run = make("one_step");
  StepMetrics m;
  m.step = 1;
  m.loss = 8.3;
  m.grad_norm = 3;
  m.tokens = 2048;
  { MetricsWriter(run).write(m); }
  const nlohmann::json data = page(run);
  EXPECT_EQ(data["metrics"]["loss"]["y"], nlohmann::json({8.3}));
  EXPECT_TRUE(data["metrics"]["heat"].is_null());
  EXPECT_TRUE(data["metrics"]["experts"].is_null());
  EXPECT_TRUE(data["metrics"]["totals"]["val_loss"].is_null());
}

TEST_F(ReportTest, DenseRunWithNanLossesAndTornLine) {
  const fs::path run = make("dense_nan");
  SyntheticRun synthetic(300);
  {
    MetricsWriter writer(run);
    for (int64_t step = 1; step <= 300; ++step) {
      StepMetrics m = synthetic.step(step);
      m.moe.clear();
      m.mtp_loss.clear();
      m.balance_loss = m.z_loss = NAN;
      if (step % 50 == 0) m.loss = m.grad_norm = NAN;
      m.skipped = step % 50 == 0;
      writer.write(m);
    }
  }
  std::ofstream(run / "metrics.jsonl", std::ios::app) << "{\"step\":301,\"lo";
  write_file_atomic(run / "model_card.json", "{\"name\": \"half a card");
  const nlohmann::json data = page(run);
  const auto& totals = data["metrics"]["totals"];
  EXPECT_EQ(totals["not_finite"], 6);
  EXPECT_EQ(totals["skipped"], 6);
  EXPECT_EQ(totals["unreadable"], 1);
  EXPECT_TRUE(data["metrics"]["loss"]["y"][49].is_null());
  EXPECT_TRUE(data["metrics"]["mtp"].empty());
}

TEST_F(ReportTest, AllLossesNan) {
  const fs::path run = make("all_nan");
  {
    MetricsWriter writer(run);
    for (int64_t step = 1; step <= 5; ++step) {
      StepMetrics m;
      m.step = step;
      writer.write(m);
    }
  }
  EXPECT_TRUE(page(run)["metrics"]["loss"]["y"].empty());
}

TEST_F(ReportTest, HostileTextStaysText) {
  const fs::path run = make("hostile");
  const std::string evil =
      "</script><script>document.body.dataset.hacked=1</script>"
      "<img onerror=document.body.dataset.hacked=1>{{page}}\xff\xc3";
  {
    MetricsWriter writer(run);
    StepMetrics m;
    m.step = 1;
    m.loss = 1;
    writer.write(m);
    writer.write(Sample{1, evil, evil});
  }
  ModelCard card;
  card.name = card.architecture = card.command = card.machine = evil;
  card.parts = {{evil, 1, 1}};
  card.data = {{evil, evil}};
  write_model_card(run, card);
  write_file_atomic(run / "run.toml", evil);
  const fs::path path = write_report(run);
  const std::string text = read_file(path);
  EXPECT_EQ(count(text, "</script>"), 2u);
  EXPECT_EQ(count(text, "<script"), 2u);
  EXPECT_EQ(count(text, "<img"), 0u);
  EXPECT_EQ(text.find('\xff'), std::string::npos) << "not valid UTF-8";
}

TEST_F(ReportTest, ForeignCardFieldsAreShownOrDropped) {
  const fs::path run = make("foreign_card");
  write_file_atomic(run / "model_card.json",
                    R"({"name": 5, "params.x.total": 3, "params..total": 1, "note": "hi",
                        "list": [1], "data.Size": 12, "total_params": "many", "planned_steps": 9})");
  const nlohmann::json card = page(run)["card"];
  EXPECT_EQ(card["parts"].size(), 1u);
  EXPECT_EQ(card["parts"][0]["total"], 3);
  EXPECT_EQ(card["data"], nlohmann::json::parse(R"([["Size","12"]])"));
  EXPECT_EQ(card["planned_steps"], 9);
  EXPECT_FALSE(card.contains("total_params"));
}

TEST(ThinnedSeriesTest, KeepsOutliersAndMeansInBoundedSpace) {
  ThinnedSeries series(100);
  double sum = 0;
  for (int i = 0; i < 12345; ++i) {
    const double y = i == 7777 ? 50.0 : i == 3001 ? -9.0 : 1.0;
    series.add(i, y);
    sum += y;
  }
  const auto envelope = series.envelope();
  EXPECT_LE(envelope["x"].size(), 200u);
  EXPECT_TRUE(std::is_sorted(envelope["x"].begin(), envelope["x"].end()));
  const auto find = [&](double y) {
    const auto& list = envelope["y"];
    const auto it = std::find(list.begin(), list.end(), y);
    return it == list.end() ? -1 : envelope["x"][it - list.begin()].get<int>();
  };
  EXPECT_EQ(find(50), 7777);
  EXPECT_EQ(find(-9), 3001);
  const auto means = series.means();
  EXPECT_GE(means["x"].size(), 50u);
  EXPECT_LE(means["x"].size(), 100u);
  // All buckets but the last hold equally many points, so their means nearly average to the mean.
  double mean = 0;
  for (const auto& y : means["y"]) mean += y.get<double>() / static_cast<double>(means["y"].size());
  EXPECT_NEAR(mean, sum / 12345, 1e-3);
}

TEST(ThinnedSeriesTest, ShortSeriesIsExactAndNanIsAGap) {
  ThinnedSeries series(100);
  for (int i = 0; i < 5; ++i) series.add(i, i == 2 ? NAN : i * 1.5);
  EXPECT_EQ(series.envelope().dump(), R"({"x":[0,1,2,3,4],"y":[0.0,1.5,null,4.5,6.0]})");
  EXPECT_EQ(series.means().dump(), series.envelope().dump());
}

TEST(ThinnedMatrixTest, ColumnsAreMeansAndCoverAllSteps) {
  ThinnedMatrix matrix(10);
  for (int step = 1; step <= 1000; ++step) {
    const std::vector<float> values = {1.f, static_cast<float>(step)};
    matrix.add(step, values);
  }
  matrix.add(1001, std::vector<float>{1.f});  // another shape: ignored
  EXPECT_LE(matrix.columns(), 10u);
  EXPECT_GE(matrix.columns(), 5u);
  EXPECT_EQ(matrix.at(0, 2), 1.0);
  const std::vector<double> edges = matrix.edges();
  EXPECT_EQ(edges.front(), 1);
  EXPECT_EQ(edges.back(), 1000);
  // A column's mean is the middle of the steps it covers.
  EXPECT_NEAR(matrix.at(1, 0), (edges[0] + edges[1] - 1) / 2, 1e-6);
}

}  // namespace
}  // namespace um
