// Conversions: there and back with the same bits for every family and type, files that the Python
// package `gguf` reads, what is rounded and lost, shards.
#include "models/convert.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <filesystem>
#include <map>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/gguf_model.h"
#include "models/model_texts.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/kernels/rows_util.h"
#include "tests/text/byte_tokenizer_util.h"
#include "tests/text/jinja_cases_util.h"
#include "tests/text/peer_util.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class ConvertTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    for (char& c : name)
      if (c == '/') c = '_';
    base_ = fs::path(testing::TempDir()) / fmt::format("convert_{}_{}", ::getpid(), name);
    fs::remove_all(base_);
    fs::create_directories(base_);
  }
  void TearDown() override { fs::remove_all(base_); }

  /// A random model of a preset with a tokenizer, stored in `dtype`.
  fs::path save(const std::string& preset, DType dtype) const {
    const auto model = random_model(preset);
    ModelConfig config = model->config();
    config.dtype = dtype;
    clear_token_ids(config);
    const auto copy = make_model(config, cpu_device());
    for (size_t i = 0; i < copy->params().all().size(); ++i) {
      const Tensor &to = copy->params().all()[i]->value, &from = model->params().all()[i]->value;
      std::copy_n(from.f32(), from.count(), to.f32());
    }
    fs::create_directories(base_ / "hf");
    tiny_tokenizer().save(base_ / "hf");
    save_model(*copy, base_ / "hf");
    return base_ / "hf";
  }

  static void convert(const fs::path& from, const fs::path& to, std::optional<BlockType> type = {},
                      uint64_t shard = 0) {
    Conversion(from, to, type).write(shard, {});
  }

  /// To a GGUF file and back, anew.
  static void there_and_back(const fs::path& from, const fs::path& file, const fs::path& back) {
    fs::remove(file);
    fs::remove_all(back);
    convert(from, file);
    convert(file, back);
  }

  /// Both checkpoints have the same tensors: names, types, bytes.
  static void expect_same(const fs::path& a, const fs::path& b) {
    const CheckpointReader first(a), second(b);
    size_t tables = 0;  // rotary tables are left out
    for (const auto& [name, tensor] : first.tensors())
      tables += name.ends_with(".inv_freq") ? 1 : 0;
    ASSERT_EQ(first.tensors().size() - tables, second.tensors().size());
    for (const auto& [name, tensor] : first.tensors()) {
      if (name.ends_with(".inv_freq")) continue;
      const TensorView& other = second.at(name);
      EXPECT_EQ(tensor->dtype, other.dtype) << name;
      EXPECT_EQ(tensor->shape, other.shape) << name;
      EXPECT_TRUE(std::equal(tensor->bytes.begin(), tensor->bytes.end(), other.bytes.begin(),
                             other.bytes.end()))
          << name;
    }
  }

  fs::path base_;
};

struct Case {
  const char* preset;
  DType dtype;
};

class RoundTrip : public ConvertTest, public ::testing::WithParamInterface<Case> {};

TEST_P(RoundTrip, BitsComeBack) {
  const fs::path hf = save(GetParam().preset, GetParam().dtype), file = base_ / "model.gguf";
  convert(hf, file);
  const Conversion back(file, base_ / "back", {});
  for (const auto& [types, step] : back.steps()) EXPECT_TRUE(step.exact) << types.first;
  EXPECT_TRUE(back.lost_tensors().empty());
  back.write(0, {});
  expect_same(hf, base_ / "back");
  // Training fields are not in a GGUF file; everything that runs the model is.
  const ModelConfig expected = read_config(hf);
  ModelConfig found = read_config(base_ / "back");
  found.initializer_range = expected.initializer_range;
  found.init = expected.init;
  found.embedding_init_std = expected.embedding_init_std;
  found.c_attn = expected.c_attn;
  found.c_mlp = expected.c_mlp;
  EXPECT_EQ(found.attention, expected.attention);
  EXPECT_EQ(found.moe, expected.moe);
  EXPECT_EQ(found, expected);
  // And the file runs as it is.
  const std::vector<int32_t> ids = random_ids(12, expected.vocab);
  std::vector<std::string> warnings;
  EXPECT_EQ(full_logits(*load_model(file, cpu_device(), &warnings), ids),
            full_logits(*load_model(hf, cpu_device()), ids));
  EXPECT_TRUE(warnings.empty());
  const Tokenizer before = Tokenizer::load(hf), after = Tokenizer::load(file);
  const std::string text = "the cat [unused9] sat, 12 é 鸭";
  EXPECT_EQ(before.encode(text), after.encode(text));
  EXPECT_EQ(before.encode(text, {.parse_special = true}),
            after.encode(text, {.parse_special = true}));
  EXPECT_EQ(after.eos_id(), expected.eos.at(0));
  EXPECT_EQ(before.bos_id(), after.bos_id());
  // Nothing is overwritten.
  EXPECT_THROW(convert(hf, file), Error);
  EXPECT_THROW(convert(file, base_ / "back"), Error);
}

