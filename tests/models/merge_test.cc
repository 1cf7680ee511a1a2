// Merging models: what the package mergekit makes of the same directories, every kind of source,
// the types and texts of the result, and what is refused.
#include "models/merge.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/rng.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/model_texts.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/peer_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNoPeer = "Python or its package mergekit 0.1.5 is missing (set UM_PYTHON)";

using Values = std::vector<float>;

Values read_all(const StoredWeight& weight) {
  Values values(static_cast<size_t>(weight.rows() * weight.columns()));
  weight.read(0, weight.rows(), values.data());
  return values;
}

class MergeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    base_ = fs::path(testing::TempDir()) / fmt::format("merge_{}_{}", ::getpid(), name);
    fs::remove_all(base_);
    fs::create_directories(base_);
  }
  void TearDown() override { fs::remove_all(base_); }

  static ModelConfig config_of(const std::string& preset) {
    const fs::path root(UM_SOURCE_DIR), golden = root / "tests" / "golden" / preset;
    ModelConfig config = read_config(fs::exists(golden) ? golden : root / "configs" / preset);
    config.init = InitRule::normal;
    config.initializer_range = 0.3;
    config.dtype = DType::f32;
    clear_token_ids(config);
    return config;
  }

  /// A random model of which no two tensors are alike, as `name`.
  fs::path save(const std::string& name, uint64_t seed, const ModelConfig& config,
                uint64_t shard = 0) const {
    const auto model = make_model(config, cpu_device());
    model->params().initialize(seed);
    for (const auto& param : model->params().all()) {
      const RandomStream random(seed, hash_name(param->name));
      for (int64_t i = 0; i < param->value.count(); ++i)
        param->value.f32()[i] += 0.1F * static_cast<float>(random.normal(static_cast<uint64_t>(i)));
    }
    save_model(*model, base_ / name, shard);
    return base_ / name;
  }
  fs::path save(const std::string& name, uint64_t seed,
                const std::string& preset = "nano-ultra") const {
    return save(name, seed, config_of(preset));
  }

  /// Merges into a new directory.
  fs::path merge(const std::string& name, MergeOptions options) const {
    if (options.rule.weights.empty() && options.rule.method != MergeMethod::slerp)
      options.rule.weights.assign(options.models.size(), 1);
    Merge(std::move(options), base_ / name).write({});
    return base_ / name;
  }

  /// What an Error says of a merge; empty where it is none. Nothing is written.
  std::string refusal(MergeOptions options) const {
    if (options.rule.weights.empty()) options.rule.weights.assign(options.models.size(), 1);
    try {
      const Merge merge(std::move(options), base_ / "refused");
    } catch (const Error& error) {
      EXPECT_FALSE(fs::exists(base_ / "refused"));
      return error.what();
    }
    return "";
  }
  static void expect_says(const std::string& text, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << part << ": " << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }

  /// Every tensor of `found` has the other's values.
  static void expect_near(const fs::path& found, const fs::path& expected, double tolerance) {
    const WeightSource one = open_weights(found), other = open_weights(expected);
    ASSERT_GT(one.tensors().size(), 10u);
    for (const auto& [name, weight] : one.tensors()) {
      const Values a = read_all(weight), b = read_all(other.at(name));
      ASSERT_EQ(a.size(), b.size()) << name;
      for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << name << " " << i;
    }
  }

  fs::path base_;
};

struct PeerCase {
  MergeRule rule;
  const char* what;
};

/// The same merge as the package's configuration file has it.
Json peer_config(const MergeOptions& options) {
  const MergeRule& rule = options.rule;
  const bool slerp = rule.method == MergeMethod::slerp, base = needs_base(rule.method);
  Json config = {{"merge_method", merge_method_name(rule.method)}, {"dtype", "float32"}};
  config["parameters"] = slerp ? Json{{"t", rule.t}} : Json{{"normalize", rule.normalize}};
  if (base) config["parameters"]["lambda"] = rule.lambda;
  if (base || slerp) config["base_model"] = (slerp ? options.models[0] : options.base).string();
  for (size_t m = 0; m < options.models.size(); ++m) {
    Json model = {{"model", options.models[m].string()}};
    if (!slerp) model["parameters"]["weight"] = rule.weights[m];
    if (is_sparse(rule.method)) model["parameters"]["density"] = rule.density;
    config["models"].push_back(model);
  }
  return config;
}

