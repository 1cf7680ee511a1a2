// The safetensors reader refuses what the format forbids; the writer writes what it accepts.
#include "core/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

namespace fs = std::filesystem;

std::string file_of(std::string header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, 'x');
}

SafetensorsContents parse(const std::string& bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes)), "t");
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

/// The message with which a file is refused; empty if it is not.
std::string refusal(const std::string& bytes) {
  try {
    parse(bytes);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
}

void expect_refusal(const std::string& bytes, const std::string& part) {
  const std::string message = refusal(bytes);
  EXPECT_NE(message.find(part), std::string::npos)
      << "expected \"" << part << "\" in \"" << message << "\"";
}

TEST(SafetensorsTest, ReadsWhatIsAllowed) {
  const std::string f32 = entry("F32", "[2,1]", "[0,8]");
  const auto contents =
      parse(file_of(R"({"b":)" + f32 + R"(,"a":)" + entry("BF16", "[]", "[8,10]") + R"(,"z":)" +
                        entry("F32", "[0,7]", "[8,8]") + R"(,"__metadata__":{"format":"pt"}}   )",
                    10));
  ASSERT_EQ(contents.tensors.size(), 3u);
  EXPECT_EQ(contents.tensors[0].name, "a");
  EXPECT_EQ(contents.tensors[0].elements(), 1);
  EXPECT_EQ(contents.tensors[1].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(contents.tensors[1].bytes.size(), 8u);
  EXPECT_EQ(contents.tensors[2].bytes.size(), 0u);
  EXPECT_EQ(contents.metadata.at("format"), "pt");
  EXPECT_TRUE(parse(file_of("{}", 0)).tensors.empty());
  EXPECT_EQ(parse(file_of(R"({"q":)" + entry("F4", "[4]", "[0,2]") + "}", 2)).tensors.size(), 1u);
}

TEST(SafetensorsTest, RefusesBadLengths) {
  expect_refusal("", "at least 8 bytes, found 0");
  expect_refusal("1234567", "at least 8 bytes");
  std::string huge(8, '\xff');
  expect_refusal(huge + "{}", "the limit is 100000000");
  expect_refusal(file_of("{}", 0).substr(0, 9), "truncated");
  expect_refusal(file_of("", 0), "expected a JSON object");
  expect_refusal(file_of("[]", 0), "expected a JSON object");
  expect_refusal(file_of(" {}", 0), "expected a JSON object");
  expect_refusal(file_of("{}", 1), "the file holds 1 after");
  const std::string one = R"({"a":)" + entry("U8", "[4]", "[0,4]") + "}";
  EXPECT_EQ(refusal(file_of(one, 4)), "");
  expect_refusal(file_of(one, 3), "ends at byte 4");
  expect_refusal(file_of(one, 5), "the file holds 5");
}

TEST(SafetensorsTest, RefusesBadHeaders) {
  expect_refusal(file_of("{", 0), "not valid JSON at line 1");
  expect_refusal(file_of("{\"a\xff\":1}", 0), "not valid JSON");
  expect_refusal(file_of("{} x", 0), "not valid JSON");
  const std::string u8 = entry("U8", "[1]", "[0,1]");
  expect_refusal(file_of(R"({"a":)" + u8 + R"(,"a":)" + u8 + "}", 1), "appears twice");
  expect_refusal(
      file_of(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
      "appears twice");
  expect_refusal(file_of(R"({"__metadata__":{"a":1}})", 0), "expected a string, found 1");
  expect_refusal(file_of(R"({"__metadata__":[]})", 0), "expected a JSON object");
  expect_refusal(file_of(R"({"a":3})", 0), "expected a JSON object, found 3");
  expect_refusal(file_of(R"({"a":{"dtype":"U8","shape":[0]}})", 0), "data_offsets");
  expect_refusal(file_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})", 0),
                 "unknown key \"x\"");
  expect_refusal(file_of(R"({"a":)" + entry("F33", "[1]", "[0,1]") + "}", 1), "unknown type");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[-1]", "[0,1]") + "}", 1), "found -1");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[1.0]", "[0,1]") + "}", 1), "found 1.0");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[[[[1]]]]", "[0,1]") + "}", 1), "nested deeper");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "1", "[0,1]") + "}", 1), "\"shape\": expected");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[1]", "[0,1,2]") + "}", 1), "two integers");
}

