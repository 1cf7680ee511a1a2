// A checkpoint's digests: every file, every kind of damage, and what is said about it.
#include "models/digests.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/rng.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class DigestsTest : public ::testing::Test {
 protected:
  DigestsTest() : top_(fs::temp_directory_path() / fmt::format("um_digests_{}", getpid())) {}
  ~DigestsTest() override { fs::remove_all(top_); }

  fs::path make(const std::string& name) const {
    const fs::path directory = top_ / name;
    CheckpointDirectory output(directory, [](std::string_view file) { return file == "moments"; });
    write_file_atomic(directory / "weights", std::string(100, 'w'));
    write_file_atomic(directory / "moments", "m");
    output.seal();
    output.keep();
    return directory;
  }
  static std::string fault(const fs::path& directory, DigestScope scope = DigestScope::all) {
    try {
      check_digests(directory, scope);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path top_;
};

/// The sum of parts is that of the whole.
TEST_F(DigestsTest, ChecksumIsZlibs) {
  const RandomStream random(3, 0);
  std::vector<uint64_t> words(2'500'000);
  for (size_t i = 0; i < words.size(); ++i) words[i] = random.bits(i);
  const auto bytes = std::as_bytes(std::span(words));
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{4} << 20, (size_t{4} << 20) + 1, bytes.size()})
    EXPECT_EQ(crc32_of(bytes.first(size)),
              ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), size));
}

TEST_F(DigestsTest, WholeCheckpointsPass) {
  const fs::path directory = make("step-1");
  EXPECT_EQ(fault(directory), "");
  write_file_atomic(directory / "added later", "x");
  EXPECT_EQ(fault(directory), "");
  write_file_atomic(directory / "weights", "changed on purpose");
  fs::remove(directory / "digests.json");
  EXPECT_EQ(fault(directory), "");
}

TEST_F(DigestsTest, WhatAKilledWriterLeavesIsNotComplete) {
  const fs::path directory = top_ / "killed", copy = top_ / "copy";
  {
    const CheckpointDirectory output(directory);
    write_file_atomic(directory / "config.json", "{}");
    fs::copy(directory, copy, fs::copy_options::recursive);  // as SIGKILL leaves it
  }
  EXPECT_FALSE(fs::exists(directory)) << "an exception leaves nothing";
  EXPECT_TRUE(is_unfinished(copy));
  EXPECT_EQ(fault(copy), copy.string() +
                             ": not complete: the command that wrote it was ended; run "
                             "it again, or remove it");
  CheckpointDirectory again(copy);
  again.seal();
  again.keep();
  EXPECT_FALSE(is_unfinished(copy));
  EXPECT_EQ(fault(copy), "");
}

TEST_F(DigestsTest, EveryDamageIsNamed) {
  const fs::path directory = make("step-1");
  const std::string weights = (directory / "weights").string();
  const auto expect = [&](const std::string& text, const std::string& part) {
    const std::string message = fault(directory);
    EXPECT_TRUE(message.starts_with(text)) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  std::string bad(100, 'w');
  bad[70] ^= 4;
  write_file_atomic(weights, bad);
  expect(weights + ": damaged: its CRC-32 is ", "no older checkpoint is whole");
  expect(weights, "delete " + (directory / "digests.json").string());
  write_file_atomic(weights, std::string(99, 'w'));
  expect(weights + ": 99 bytes; 100 were written", "");
  fs::remove(weights);
  expect(weights + ": missing", "");
  fs::create_directory(weights);  // cannot be read: no damage
  EXPECT_EQ(fault(directory).find("delete"), std::string::npos) << fault(directory);
  fs::remove(weights);
  for (const char* list : {"{", "", "{}", R"({"model": 1, "training": {}})"}) {
    write_file_atomic(directory / "digests.json", list);
    expect((directory / "digests.json").string(), "no older checkpoint is whole; if you changed");
  }
}

TEST_F(DigestsTest, ModelsDoNotReadTrainingStates) {
  const fs::path directory = make("step-1");
  write_file_atomic(directory / "moments", "x");
  EXPECT_EQ(fault(directory, DigestScope::model), "");
  EXPECT_NE(fault(directory, DigestScope::all), "");
}

TEST_F(DigestsTest, NamesTheNewestOlderCheckpointThatIsWhole) {
  for (const char* name : {"step-8", "step-9", "step-10", "step-11", "step-12"}) make(name);
  write_file_atomic(top_ / "step-10/weights", "x");
  write_file_atomic(top_ / "step-11/weights", "x");
  EXPECT_NE(fault(top_ / "step-11").find((top_ / "step-9").string() + " is whole"),
            std::string::npos)
      << fault(top_ / "step-11");
}

/// A list that says nothing of a file must not vouch for it.
TEST_F(DigestsTest, ListsNameWhatIsRead) {
  const fs::path directory = make("step-1"), list = directory / "digests.json";
  const Json whole = read_json_file(list);
  for (const char* name :
       {"model.safetensors", "model-00001-of-00002.safetensors", "config.json",
        "model.safetensors.index.json", "optimizer.safetensors", "training_state.json"}) {
    write_file_atomic(directory / name, "x");
    EXPECT_TRUE(
        fault(directory).starts_with(list.string() + ": damaged: " + name + " is not in it"))
        << fault(directory);
    EXPECT_NE(fault(directory, DigestScope::model), "") << name;
    fs::remove(directory / name);
  }
  write_file_atomic(directory / "model.safetensors", "x");
  for (const char* text : {R"({"model": {}, "training": {}})",
                           R"({"model": {}, "training": {"model.safetensors": {"bytes": 1,
                               "crc32": "8cdc1683"}}})"}) {
    write_file_atomic(list, text);
    EXPECT_NE(fault(directory).find("model.safetensors is not in it"), std::string::npos) << text;
  }
}

/// Other models beside one are none of its run.
TEST_F(DigestsTest, OnlyARunsCheckpointsHaveOlderOnes) {
  for (const char* name : {"a", "b", "step-1", "step-x"}) {
    make(name);
    write_file_atomic(top_ / name / "weights", "x");
  }
  for (const char* name : {"c", "step-2"}) make(name);
  for (const char* name : {"a", "b", "step-x"})
    EXPECT_EQ(fault(top_ / name).find("older"), std::string::npos) << fault(top_ / name);
  EXPECT_NE(fault(top_ / "step-1/").find("no older checkpoint is whole"), std::string::npos);
}

TEST_F(DigestsTest, HostileListsAreErrors) {
  const fs::path directory = make("step-1");
  for (const char* text :
       {"", "[]", "{}", R"({"model": 1, "training": {}})",
        R"({"model": {"weights": 1}, "training": {}})",
        R"({"model": {"../x": {"bytes": 1, "crc32": ""}}, "training": {}})",
        R"({"model": {"weights": {"bytes": -1, "crc32": ""}}, "training": {}})"}) {
    write_file_atomic(directory / "digests.json", text);
    EXPECT_NE(fault(directory), "") << text;
  }
}

}  // namespace
}  // namespace um