/// The package merges the same directories as its command would.
TEST_F(MergeTest, EqualsMergekitSlow) {
  const PeerCase cases[] = {
      {{.method = MergeMethod::linear, .weights = {1, 0.4, 0.3}}, "linear"},
      {{.method = MergeMethod::linear, .weights = {1, 0.4, 0.3}, .normalize = false}, "sum"},
      {{.method = MergeMethod::slerp, .t = 0.3}, "slerp"},
      {{.method = MergeMethod::task_arithmetic, .weights = {0.6, 0.4, 0.3}, .normalize = false},
       "task"},
      {{.method = MergeMethod::task_arithmetic, .weights = {0.6, 0.4, 0.3}, .lambda = 0.7},
       "task-mean"},
      {{.method = MergeMethod::ties, .weights = {0.6, 0.4, 0.3}, .density = 0.4, .lambda = 0.8},
       "ties"},
      {{.method = MergeMethod::ties, .weights = {1, 1, 1}, .normalize = false, .density = 0.2},
       "ties-sum"},
  };
  Json jobs = Json::array();
  for (const char* preset : {"llama_tied", "qwen3"}) {
    const std::string folder = preset;
    const fs::path base = save(folder + "/base", 1, preset);
    std::vector<fs::path> models;
    for (uint64_t m = 2; m < 5; ++m)
      models.push_back(save(fmt::format("{}/{}", preset, m), m, preset));
    for (const auto& [rule, what] : cases) {
      MergeOptions options{.rule = rule, .models = models};
      if (needs_base(rule.method)) options.base = base;
      if (rule.method == MergeMethod::slerp) options.models.resize(2);
      const fs::path ours = merge(folder + "/" + what, options);
      jobs.push_back({{"config", peer_config(options)}, {"out", ours.string() + "-theirs"}});
    }
  }
  if (!ask_python("../models/mergekit_peer.py", jobs)) GTEST_SKIP() << kNoPeer;
  for (const Json& job : jobs) {
    const std::string theirs = job["out"];
    SCOPED_TRACE(theirs);
    expect_near(theirs.substr(0, theirs.rfind('-')), theirs, 1e-6);
  }
}

/// The package's formula of DARE, with our mask in place of its random one.
TEST_F(MergeTest, DareEqualsMergekitWithTheSameMaskSlow) {
  const fs::path base = save("base", 1, "llama_tied");
  MergeOptions options{.base = base};
  Json files = Json::array(), jobs = Json::array();
  for (uint64_t m = 2; m < 5; ++m) {
    options.models.push_back(save(std::to_string(m), m, "llama_tied"));
    files.push_back((options.models.back() / "model.safetensors").string());
  }
  for (const MergeMethod method : {MergeMethod::dare_linear, MergeMethod::dare_ties}) {
    options.rule = {.method = method,
                    .weights = {0.6, 0.4, 0.3},
                    .normalize = false,
                    .density = 0.6,
                    .lambda = 0.8,
                    .seed = 11};
    std::vector<TensorSpec> masks;
    const WeightSource source = open_weights(base);
    for (const auto& [name, weight] : source.tensors())
      for (size_t m = 0; m < options.models.size(); ++m)
        masks.push_back({fmt::format("{}/{}", m, name), DType::f32, weight.shape});
    const std::string name(merge_method_name(method));
    const fs::path file = base_ / (name + "-masks.safetensors");
    write_safetensors(file, masks, [&](const TensorSpec& spec, const TensorSink& sink) {
      Values mask(static_cast<size_t>(spec.elements()));
      for (size_t i = 0; i < mask.size(); ++i)
        mask[i] = dare_keeps(options.rule.seed, spec.name.substr(2), spec.name[0] - '0',
                             static_cast<int64_t>(i), options.rule.density)
                      ? 1
                      : 0;
      sink(std::as_bytes(std::span(mask)));
    });
    jobs.push_back(
        {{"dare", name},
         {"base", (base / "model.safetensors").string()},
         {"models", files},
         {"masks", file.string()},
         {"weights", options.rule.weights},
         {"parameters", {{"density", options.rule.density}, {"lambda", options.rule.lambda}}},
         {"out", (base_ / (name + ".safetensors")).string()}});
    merge(name, options);
  }
  if (!ask_python("../models/mergekit_peer.py", jobs)) GTEST_SKIP() << kNoPeer;
  for (const Json& job : jobs) {
    const std::string theirs = job["out"];
    expect_near(fs::path(theirs).replace_extension(), theirs, 1e-6);
  }
}

