// Quantising checkpoints: what comes out loads and is what the methods promise; a run that was
// ended goes on to the same bytes; inputs are those of the products.
#include "quant/quantize.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "models/checkpoint.h"
#include "ops/devices.h"
#include "ops/moe.h"
#include "quant/report.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class QuantizeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = fs::path(testing::TempDir()) /
            fmt::format("quantize_{}_{}", ::getpid(),
                        testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(base_);
    fs::create_directories(base_ / "model");
  }
  void TearDown() override { fs::remove_all(base_); }

  void save(const std::string& preset) {
    const auto model = random_model(preset);
    tiny_tokenizer().save(base_ / "model");
    save_model(*model, base_ / "model");
    vocab_ = model->config().vocab;
  }

  std::vector<Batch> batches() const {
    return {random_batch({256, 256}, vocab_, 1), random_batch({256}, vocab_, 2)};
  }

  /// Ended by an exception before layer `stop_at`.
  std::vector<QuantizedMatrix> quantize(const std::string& to, const QuantizeOptions& options,
                                        int64_t stop_at = -1, bool text = true) const {
    Quantization quantization(base_ / "model", base_ / to, options, cpu_device());
    const auto stop = [&](const QuantizeStep& step) {
      if (step.layer == stop_at) fail("ended here");
    };
    auto matrices = quantization.run(text ? batches() : std::vector<Batch>(), stop);
    quantization.finish();
    return matrices;
  }

  std::vector<float> logits_of(const std::string& name) const {
    const auto model = load_model(base_ / name, cpu_device(), nullptr, kF32Rows);
    return full_logits(*model, random_ids(64, vocab_, 3));
  }

  double distance(const std::string& name) const {
    const std::vector<float> a = logits_of("model"), b = logits_of(name);
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i)
      sum += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
    return sum;
  }

  static std::map<std::string, std::string> files_of(const fs::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder))
      files[entry.path().filename().string()] = read_file(entry.path());
    return files;
  }

  fs::path base_;
  int64_t vocab_ = 0;
};

TEST_F(QuantizeTest, EachMethodLosesLessThanTheOneBefore) {
  save("tiny-embedded");
  std::vector<double> errors, distances;
  for (const RoundMethod method :
       {RoundMethod::nearest, RoundMethod::ssz, RoundMethod::weighted, RoundMethod::gptq}) {
    const std::string to(round_method_name(method));
    double error = 0;
    for (const QuantizedMatrix& matrix : quantize(to, {kW4Rows, method})) {
      EXPECT_EQ(matrix.method, method);
      EXPECT_EQ(matrix.note, "");
      error += matrix.errors.outputs;
    }
    errors.push_back(error);
    distances.push_back(distance(to));
  }
  EXPECT_LT(errors[1], errors[0]);
  EXPECT_LT(errors[2], errors[1]);
  EXPECT_LT(errors[3], errors[2]);
  EXPECT_LT(distances[1], distances[0]);
}

TEST_F(QuantizeTest, WithoutInputsItIsWhatConvertWrites) {
  save("tiny-pro");
  quantize("ssz", {kW8Rows, RoundMethod::ssz}, -1, false);
  Conversion(base_ / "model", base_ / "converted", {}, kW8Rows).write(0, {});
  const CheckpointReader a(base_ / "ssz"), b(base_ / "converted");
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const auto& [name, tensor] : a.tensors())
    EXPECT_TRUE(std::ranges::equal(tensor->bytes, b.at(name).bytes)) << name;
}