INSTANTIATE_TEST_SUITE_P(
    Families, RoundTrip,
    ::testing::Values(Case{"nano-ultra", DType::f32}, Case{"nano-ultra", DType::bf16},
                      Case{"tiny-pro", DType::bf16}, Case{"tiny-embedded", DType::bf16},
                      Case{"tiny-embedded", DType::f16}, Case{"nano-openpangu2", DType::bf16}),
    [](const auto& info) {
      std::string name = fmt::format("{}_{}", info.param.preset, dtype_name(info.param.dtype));
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

/// Every golden model of tests/golden that GGUF has an architecture for: through GGUF in F32, its
/// weights come back with the same bits under the same names, and config and logits with them.
TEST_F(ConvertTest, GoldenModelsThroughGguf) {
  std::set<std::string> seen;
  for (const auto& entry : fs::directory_iterator(fs::path(UM_SOURCE_DIR) / "tests" / "golden")) {
    const std::string name = entry.path().filename().string();
    if (!fs::exists(entry.path() / "model.safetensors")) continue;  // another one's weights
    const fs::path hf = base_ / name, file = base_ / (name + ".gguf");
    fs::create_directories(hf);
    for (const char* part : {"config.json", "model.safetensors"})
      fs::copy_file(entry.path() / part, hf / part);
    tiny_tokenizer().save(hf);
    std::optional<Conversion> there;
    try {
      there.emplace(hf, file, std::nullopt);
    } catch (const Error& error) {
      // A family or an option that GGUF has no name for.
      const std::string what = error.what();
      EXPECT_TRUE(what.find("no GGUF architecture") != std::string::npos ||
                  what.find("no place in GGUF") != std::string::npos)
          << what;
      continue;
    }
    SCOPED_TRACE(name);
    try {
      there->write(0, {});
      const ModelConfig expected = read_config(hf);
      const std::vector<int32_t> ids = random_ids(9, expected.vocab);
      const auto model = load_model(file, cpu_device());
      EXPECT_EQ(full_logits(*model, ids), full_logits(*load_model(hf, cpu_device()), ids));
      for (const std::string& lost : there->lost_tensors())
        EXPECT_GE(std::atoi(lost.substr(std::string("model.layers.").size()).c_str()),
                  expected.layers)
            << lost;  // MTP only
      if (there->lost_tensors().empty()) {
        convert(file, base_ / (name + "_back"));
        expect_same(hf, base_ / (name + "_back"));
      }
      seen.insert(name);
    } catch (const Error& error) {
      EXPECT_EQ(name, "llama3_rope") << error.what();  // other limits than the published ones
    }
  }
  for (const char* name : {"deepseek_v3", "pro_moe", "pro_moe_v2", "pro_moe_v2_keys", "qwen3"})
    EXPECT_TRUE(seen.contains(name)) << name;
}

TEST_F(ConvertTest, ThePackageReadsOurFiles) {
  const fs::path hf = save("tiny-embedded", DType::bf16);
  for (const BlockType type : {BlockType::bf16, BlockType::f16, BlockType::f32, BlockType::q8_0,
                               BlockType::q4_0, BlockType::q4_k, BlockType::q6_k}) {
    const std::string name(block_format(type).name);
    const fs::path file = base_ / (name + ".gguf");
    convert(hf, file, type);
    const auto reply = ask_python("../core/gguf_peer.py", {{"read", file.string()}});
    if (!reply) GTEST_SKIP() << "Python or its package gguf is missing (set UM_PYTHON)";
    EXPECT_EQ((*reply)["keys"]["general.architecture"], "pangu-embedded");
    const Gguf ours(file);
    ASSERT_EQ((*reply)["tensors"].size(), ours.tensors().size());
    for (const GgufTensor& tensor : ours.tensors()) {
      const auto& theirs = (*reply)["tensors"][tensor.name];
      EXPECT_EQ(theirs["type"], block_type_name(tensor.type)) << tensor.name;
      std::vector<int64_t> shape = theirs["shape"];
      std::reverse(shape.begin(), shape.end());
      EXPECT_EQ(shape, tensor.shape) << tensor.name;
      int64_t count = 1;
      for (const int64_t extent : tensor.shape) count *= extent;
      std::vector<float> values(static_cast<size_t>(count));
      decode_blocks(static_cast<BlockType>(tensor.type), ours.contents(tensor).data(),
                    values.data(), values.size());
      const std::vector<uint32_t> bits = theirs["bits"];
      for (size_t i = 0; i < bits.size(); ++i)
        ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), bits[i]) << tensor.name << " " << i;
    }
  }
}