TEST(SafetensorsTest, RefusesBadExtents) {
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[0]", "[1,0]") + "}", 1), "before begin");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[1]", "[1,2]") + "}", 2), "begins at 1");
  const std::string first = R"({"a":)" + entry("U8", "[2]", "[0,2]");
  expect_refusal(file_of(first + R"(,"b":)" + entry("U8", "[2]", "[1,3]") + "}", 3), "begins at 1");
  expect_refusal(file_of(first + R"(,"b":)" + entry("U8", "[1]", "[3,4]") + "}", 4), "begins at 3");
  expect_refusal(file_of(R"({"a":)" + entry("F32", "[2]", "[0,4]") + "}", 4), "8 bytes by shape");
  expect_refusal(file_of(R"({"a":)" + entry("F4", "[3]", "[0,2]") + "}", 2), "whole number");
  const std::string wide = "[281474976710655,281474976710655]";
  expect_refusal(file_of(R"({"a":)" + entry("U8", wide, "[0,1]") + "}", 1), "overflows");
  const std::string deep = "[281474976710655,32767]";  // fits 63 bits, its bits do not
  expect_refusal(file_of(R"({"a":)" + entry("F64", deep, "[0,1]") + "}", 1), "overflows");
  expect_refusal(file_of(R"({"a":)" + entry("U8", "[1]", "[0,18446744073709551615]") + "}", 1),
                 "data_offsets: expected integers");
}

class SafetensorsFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("um_safetensors_{}", ::getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  /// Each byte of a tensor is its name's last character, given in two pieces.
  static void source(const TensorSpec& spec, const TensorSink& sink) {
    const std::string bytes(spec.byte_size(), spec.name.back());
    const auto span = std::as_bytes(std::span(bytes));
    sink(span.first(span.size() / 2));
    sink(span.subspan(span.size() / 2));
  }
  static std::vector<TensorSpec> specs() {
    return {{"m.a", DType::bf16, {3}},
            {"m.b", DType::f32, {2, 2}},
            {"m.c", DType::u8, {5}},
            {"m.d", DType::f32, {}}};
  }
  void check(const CheckpointReader& reader) const {
    ASSERT_EQ(reader.tensors().size(), 4u);
    for (const TensorSpec& spec : specs()) {
      const TensorView& tensor = reader.at(spec.name);
      EXPECT_EQ(tensor.dtype, spec.dtype);
      EXPECT_EQ(tensor.shape, spec.shape);
      ASSERT_EQ(tensor.bytes.size(), spec.byte_size());
      for (const std::byte b : tensor.bytes) EXPECT_EQ(b, std::byte(spec.name.back()));
    }
    EXPECT_EQ(reader.total_bytes(), 31u);
    EXPECT_TRUE(reader.warnings().empty());
    EXPECT_EQ(reader.find("m.x"), nullptr);
    EXPECT_THROW(reader.at("m.x"), Error);
  }
  std::string reader_error() const {
    try {
      CheckpointReader reader(directory_);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  void write_index(const std::string& name, const std::string& file) const {
    const Json index{{"metadata", Json::object()}, {"weight_map", {{name, file}}}};
    write_file_atomic(directory_ / "model.safetensors.index.json", to_text(index));
  }
  fs::path directory_;
};

TEST_F(SafetensorsFiles, WritesAlignedSortedPadded) {
  const fs::path path = directory_ / "x.safetensors";
  write_safetensors(path, specs(), source);
  const std::string bytes = read_file(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const auto at = [&](const char* name) {
    return file.find(name)->bytes.data() - file.find("m.b")->bytes.data();
  };
  EXPECT_EQ(at("m.d"), 16);
  EXPECT_EQ(at("m.a"), 20);
  EXPECT_EQ(at("m.c"), 26);
  for (const TensorView& tensor : file.tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % dtype_size(tensor.dtype), 0u);
  }
  const fs::path copy = directory_ / "y.safetensors";
  write_safetensors(copy, file.tensors(), file.metadata());
  EXPECT_EQ(read_file(copy), bytes);
}

TEST_F(SafetensorsFiles, WriterRefusesMistakes) {
  const fs::path path = directory_ / "x.safetensors";
  const std::vector<TensorSpec> twice{{"a", DType::u8, {1}}, {"a", DType::u8, {1}}};
  EXPECT_THROW(write_safetensors(path, twice, source), Error);
  const std::vector<TensorSpec> reserved{{"__metadata__", DType::u8, {1}}};
  EXPECT_THROW(write_safetensors(path, reserved, source), Error);
  const auto none = [](const TensorSpec&, const TensorSink&) {};
  EXPECT_THROW(write_safetensors(path, specs(), none), Error);
  const auto too_much = [](const TensorSpec& spec, const TensorSink& sink) {
    source(spec, sink);
    sink(std::as_bytes(std::span("x", 1)));
  };
  EXPECT_THROW(write_safetensors(path, specs(), too_much), Error);
  EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(SafetensorsFiles, SingleAndShardedCheckpointsReplaceEachOther) {
  write_checkpoint(directory_, specs(), source);
  check(CheckpointReader(directory_));
  check(CheckpointReader(directory_ / "model.safetensors"));
  write_checkpoint(directory_, specs(), source, 10);  // m.a | m.b (larger) | m.c, m.d
  EXPECT_FALSE(fs::exists(directory_ / "model.safetensors"));
  EXPECT_TRUE(fs::exists(directory_ / "model-00003-of-00003.safetensors"));
  check(CheckpointReader(directory_));
  const Json index = read_json_file(directory_ / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 31);
  EXPECT_EQ(index["weight_map"]["m.d"], "model-00003-of-00003.safetensors");
  write_checkpoint(directory_, specs(), source);
  EXPECT_FALSE(fs::exists(directory_ / "model.safetensors.index.json"));
  check(CheckpointReader(directory_));
}

TEST_F(SafetensorsFiles, IndexIsNotTrusted) {
  EXPECT_NE(reader_error().find("no checkpoint"), std::string::npos);
  write_safetensors(directory_ / "s.safetensors", specs(), source);
  for (const char* name : {"../s.safetensors", "/etc/passwd", "", ".safetensors", "s.bin",
                           "d/s.safetensors", "s\n.safetensors", "d\\s.safetensors"}) {
    write_index("m.a", name);
    EXPECT_NE(reader_error().find("plain name"), std::string::npos) << name;
  }
  write_index("m.q", "s.safetensors");
  EXPECT_NE(reader_error().find("\"m.q\" is not in s.safetensors"), std::string::npos);
  write_index("m.a", "gone.safetensors");
  EXPECT_NE(reader_error().find("gone.safetensors: cannot open"), std::string::npos);
  write_file_atomic(directory_ / "model.safetensors.index.json", R"({"weight_map":[]})");
  EXPECT_NE(reader_error().find("\"weight_map\": expected an object"), std::string::npos);
  write_index("m.a", "s.safetensors");
  const CheckpointReader reader(directory_);
  EXPECT_EQ(reader.tensors().size(), 1u);
  EXPECT_EQ(reader.warnings().size(), 3u);
}

TEST(SafetensorsTest, ReadsTheRealStoriesModel) {
  const char* shared = std::getenv("UM_SHARED");
  const fs::path root = shared != nullptr ? shared : UM_SOURCE_DIR "/../shared";
  const fs::path directory = root / "models/stories260K";
  if (!fs::exists(directory)) GTEST_SKIP() << directory << " is missing (set UM_SHARED)";
  const CheckpointReader reader(directory);
  EXPECT_EQ(reader.at("model.embed_tokens.weight").shape, (std::vector<int64_t>{512, 64}));
}

}  // namespace
}  // namespace um
