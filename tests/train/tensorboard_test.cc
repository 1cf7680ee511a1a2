// TensorBoard event files: CRC-32C against published vectors, and the written file decoded by a
// reader of its own (frames, protobuf fields). The real TensorBoard reads the same file in
// docs/report.md's check.
#include "train/tensorboard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <map>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

namespace fs = std::filesystem;

template <class T>
T load(std::string_view bytes) {
  T value;
  EXPECT_GE(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Splits an event file into payloads, checking both CRCs of each frame.
std::vector<std::string> payloads(std::string_view file) {
  std::vector<std::string> list;
  while (!file.empty()) {
    const auto size = load<uint64_t>(file);
    EXPECT_EQ(load<uint32_t>(file.substr(8)), masked_crc32c(file.substr(0, 8)));
    const std::string_view data = file.substr(12, size);
    EXPECT_EQ(load<uint32_t>(file.substr(12 + size)), masked_crc32c(data));
    list.emplace_back(data);
    file.remove_prefix(16 + size);
  }
  return list;
}

uint64_t varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(0));
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

/// field number → raw value (varints as 8 bytes); the last one wins.
std::map<uint64_t, std::string> fields(std::string_view bytes) {
  std::map<uint64_t, std::string> map;
  while (!bytes.empty()) {
    const uint64_t key = varint(bytes);
    size_t size = (key & 7) == 1 ? 8 : 4;
    if ((key & 7) == 0) {
      const uint64_t value = varint(bytes);
      map[key >> 3] = std::string(reinterpret_cast<const char*>(&value), sizeof value);
      continue;
    }
    if ((key & 7) == 2) size = varint(bytes);
    map[key >> 3] = std::string(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return map;
}

TEST(Crc32cTest, PublishedVectors) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);            // the CRC catalogue's check value
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720 B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string up(32, '\0');
  for (size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(i);
  EXPECT_EQ(crc32c(up), 0x46DD794Eu);
  EXPECT_EQ(masked_crc32c("123456789"), std::rotr(0xE3069283u, 15) + 0xa282ead8u);
}

class TensorBoardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ = fs::temp_directory_path() / fmt::format("um_tensorboard_{}", ::getpid());
    fs::remove_all(run_);
    fs::create_directories(run_);
  }
  void TearDown() override { fs::remove_all(run_); }
  fs::path run_;
};

/// tag → (step, Summary.Value fields) of the scalars and histograms of `file`.
std::map<std::string, std::pair<int64_t, std::map<uint64_t, std::string>>> summaries(
    const fs::path& file) {
  std::map<std::string, std::pair<int64_t, std::map<uint64_t, std::string>>> map;
  for (const std::string& payload : payloads(read_file(file))) {
    const auto event = fields(payload);
    EXPECT_EQ(event.count(1), 1u);  // wall_time
    if (event.count(5) == 0) continue;
    const auto value = fields(fields(event.at(5)).at(1));
    map[value.at(1)] = {load<int64_t>(event.at(2)), value};
  }
  return map;
}

TEST_F(TensorBoardTest, StepIsReadBack) {
  StepMetrics m;
  m.step = 300;
  m.loss = 2.5;
  m.mtp_loss = {3.5};
  m.grad_norm = 0.75;
  m.lr = 1e-3;
  m.spike = true;
  m.moe = {expert_load(1, std::vector<int64_t>{5, 3, 0, 8})};
  m.activation_rms = {1.5};
  fs::path file;
  {
    TensorBoardWriter writer(run_);
    file = writer.path();
    writer.write(m);
    writer.write(ValidationPoint{.step = 300, .tokens = 1, .loss = 2.25});
  }
  EXPECT_EQ(file.filename().string().rfind("events.out.tfevents.", 0), 0u);
  const auto first = fields(payloads(read_file(file)).at(0));
  EXPECT_EQ(first.at(3), "brain.Event:2");

  const auto map = summaries(file);
  const auto scalar = [&](const char* tag) {
    EXPECT_EQ(map.at(tag).first, 300) << tag;
    return load<float>(map.at(tag).second.at(2));
  };
  EXPECT_EQ(scalar("train/loss"), 2.5f);
  EXPECT_EQ(scalar("val/loss"), 2.25f);
  EXPECT_EQ(scalar("train/mtp_loss_1"), 3.5f);
  EXPECT_EQ(scalar("train/grad_spike"), 1.f);
  EXPECT_EQ(scalar("moe_dead/layer_01"), 1.f);
  EXPECT_EQ(scalar("activation_rms/layer_00"), 1.5f);
  EXPECT_EQ(map.count("train/z_loss"), 0u) << "not measured, must not be written";

  const auto histogram = fields(map.at("moe_load/layer_01").second.at(5));
  EXPECT_EQ(load<double>(histogram.at(1)), 0.0);
  EXPECT_EQ(load<double>(histogram.at(2)), 0.5);
  EXPECT_EQ(load<double>(histogram.at(3)), 4.0);
  ASSERT_EQ(histogram.at(6).size(), histogram.at(7).size());
  double total = 0;
  for (size_t i = 0; i < histogram.at(7).size(); i += 8)
    total += load<double>(std::string_view(histogram.at(7)).substr(i));
  EXPECT_EQ(total, 4.0);
}

TEST_F(TensorBoardTest, ResumeMarksTheStepWhereOldValuesEnd) {
  TensorBoardWriter writer(run_, 120);
  const auto list = payloads(read_file(writer.path()));
  ASSERT_EQ(list.size(), 2u);
  const auto event = fields(list[1]);
  EXPECT_EQ(load<int64_t>(event.at(2)), 121);
  EXPECT_EQ(load<uint64_t>(fields(event.at(7)).at(1)), 1u);  // SessionLog START
}

TEST_F(TensorBoardTest, OddHistogramsAndUnwritableDirectory) {
  TensorBoardWriter writer(run_);
  writer.histogram("same", 1, std::vector<float>(5, 0.25f));
  writer.histogram("none", 1, std::vector<float>{NAN});
  writer.flush();
  const auto map = summaries(writer.path());
  EXPECT_EQ(fields(map.at("same").second.at(5)).at(7).size(), 8u);
  EXPECT_EQ(map.count("none"), 0u);
  write_file_atomic(run_ / "plain", "");
  EXPECT_THROW(TensorBoardWriter(run_ / "plain"), Error);
}

}  // namespace
}  // namespace um