/// Θ = Θ_base + Σ λ_k · mean(Θ_i - Θ_base), by hand, and as the same model runs.
TEST_F(MergeTest, GroupsOfDeltas) {
  const fs::path base = save("base", 1), a = save("a", 2), b = save("b", 3), c = save("c", 4);
  const MergeOptions options =
      mean_of_deltas({{.lambda = 0.5, .models = {a, b}}, {.lambda = 0.3, .models = {c}}}, base);
  const fs::path out = merge("out", options);
  const WeightSource merged = open_weights(out), of_base = open_weights(base),
                     of_a = open_weights(a), of_b = open_weights(b), of_c = open_weights(c);
  for (const auto& [name, weight] : merged.tensors()) {
    const Values found = read_all(weight), x0 = read_all(of_base.at(name)),
                 xa = read_all(of_a.at(name)), xb = read_all(of_b.at(name)),
                 xc = read_all(of_c.at(name));
    for (size_t i = 0; i < found.size(); ++i) {
      const double delta = 0.5 * ((xa[i] - x0[i]) + (xb[i] - x0[i])) / 2 + 0.3 * (xc[i] - x0[i]);
      ASSERT_NEAR(found[i], x0[i] + delta, 1e-6) << name;
    }
  }
  std::vector<std::string> warnings;
  const auto model = load_model(out, cpu_device(), &warnings);
  EXPECT_TRUE(warnings.empty());
  for (const float logit : full_logits(*model, random_ids(9, model->config().vocab)))
    ASSERT_TRUE(std::isfinite(logit));
  check_digests(out, DigestScope::all);
  const Json record = read_json_file(out / kMergeFile);
  EXPECT_EQ(record["method"], "deltas");
  EXPECT_EQ(record["models"][1]["model"], b.string());
  EXPECT_EQ(record["models"][1]["weight"], 0.25);
  EXPECT_EQ(record["base"]["model"], base.string());
  EXPECT_THROW(mean_of_deltas({{.lambda = 1}}, base), UsageError);
}

/// Shards, GGUF, bf16: the same values are merged, whatever they lie in; types become the widest.
TEST_F(MergeTest, SourcesOfAllKinds) {
  ModelConfig config = config_of("nano-ultra");
  const fs::path a = save("a", 2), sharded = save("sharded", 2, config, 100000);
  ASSERT_TRUE(fs::exists(sharded / "model.safetensors.index.json"));
  config.dtype = DType::bf16;
  const fs::path b = save("b", 3, config);
  tiny_tokenizer().save(b);
  const fs::path gguf = base_ / "b.gguf";
  Conversion(b, gguf, {}).write(0, {});
  const fs::path plain = merge("plain", {.models = {a, b}});
  const fs::path other = merge("other", {.models = {sharded, gguf}});
  expect_near(other, plain, 0);
  EXPECT_EQ(read_config(plain).dtype, DType::f32);
  // Two in bf16 stay in bf16; what the type is to be can be said.
  const fs::path half = merge("half", {.models = {b, gguf}});
  EXPECT_EQ(open_weights(half).at("model.embed_tokens.weight").dtype, DType::bf16);
  EXPECT_EQ(read_config(half).dtype, DType::bf16);
  expect_near(half, b, 0);
  const fs::path narrow = merge("narrow", {.models = {a, b}, .dtype = DType::bf16});
  EXPECT_EQ(open_weights(narrow).at("lm_head.weight").dtype, DType::bf16);
  EXPECT_EQ(read_config(narrow).dtype, DType::bf16);
  expect_near(narrow, plain, 0.01);
}

/// The result's texts are those of a model for chats, if one is merged, else of base or first
/// model.
TEST_F(MergeTest, TextsGoAlong) {
  const fs::path base = save("base", 1), chat = save("chat", 2), third = save("third", 3);
  const auto notes = [&](const MergeOptions& options) {
    return Merge(options, base_ / "never").notes();
  };
  MergeOptions options{.models = {chat, third}, .base = base};
  options.rule = {.method = MergeMethod::task_arithmetic, .weights = {0.5, 0.5}};
  ASSERT_EQ(notes(options).size(), 3u);  // three without a tokenizer
  expect_says(notes(options)[0], {base.string(), "no tokenizer"});
  for (const fs::path& path : {base, chat, third}) tiny_tokenizer().save(path);
  EXPECT_TRUE(notes(options).empty());
  write_trained_for(base, "text");
  write_file_atomic(chat / "chat_template.jinja", "{{ messages[0].content }}");
  write_file_atomic(chat / "generation_config.json", R"({"temperature": 0.7})");
  ASSERT_EQ(notes(options).size(), 1u);
  expect_says(notes(options)[0], {"chat template are those of " + chat.string()});
  const fs::path out = merge("out", options);
  EXPECT_EQ(read_file(out / "chat_template.jinja"), "{{ messages[0].content }}");
  EXPECT_EQ(read_json_file(out / "generation_config.json")["temperature"], 0.7);
  EXPECT_EQ(Tokenizer::load(out).hash(), tiny_tokenizer().hash());
  EXPECT_FALSE(is_base_model(out));
}