TEST_F(QuantizeTest, ARunThatWasEndedGoesOnToTheSameBytes) {
  save("nano-ultra");  // MLA, experts, an MTP head
  const QuantizeOptions options{kW4Rows, RoundMethod::gptq, 64, 7};
  const std::vector<QuantizedMatrix> whole = quantize("whole", options);
  EXPECT_THROW(quantize("parts", options, 0), Error);
  std::ofstream(base_ / "parts" / "model-00001-of-00009.safetensors") << "a layer before its state";
  EXPECT_THROW(quantize("parts", options, 2), Error);
  fs::remove(base_ / "parts" / "model-00001-of-00009.safetensors");
  EXPECT_FALSE(fs::exists(base_ / "parts" / "config.json"));
  // Other settings, another text: refused, and nothing is lost.
  EXPECT_THROW(quantize("parts", {kW8Rows, RoundMethod::gptq, 64, 7}), Error);
  EXPECT_THROW(quantize("parts", {kW4Rows, RoundMethod::gptq, 64, 8}), Error);
  EXPECT_EQ(Quantization(base_ / "model", base_ / "parts", options, cpu_device()).finished_layers(),
            2);
  const std::vector<QuantizedMatrix> parts = quantize("parts", options);
  const auto first = files_of(base_ / "whole"), second = files_of(base_ / "parts");
  ASSERT_EQ(first.size(), second.size());
  for (const auto& [name, bytes] : first) EXPECT_EQ(bytes, second.at(name)) << name;
  ASSERT_EQ(whole.size(), parts.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].name, parts[i].name);
    EXPECT_EQ(whole[i].errors.outputs, parts[i].errors.outputs);
  }
  EXPECT_THROW(quantize("whole", options), Error) << "there is a model there";
}

TEST_F(QuantizeTest, ExpertsThatSawTooLittleAreRoundedWithoutAndNamed) {
  save("nano-ultra");
  size_t noted = 0, experts = 0;
  for (const QuantizedMatrix& matrix : quantize("out", {kW4Rows, RoundMethod::gptq, 300})) {
    const bool expert = matrix.name.find("mlp.experts.") != std::string::npos;
    experts += expert ? 1 : 0;
    noted += matrix.note.empty() ? 0 : 1;
    EXPECT_EQ(matrix.method, matrix.inputs < 300 ? RoundMethod::ssz : RoundMethod::gptq);
    EXPECT_EQ(matrix.note.empty(), matrix.inputs >= 300) << matrix.name;
    if (!expert) {
      EXPECT_EQ(matrix.inputs, 768) << matrix.name;
    }
  }
  EXPECT_GT(experts, 0u);
  EXPECT_GT(noted, 0u);
}

/// Ended behind the last layer: while the rest is written, and before the digests are.
TEST_F(QuantizeTest, ARunThatWasEndedAtItsEndGoesOn) {
  save("nano-openpangu2");  // streams: a matrix of no layer
  const QuantizeOptions options{kW4Rows, RoundMethod::gptq, 64};
  const size_t all = quantize("whole", options).size();
  const auto whole = files_of(base_ / "whole");
  const auto model = load_model(base_ / "whole", cpu_device());
  EXPECT_THROW(quantize("parts", options, model->config().layers + model->config().mtp_layers),
               Error);
  Quantization(base_ / "model", base_ / "parts", options, cpu_device()).run(batches(), [](auto&) {
  });
  EXPECT_TRUE(fs::exists(base_ / "parts" / "config.json"));
  EXPECT_EQ(quantize("parts", options).size(), all);
  const auto parts = files_of(base_ / "parts");
  ASSERT_EQ(whole.size(), parts.size());
  for (const auto& [name, bytes] : whole) EXPECT_EQ(bytes, parts.at(name)) << name;
}