TEST_F(ConvertTest, QuantisedFilesRunAndSayWhatTheyLose) {
  const fs::path hf = save("tiny-embedded", DType::f32);
  const Conversion plan(hf, base_ / "q8.gguf", BlockType::q8_0);
  bool rounded = false;
  for (const auto& [types, step] : plan.steps()) rounded = rounded || !step.exact;
  EXPECT_TRUE(rounded);
  EXPECT_FALSE(fs::exists(base_ / "q8.gguf"));  // planning writes nothing
  plan.write(0, {});
  EXPECT_EQ(stored_weights(read_config(base_ / "q8.gguf"), open_weights(base_ / "q8.gguf")),
            (RowFormat{RowType::panel8, 32, ScaleType::f16}));
  EXPECT_THROW(Conversion(hf, base_ / "dir", BlockType::q8_0), Error);  // safetensors
  EXPECT_THROW(Conversion(hf, base_ / "x.gguf", BlockType::q5_k), Error);
}

/// Directories of packed integers: what loads is what `--dtype` would have made, the file says what
/// it is, and a conversion from the same integers changes no value.
TEST_F(ConvertTest, PackedIntegersAreThoseOfLoading) {
  const fs::path hf = save("tiny-pro", DType::bf16);
  for (const RowFormat& format : {kW8Rows, kW4Rows}) {
    const fs::path out = base_ / format_name(format);
    Conversion(hf, out, {}, format).write(0, {});
    const Json config = read_json_file(out / "config.json");
    EXPECT_EQ(config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"],
              row_type_bits(format.type));
    const auto packed = load_model(out, cpu_device(), nullptr, std::nullopt);
    const auto made = load_model(hf, cpu_device(), nullptr, WeightTypes(format));
    EXPECT_EQ(packed->params().weights().matrices, format);
    size_t compared = 0;
    for (const auto& param : packed->params().all()) {
      if (!param->codes) continue;
      const Rows& expected = made->params().find(param->name)->codes;
      EXPECT_EQ(values_of(param->codes), values_of(expected)) << param->name;
      ++compared;
    }
    EXPECT_GT(compared, 10u);
    Conversion again(out, base_ / (format_name(format) + "-again"), {}, format);
    for (const auto& [types, step] : again.steps()) EXPECT_TRUE(step.exact) << types.first;
    again.write(0, {});
    expect_same(out, base_ / (format_name(format) + "-again"));
    EXPECT_THROW(Conversion(hf, base_ / "x.gguf", {}, format), Error);
  }
}

TEST_F(ConvertTest, TheCompressedTensorsPackageReadsPackedIntegersSlow) {
  const fs::path hf = save("tiny-embedded", DType::f32);
  for (const RowFormat& format : {kW8Rows, kW4Rows}) {
    const fs::path out = base_ / format_name(format);
    Conversion(hf, out, {}, format).write(0, {});
    const WeightSource source = open_weights(out);
    std::vector<std::string> modules;
    for (const auto& [name, weight] : source.tensors())
      if (weight.codes.read) modules.push_back(name.substr(0, name.rfind('.')));
    ASSERT_GT(modules.size(), 5u);
    const auto reply = ask_python(
        "../models/compressed_tensors_peer.py",
        {{"read", (out / "model.safetensors").string()},
         {"modules", modules},
         {"bits", row_type_bits(format.type)},
         {"group", format.group},
         {"config", read_json_file(out / "config.json", 1 << 20).at("quantization_config")}});
    if (!reply)
      GTEST_SKIP() << "Python or its package compressed-tensors is missing (set UM_PYTHON)";
    for (size_t i = 0; i < modules.size(); ++i) {
      const StoredWeight& weight = source.at(modules[i] + ".weight");
      std::vector<float> found(static_cast<size_t>(weight.rows() * weight.columns()));
      weight.read(0, weight.rows(), found.data());
      const std::vector<uint32_t> bits = (*reply)[i];
      ASSERT_EQ(found.size(), bits.size());
      for (size_t at = 0; at < bits.size(); ++at)
        ASSERT_NEAR(found[at], std::bit_cast<float>(bits[at]), format.rotation > 0 ? 1e-6 : 0)
            << modules[i] << " " << at;
    }
  }
}

