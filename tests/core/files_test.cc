// Memory maps and atomic writes: what is visible under the name, and what is left behind.
#include "core/files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("um_files_{}", ::getpid());
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_;
};

TEST_F(FilesTest, AtomicFileAppearsOnlyOnCommit) {
  const fs::path path = directory_ / "a.txt";
  write_file_atomic(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(read_file(path), "old");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator{}), 1);
  write_file_atomic(path, "new");
  EXPECT_EQ(read_file(path), "new");
}

TEST_F(FilesTest, MapsAndRefuses) {
  const fs::path path = directory_ / "b.bin";
  write_file_atomic(path, "abc");
  EXPECT_EQ(MappedFile(path).bytes().size(), 3u);
  EXPECT_THROW(MappedFile(directory_ / "missing"), Error);
  EXPECT_THROW(MappedFile{directory_}, Error);
  EXPECT_THROW(read_file(path, 2), Error);
  EXPECT_THROW(make_directories(path / "below_a_file"), Error);
}

}  // namespace
}  // namespace um