TEST_F(QuantizeTest, DamageIsNamed) {
  save("tiny-embedded");
  const QuantizeOptions options{kW4Rows, RoundMethod::ssz};
  const auto refused = [&](const std::string& text, const std::string& expected) {
    try {
      quantize("out", options);
      ADD_FAILURE() << "not refused: " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
  };
  EXPECT_THROW(quantize("out", options, 1), Error);
  const fs::path state = base_ / "out" / "unfinished" / "state.json";
  const std::string good = read_file(state);
  const auto with = [&](const std::string& what, const std::string& by) {
    std::string text = good;
    text.replace(text.find(what), what.size(), by);
    return text;
  };
  for (const auto& [text, expected] : {
           std::pair<std::string, std::string>{"{", "damaged"},
           {R"({"layers":3})", "damaged"},
           {R"({"settings":{},"layers":[]})", "other settings"},
           {with("\"method\":\"ssz\",\"name\"", "\"method\":\"x\",\"name\""), "damaged"},
           {with("\"bits\":4.5", "\"bits\":\"x\""), "damaged"},
           {with("\"layers\":[", "\"layers\":[3,[],"), "damaged"},
       }) {
    std::ofstream(state) << text;
    refused(text, expected);
  }
  std::ofstream(state) << good;
  for (const auto& entry : fs::directory_iterator(base_ / "out"))
    if (const fs::path file = entry.path(); file.filename().string().starts_with("model-00001")) {
      std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(-3, std::ios::end)
          << 'x';
      refused("a byte of a layer changed", "model-00001");
      fs::remove(file);
      break;
    }
  refused("a layer less", "model-00001");
  fs::remove_all(base_ / "out" / "unfinished");
  std::ofstream(base_ / "out" / "notes.txt") << "mine";
  refused("a directory of others", "name a new directory");
}

TEST_F(QuantizeTest, WeightsThatCannotBeRoundedAreNamed) {
  for (const auto& [value, expected] :
       {std::pair<float, std::string>{std::numeric_limits<float>::quiet_NaN(), "damaged"},
        {1e9f, "too large"}}) {
    const auto model = random_model("tiny-embedded");
    model->params().find("model.layers.1.self_attn.o_proj.weight")->value.f32()[5] = value;
    tiny_tokenizer().save(base_ / "model");
    save_model(*model, base_ / "model");
    try {
      quantize("out", {kW4Rows, RoundMethod::ssz}, -1, false);
      ADD_FAILURE() << value;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("model.layers.1.self_attn.o_proj.weight"), std::string::npos) << text;
      EXPECT_NE(text.find(expected), std::string::npos) << text;
    }
    fs::remove_all(base_ / "out");
  }
}

/// So is a value that is no number in what stays as it is, not the matrix that is multiplied with
/// it.
TEST_F(QuantizeTest, KeptWeightsThatAreNoNumbersAreNamed) {
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.mlp.gate.weight",
                           "model.layers.0.input_layernorm.weight"})
    for (const bool text : {true, false}) {
      const auto model = random_model("nano-ultra");
      model->params().find(name)->value.f32()[3] = std::numeric_limits<float>::quiet_NaN();
      tiny_tokenizer().save(base_ / "model");
      save_model(*model, base_ / "model");
      vocab_ = model->config().vocab;
      try {
        quantize("out", {kW4Rows, text ? RoundMethod::gptq : RoundMethod::nearest, 64}, -1, text);
        ADD_FAILURE() << name;
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      }
      fs::remove_all(base_ / "out");
    }
}

TEST_F(QuantizeTest, ARunThatWasEndedBeforeItsFirstStateGoesOn) {
  save("tiny-embedded");
  fs::create_directories(base_ / "out" / "unfinished");
  std::ofstream(base_ / "out" / "unfinished" / "state.json.tmp.1") << "{";
  EXPECT_FALSE(quantize("out", {kW4Rows, RoundMethod::ssz}, -1, false).empty());
  EXPECT_FALSE(fs::exists(base_ / "out" / "unfinished"));
}