/// A scale for each row: the nearest integers, which load as they are and are taken over unchanged.
TEST_F(ConvertTest, IntegersOfWholeRows) {
  const fs::path hf = save("tiny-pro", DType::f32);
  const WeightSource original = open_weights(hf);
  for (const IntegerForm form : {IntegerForm::int8, IntegerForm::modelslim}) {
    const bool slim = form == IntegerForm::modelslim;
    const fs::path out = base_ / (slim ? "slim" : "int8");
    Conversion(hf, out, {}, form).write(0, {});
    const WeightSource source = open_weights(out);
    size_t compared = 0;
    for (const auto& [name, weight] : source.tensors()) {
      if (!weight.codes.read) continue;
      EXPECT_EQ(weight.codes.format, kChannelRows) << name;
      const StoredWeight& before = original.at(name);
      std::vector<float> values(static_cast<size_t>(weight.columns())), found(values.size());
      for (int64_t row = 0; row < weight.rows(); ++row) {
        before.read(row, 1, values.data());
        weight.read(row, 1, found.data());
        float largest = 0;
        for (const float value : values) largest = std::max(largest, std::abs(value));
        for (size_t i = 0; i < values.size(); ++i)
          ASSERT_LE(std::abs(values[i] - found[i]), 0.5001f * largest / 127) << name;
      }
      ++compared;
    }
    EXPECT_GT(compared, 10u);
    const Json config = read_json_file(out / "config.json");
    EXPECT_EQ(config.contains("quantization_config"), !slim);
    if (slim) {
      const Json types = read_json_file(out / "quant_model_description.json");
      EXPECT_EQ(types["model.layers.0.self_attn.o_proj.weight_offset"], "W8A8_DYNAMIC");
      EXPECT_EQ(types["model.embed_tokens.weight"], "FLOAT");
    } else {
      EXPECT_EQ(config["quantization_config"]["format"], "int-quantized");
    }
    const fs::path again = base_ / (out.filename().string() + "-again");
    const Conversion plan(out, again, {}, form);
    for (const auto& [types, step] : plan.steps()) EXPECT_TRUE(step.exact) << types.first;
    plan.write(0, {});
    expect_same(out, again);
    const auto model = load_model(out, cpu_device(), nullptr, std::nullopt);
    EXPECT_EQ(model->params().weights().matrices, kChannelRows);
  }
}

TEST_F(ConvertTest, WeightsThatNoScaleHoldsAreNamed) {
  for (const float value : {NAN, INFINITY, 1e20f}) {
    const auto model = random_model("tiny-embedded");
    const std::string name = "model.layers.1.self_attn.o_proj.weight";
    model->params().find(name)->value.f32()[5] = value;
    fs::create_directories(base_ / "bad");
    tiny_tokenizer().save(base_ / "bad");
    save_model(*model, base_ / "bad");
    for (const RowFormat& format : {kW8Rows, kW4Rows}) try {
        Conversion(base_ / "bad", base_ / "out", {}, format).write(0, {});
        ADD_FAILURE() << value;
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      }
    fs::remove_all(base_ / "bad");
  }
}

