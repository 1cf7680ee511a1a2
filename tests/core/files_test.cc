// Memory maps and atomic writes: what is visible under the name, and what is left behind.
#include "core/files.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/input_file.h"
#include "core/paths.h"

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

/// Where another user can write, names that can be guessed may be links by the time they are
/// opened.
TEST_F(FilesTest, TemporariesAreNewFilesOfTheirOwn) {
  const fs::path path = directory_ / "a.txt", victim = directory_ / "victim";
  write_file_atomic(victim, "kept");
  fs::create_symlink(victim, fmt::format("{}.tmp.{}", path.string(), ::getpid()));
  const mode_t before = ::umask(027);
  AtomicFile first(path), second(path);
  ::umask(before);
  first.write("first");
  second.write("second");
  first.commit();
  EXPECT_EQ(read_file(path), "first");
  second.commit();
  EXPECT_EQ(read_file(path), "second");
  EXPECT_EQ(read_file(victim), "kept");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
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

std::string refusal(const fs::path& path) {
  try {
    const InputFile file(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Each would make a plain open or read wait, or read without end.
TEST_F(FilesTest, OnlyRegularFilesAreOpened) {
  const fs::path pipe = directory_ / "pipe", link = directory_ / "link", socket = directory_ / "s";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  fs::create_symlink(pipe, link);
  const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);

  EXPECT_EQ(refusal(pipe), pipe.string() + ": expected a regular file, found a pipe");
  EXPECT_EQ(refusal(link), link.string() + ": expected a regular file, found a pipe");
  EXPECT_EQ(refusal(socket), socket.string() + ": expected a regular file, found a socket");
  EXPECT_EQ(refusal("/dev/zero"), "/dev/zero: expected a regular file, found a device");
  EXPECT_EQ(refusal(directory_),
            directory_.string() + ": expected a regular file, found a directory");
  EXPECT_EQ(refusal(directory_ / "none"),
            (directory_ / "none").string() + ": cannot open: No such file or directory");
  for (const fs::path& path : {pipe, fs::path("/dev/zero"), directory_}) {
    EXPECT_THROW(MappedFile{path}, Error);
    EXPECT_THROW(read_file(path), Error);
    EXPECT_THROW(copy_whole_file(path, directory_ / "copy"), Error);
    EXPECT_TRUE(path_exists(path));
  }
  EXPECT_FALSE(path_exists(directory_ / "none"));
  EXPECT_FALSE(path_exists(socket / "below"));
  ::close(listening);
}

}  // namespace
}  // namespace um