TEST_F(QuantizeTest, TheReportHasAllMatricesAndIsOnePage) {
  save("nano-ultra");
  QuantizeReport report;
  report.name = "a </script> model";
  report.scheme = "w4a8";
  report.matrices = quantize("out", {kW4Rows, RoundMethod::gptq, 64});
  report.calibration_tokens = 768;
  write_report(report, base_ / "out");
  const auto json = nlohmann::json::parse(read_file(base_ / "out" / "quantization.json"));
  EXPECT_EQ(json["matrices"].size(), report.matrices.size());
  EXPECT_NEAR(json["totals"]["bits"].get<double>(), 4.5, 1e-9);
  const std::string page = read_file(base_ / "out" / "quantization.html");
  EXPECT_EQ(page.find("{{"), std::string::npos);
  EXPECT_EQ(page.find("a </script> model"), std::string::npos);
}

TEST(InputRecorder, KeepsWhatMatricesAreMultipliedWith) {
  Device device("watched", cpu_device().kernels());
  ParamStore store(device);
  const int64_t D = 32, F = 16, E = 3, T = 10;
  Param* dense = store.matrix("dense", 48, D, 1);
  Param* gate_up = store.stacked("gate_up", {E, 2 * F, D},
                                 {{"0.gate", 0, {F, D}},
                                  {"0.up", F, {F, D}},
                                  {"1.gate", 2 * F, {F, D}},
                                  {"1.up", 3 * F, {F, D}},
                                  {"2.gate", 4 * F, {F, D}},
                                  {"2.up", 5 * F, {F, D}}},
                                 {0, 1});
  Param* down = store.stacked("down", {E, D, F},
                              {{"0", 0, {D, F}}, {"1", D, {D, F}}, {"2", 2 * D, {D, F}}}, {0, 1});
  Param* other = store.matrix("other", 8, D, 1);
  store.initialize(3);
  InputRecorder recorder({dense, gate_up, down});
  std::vector<float> values(static_cast<size_t>(T * D));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Tensor x = Tensor::from(device, {T, D}, std::span<const float>(values));
  const Tensor logits = Tensor::zeros(device, {T, E});
  for (int64_t t = 0; t < T; ++t) logits.f32()[t * E + t % 2] = 1;  // nobody goes to expert 2
  const Ragged rows = Ragged::full(device, std::vector<int64_t>{0, T});
  {
    const Observing watched(device, recorder);
    linear(x, dense->weight());
    linear(x, other->weight());
    const Routing routing = route(logits, {}, {}, {}, 1, rows, nullptr);
    moe_experts(x, routing, gate_up->weight(), down->weight(), {});
    linear(x, dense->weight());
  }
  linear(x, dense->weight());  // nobody watches
  const MatrixInputs* inputs = recorder.find(*dense, dense->pieces[0]);
  ASSERT_NE(inputs, nullptr);
  EXPECT_EQ(inputs->rows(), 2 * T);
  std::vector<float> read(values.size());
  inputs->read(T, T, read.data());
  EXPECT_EQ(read, values);
  EXPECT_EQ(recorder.find(*other, other->pieces[0]), nullptr);
  // Expert 0 saw the even rows, both of its matrices the same.
  const MatrixInputs* gate = recorder.find(*gate_up, gate_up->pieces[0]);
  const MatrixInputs* up = recorder.find(*gate_up, gate_up->pieces[1]);
  ASSERT_NE(gate, nullptr);
  EXPECT_TRUE(gate->same_rows(*up));
  ASSERT_EQ(gate->rows(), T / 2);
  gate->read(0, T / 2, read.data());
  for (int64_t r = 0; r < T / 2; ++r)
    EXPECT_EQ(read[static_cast<size_t>(r * D)], values[static_cast<size_t>(2 * r * D)]);
  EXPECT_FALSE(gate->same_rows(*recorder.find(*gate_up, gate_up->pieces[2])));
  EXPECT_EQ(recorder.find(*gate_up, gate_up->pieces[4]), nullptr);
  const MatrixInputs* back = recorder.find(*down, down->pieces[1]);
  ASSERT_NE(back, nullptr);
  EXPECT_EQ(back->rows(), T / 2);
  EXPECT_EQ(back->cols(), F);
}

}  // namespace
}  // namespace um