TEST_F(MergeTest, UnlikeModelsAreRefusedByName) {
  ModelConfig config = config_of("nano-ultra");
  const fs::path a = save("a", 1, config), b = save("b", 2, config);
  config.vocab += 64;
  config.attention.rope_theta *= 2;
  const fs::path wide = save("wide", 3, config);
  expect_says(refusal({.models = {a, wide}}),
              {wide.string() + ": does not match " + a.string(), "rope_theta is", "vocab_size is",
               fmt::format("(there {})", config.vocab - 64)});
  expect_says(refusal({.models = {a, save("other", 4, "tiny-embedded")}}),
              {"architectures is", "more fields"});
  // A tensor that is missing, is too many, has another shape.
  const auto edit = [&](const std::string& name, const std::string& tensor, const auto& change) {
    const CheckpointReader reader(b);
    std::vector<TensorView> tensors;
    for (const auto& [key, view] : reader.tensors()) tensors.push_back(*view);
    change(tensors, std::ranges::find(tensors, tensor, &TensorView::name));
    fs::create_directories(base_ / name);
    fs::copy(b / "config.json", base_ / name / "config.json");
    write_safetensors(base_ / name / "model.safetensors", tensors);
    return base_ / name;
  };
  const std::string norm = "model.norm.weight";
  const fs::path less = edit("less", norm, [](auto& all, auto at) { all.erase(at); });
  expect_says(refusal({.models = {a, less}}), {less.string(), norm, "missing; " + a.string()});
  expect_says(refusal({.models = {less, a}}),
              {a.string(), norm, less.string() + " does not have it"});
  const fs::path bent = edit("bent", norm, [](auto&, auto at) {
    at->shape = {2, at->shape[0] / 2};
  });
  expect_says(refusal({.models = {a, bent}}), {bent.string(), norm, "shape [2, "});
}

TEST_F(MergeTest, UnlikeTokenizersAreRefused) {
  const fs::path a = save("a", 1), b = save("b", 2), c = save("c", 3);
  tiny_tokenizer().save(a);
  byte_tokenizer({"<s>"}).save(c);
  EXPECT_EQ(refusal({.models = {a, b}}), "");
  expect_says(refusal({.models = {a, b, c}}),
              {c.string() + ": another tokenizer", tiny_tokenizer().hash(), a.string()});
}

TEST_F(MergeTest, OptionsThatDoNotFitAreRefused) {
  const fs::path a = save("a", 1), b = save("b", 2);
  const auto rule = [](MergeMethod method, std::vector<double> weights) {
    return MergeRule{.method = method, .weights = std::move(weights)};
  };
  using M = MergeMethod;
  const std::pair<MergeOptions, const char*> cases[] = {
      {{.rule = rule(M::linear, {1}), .models = {a}}, "at least 2 models, found 1"},
      {{.rule = rule(M::linear, {1, -1}), .models = {a, b}}, "sum of the weights is 0"},
      {{.rule = rule(M::linear, {1, 1}), .models = {a, b}, .base = a}, "has no base"},
      {{.rule = rule(M::ties, {1, 1}), .models = {a, b}}, "name it"},
      {{.rule = rule(M::slerp, {1, 1}), .models = {a, b}}, "how far it goes is t"},
      {{.rule = rule(M::slerp, {}), .models = {a, b, a}}, "exactly 2 models, found 3"},
      {{.rule = rule(M::ties, {1}), .models = {a, b}, .base = a}, "1 weights for 2 models"}};
  for (const auto& [options, text] : cases) {
    try {
      const Merge merge(options, base_ / "never");
      ADD_FAILURE() << text;
    } catch (const UsageError& error) {
      expect_says(error.what(), {text});
    }
  }
}

/// A result that its type cannot hold is an error, and what was begun is gone.
TEST_F(MergeTest, ValuesThatAreNoneAreNotWritten) {
  const fs::path a = save("a", 1);
  ModelConfig config = config_of("nano-ultra");
  const auto model = make_model(config, cpu_device());
  model->params().initialize(2);
  Param* norm = model->params().find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), 200000.0F}) {
    norm->value.f32()[3] = value;
    fs::remove_all(base_ / "b");
    save_model(*model, base_ / "b");
    try {
      merge("out", {.models = {a, base_ / "b"}, .dtype = DType::f16});
      ADD_FAILURE() << value;
    } catch (const Error& error) {
      expect_says(error.what(), {"model.norm.weight", "too large for f16"});
    }
    EXPECT_FALSE(fs::exists(base_ / "out"));
  }
}

}  // namespace
}  // namespace um