/// Matrices of two formats: each is loaded in its own, and the package finds them by the config.
TEST_F(ConvertTest, MatricesOfTwoFormatsSlow) {
  const fs::path hf = save("tiny-embedded", DType::f32);
  WeightTypes formats = kW4Rows;
  for (const char* name :
       {"model.layers.0.self_attn.v_proj.weight", "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.mlp.up_proj.weight"})
    formats.others[name] = kW8Rows;
  Conversion(hf, base_ / "mixed", {}, formats).write(0, {});
  std::vector<std::string> modules{"lm_head"};
  std::vector<int64_t> bits{0};
  const WeightSource source = open_weights(base_ / "mixed");
  for (const auto& [name, weight] : source.tensors()) {
    if (!weight.codes.read) continue;
    EXPECT_EQ(weight.codes.format, formats.of(name)) << name;
    modules.push_back(name.substr(0, name.rfind('.')));
    bits.push_back(row_type_bits(weight.codes.format.type));
  }
  EXPECT_EQ(std::ranges::count(bits, 8), 3);
  const auto model = load_model(base_ / "mixed", cpu_device(), nullptr, std::nullopt);
  EXPECT_EQ(model->params().find("model.layers.0.self_attn.v_proj.weight")->codes.format, kW8Rows);
  EXPECT_EQ(model->params().find("model.layers.0.self_attn.q_proj.weight")->codes.format, kW4Rows);
  const Json config = read_json_file(base_ / "mixed" / "config.json");
  const auto reply = ask_python("../models/compressed_tensors_peer.py",
                                {{"schemes", config["quantization_config"]}, {"modules", modules}});
  if (!reply) GTEST_SKIP() << "Python or its package compressed-tensors is missing (set UM_PYTHON)";
  EXPECT_EQ(reply->get<std::vector<int64_t>>(), bits);
  const Json rows = packed_config(IntegerForm::int8, {});
  const auto by_rows = ask_python("../models/compressed_tensors_peer.py",
                                  {{"schemes", rows}, {"modules", {"lm_head", "model.a"}}});
  EXPECT_EQ(by_rows->get<std::vector<int64_t>>(), (std::vector<int64_t>{0, 8}));
}

TEST_F(ConvertTest, ChatTemplatesTravel) {
  const fs::path hf = save("tiny-embedded", DType::bf16), file = base_ / "a.gguf";
  const auto travels = [&](const std::string& main,
                           const std::map<std::string, std::string>& named) {
    fs::remove(file);
    for (const char* name : {"back", "copy"}) fs::remove_all(base_ / name);
    convert(hf, file);
    convert(file, base_ / "back");
    convert(hf, base_ / "copy");
    for (const fs::path& path : {hf, file, base_ / "back", base_ / "copy"}) {
      EXPECT_EQ(find_chat_sources(path).main, main) << path;
      EXPECT_EQ(find_chat_sources(path).named, named) << path;
    }
  };
  Json config = read_json_file(hf / "tokenizer_config.json");
  config["chat_template"] = {{{"name", "default"}, {"template", "one"}},
                             {{"name", "rag"}, {"template", "of texts"}},
                             {{"name", "tool_use"}, {"template", "two"}}};
  write_file_atomic(hf / "tokenizer_config.json", to_text(config));
  travels("one", {{"rag", "of texts"}, {"tool_use", "two"}});
  write_file_atomic(hf / "chat_template.jinja", "three");
  travels("three", {});
  fs::create_directories(hf / "additional_chat_templates");
  write_file_atomic(hf / "additional_chat_templates" / "tool_use.jinja", "four");
  travels("three", {{"tool_use", "four"}});
}

TEST_F(ConvertTest, SamplingTravels) {
  const fs::path hf = save("tiny-embedded", DType::bf16), file = base_ / "a.gguf";
  const auto travels = [&](const Json& wanted) {
    fs::remove(file);
    fs::remove_all(base_ / "back");
    convert(hf, file);
    convert(file, base_ / "back");
    for (const fs::path& path : {hf, file, base_ / "back"}) {
      const Json config = generation_config_of(path);
      for (const auto& [name, value] : wanted.items())
        EXPECT_EQ(config.value(name, Json()), value) << path << name;
    }
  };
  travels({{"do_sample", nullptr}, {"temperature", nullptr}, {"top_k", nullptr}});
  Json config = generation_config_of(hf);
  const Json asked = {{"do_sample", true}, {"temperature", 0.7}, {"top_p", 0.8},
                      {"top_k", 20},       {"min_p", 0.05},      {"repetition_penalty", 1.1}};
  config.merge_patch(asked);
  write_file_atomic(hf / "generation_config.json", config.dump());
  travels(asked);
}

/// Where texts end and where turns end in chats is the same before and after, in both directions.
TEST_F(ConvertTest, EndsTravel) {
  using Ids = std::vector<int32_t>;
  const fs::path hf = save("tiny-embedded", DType::bf16), file = base_ / "a.gguf",
                 back = base_ / "back";
  fs::remove(hf / "tokenizer.model");
  const auto expect_ends = [&](const char* config, const Json& generation, const Ids& text,
                               const Ids& turn, const Ids& others) {
    byte_tokenizer({"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, config).save(hf);
    Json model = read_json_file(hf / "config.json");
    for (const char* key : {"eos_token_id", "bos_token_id", "pad_token_id", "unk_token_id"})
      model[key] = nullptr;
    write_file_atomic(hf / "config.json", to_text(model));
    write_file_atomic(hf / "generation_config.json", to_text(generation));
    there_and_back(hf, file, back);
    for (const fs::path& path : {hf, file, back}) {
      const Tokenizer tokenizer = Tokenizer::load(path);
      const ChatTemplate chat = ChatTemplate::load(path, tokenizer);
      const Ends ends = find_ends(read_config(path), tokenizer, path, &chat);
      EXPECT_EQ(ends.text, text) << config << path;
      EXPECT_EQ(ends.turn, turn) << config << path;
      EXPECT_EQ(find_stops(path), find_stops(hf)) << config << path;
    }
    const Gguf gguf(file);
    Ids found;
    for (const char* key : {"eos", "eot", "eom"})
      if (const auto id = gguf.integer(fmt::format("tokenizer.ggml.{}_token_id", key)))
        found.push_back(static_cast<int32_t>(*id));
    EXPECT_EQ(found, others) << config;
  };
  const Json named = {{"eos_token", "<|endoftext|>"}};
  Json chat = {{"chat_template", kChatMlTemplate}};
  expect_ends(to_text(named).c_str(), Json::object(), {256}, {256, 258}, {256});
  expect_ends("{}", {{"eos_token_id", {258, 256}}}, {258, 256}, {258, 256}, {258, 256});
  expect_ends("{}", {{"stop_strings", {"END", "\n\n"}}}, {}, {258}, {});
  expect_ends(to_text(chat).c_str(), {{"stop_strings", "<|im_end|>"}}, {258}, {258}, {258});
  expect_ends(to_text(chat).c_str(), Json::object(), {}, {258}, {258});
  chat.update(named);
  expect_ends(to_text(chat).c_str(), Json::object(), {256}, {256, 258}, {256, 258});
}

/// A SentencePiece model has an end of its own beside the one that its side file names. It ends
/// texts before and after, and no config names it unless one did.
TEST_F(ConvertTest, TheEndOfASentencePieceModelIsNotStated) {
  const fs::path hf = save("tiny-embedded", DType::bf16), file = base_ / "a.gguf",
                 back = base_ / "back";
  const auto end = tiny_tokenizer().eos_id();
  ASSERT_NE(end, 2);
  for (const Json& stated : {Json(end), Json({end, 2}), Json({end, 7})}) {
    for (const char* name : {"config.json", "generation_config.json"}) {
      Json json = fs::exists(hf / name) ? read_json_file(hf / name) : Json::object();
      json["eos_token_id"] = stated;
      write_file_atomic(hf / name, to_text(json));
    }
    there_and_back(hf, file, back);
    for (const fs::path& path : {hf, file, back}) {
      const Tokenizer tokenizer = Tokenizer::load(path);
      std::vector<int32_t> expected = {end, 2};
      if (stated == Json({end, 7})) expected.push_back(7);
      EXPECT_EQ(find_ends(read_config(path), tokenizer, path).text, expected) << path << stated;
    }
    for (const char* name : {"config.json", "generation_config.json"})
      EXPECT_EQ(read_json_file(back / name)["eos_token_id"], stated) << name;
  }
}

TEST_F(ConvertTest, DirectoriesInShards) {
  const fs::path hf = save("tiny-embedded", DType::bf16);
  convert(hf, base_ / "shards", {}, 20000);
  EXPECT_TRUE(fs::exists(base_ / "shards" / "model.safetensors.index.json"));
  expect_same(hf, base_ / "shards");
  EXPECT_EQ(Tokenizer::load(base_ / "shards").hash(), Tokenizer::load(hf).hash());
}

}  // namespace
}  // namespace um
