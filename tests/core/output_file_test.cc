// What a new file may take the place of: through every kind of name.
#include "core/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class OutputFileTest : public ::testing::Test {
 protected:
  OutputFileTest() : top_(fs::temp_directory_path() / fmt::format("um_output_{}", ::getpid())) {
    fs::create_directories(top_ / "below");
  }
  ~OutputFileTest() override { fs::remove_all(top_); }

  /// The message of the refusal to write; empty if the file was written.
  static std::string refusal(const fs::path& path) {
    try {
      write_file_atomic(path, "new");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::recursive_directory_iterator(top_), {}));
  }

  fs::path top_;
};

TEST_F(OutputFileTest, OnlyRegularFilesAreReplaced) {
  const fs::path pipe = top_ / "pipe", socket = top_ / "socket", link = top_ / "link";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  fs::create_symlink("pipe", link);
  const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);

  const std::string text = ": expected a regular file to write, found ";
  EXPECT_EQ(refusal(pipe), pipe.string() + text + "a pipe");
  EXPECT_EQ(refusal(link), link.string() + text + "a pipe");
  EXPECT_EQ(refusal(socket), socket.string() + text + "a socket");
  EXPECT_EQ(refusal(top_ / "below"), (top_ / "below").string() + text + "a directory");
  EXPECT_TRUE(refusal(top_ / "below/").find("expected the name of a file") != std::string::npos);
  EXPECT_TRUE(refusal("").find("expected the name of a file") != std::string::npos);
  EXPECT_THROW(remove_output_file(pipe), Error);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_TRUE(fs::is_socket(socket));
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(entries(), 4u);
  ::close(listening);
}

TEST_F(OutputFileTest, APipeThatComesLaterStaysToo) {
  AtomicFile file(top_ / "late");
  ASSERT_EQ(::mkfifo((top_ / "late").c_str(), 0600), 0);
  EXPECT_THROW(file.commit(), Error);
  EXPECT_TRUE(fs::is_fifo(top_ / "late"));
}

TEST_F(OutputFileTest, LinksAreFollowed) {
  write_file_atomic(top_ / "below/target", "old");
  fs::create_symlink("below/target", top_ / "relative");
  fs::create_symlink(top_ / "relative", top_ / "absolute");
  fs::create_symlink("../below/fresh", top_ / "below/dangling");
  for (const char* name : {"relative", "absolute"}) {
    write_file_atomic(top_ / "below/target", "old");
    EXPECT_EQ(refusal(top_ / name), "");
    EXPECT_TRUE(fs::is_symlink(top_ / name));
    EXPECT_EQ(read_file(top_ / "below/target"), "new");
  }
  EXPECT_EQ(refusal(top_ / "below/dangling"), "");
  EXPECT_TRUE(fs::is_symlink(top_ / "below/dangling"));
  EXPECT_EQ(read_file(top_ / "below/fresh"), "new");
  remove_output_file(top_ / "absolute");
  EXPECT_FALSE(fs::is_symlink(top_ / "absolute"));
  EXPECT_TRUE(fs::is_symlink(top_ / "relative"));
  EXPECT_EQ(entries(), 5u);
}

TEST_F(OutputFileTest, LinksThatLeadNowhereGood) {
  fs::create_symlink("loop", top_ / "loop");
  EXPECT_NE(refusal(top_ / "loop").find("leads to itself"), std::string::npos);
  fs::create_symlink("no/such", top_ / "lost");
  EXPECT_NE(refusal(top_ / "lost").find("cannot create"), std::string::npos);
  write_file_atomic(top_ / "open", "old");
  const int fd = ::open((top_ / "open").c_str(), O_WRONLY);
  EXPECT_NE(refusal(fmt::format("/proc/self/fd/{}", fd)).find("a process has open"),
            std::string::npos);
  ::close(fd);
  EXPECT_EQ(read_file(top_ / "open"), "old");
}

/// As the system does it for plain writes.
TEST_F(OutputFileTest, OthersLinksInSharedDirectoriesAreNotFollowed) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a link for another user";
  write_file_atomic(top_ / "victim", "kept");
  fs::create_symlink(top_ / "victim", top_ / "below/link");
  ASSERT_EQ(::lchown((top_ / "below/link").c_str(), 12345, 12345), 0);
  ASSERT_EQ(::chmod((top_ / "below").c_str(), 01777), 0);
  EXPECT_NE(refusal(top_ / "below/link").find("another user"), std::string::npos);
  EXPECT_EQ(read_file(top_ / "victim"), "kept");
  ASSERT_EQ(::chmod((top_ / "below").c_str(), 0777), 0);
  EXPECT_EQ(refusal(top_ / "below/link"), "");
}

/// Only what a killed writer of this very name left.
TEST_F(OutputFileTest, LeftoversOfTheNameGo) {
  const fs::path path = top_ / "x.gguf";
  const pid_t child = ::fork();
  if (child == 0) {
    new AtomicFile(path);
    ::_exit(0);  // as if killed
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(entries(), 2u);
  const AtomicFile running(path);  // removes it
  EXPECT_EQ(entries(), 2u);
  for (const char* name :
       {"y.gguf.tmp.01234567.999999999", "x.gguf.tmp.999999999", "x.gguf.tmp.0123456.999999999",
        "x.gguf.tmp.0123456g.999999999", "x.gguf.tmp.01234567.", "x.gguf.tmp.01234567.0",
        "x.gguf.tmp.01234567.1", "x.gguf.tmp.01234567.999999999.bak", "xx.gguf.tmp.01234567.1x",
        "ax.gguf.tmp.01234567.999999999", "x.gguf.tmp.01234567.-1"})
    write_file_atomic(top_ / name, "");
  write_file_atomic(top_ / fmt::format("x.gguf.tmp.01234567.{}", ::getpid()), "");
  fs::create_directory(top_ / "x.gguf.tmp.0000000d.999999999");
  fs::create_symlink("none", top_ / "x.gguf.tmp.0000000e.999999999");
  const size_t before = entries();
  write_file_atomic(path, "new");
  EXPECT_EQ(entries(), before + 1);
  // A link's leftovers are beside its target.
  write_file_atomic(top_ / "x.gguf.tmp.00000001.999999999", "");
  fs::create_symlink("../x.gguf", top_ / "below/link");
  write_file_atomic(top_ / "below/link", "newer");
  EXPECT_EQ(entries(), before + 2);
}

/// A process of another system (a container) may write it, and have a number that is nobody's here.
TEST_F(OutputFileTest, WhatIsLockedIsBeingWritten) {
  const fs::path path = top_ / "x";
  const fs::path temporary = top_ / "x.tmp.01234567.999999999";
  auto writer = std::make_unique<AtomicFile>(path);
  for (const auto& entry : fs::directory_iterator(top_))
    if (entry.path().string().find(".tmp.") != std::string::npos)
      fs::rename(entry.path(), temporary);
  write_file_atomic(path, "new");
  EXPECT_TRUE(fs::exists(temporary));
  writer.reset();
  write_file_atomic(path, "new");
  EXPECT_FALSE(fs::exists(temporary));
}

/// In a container an earlier process often had the same number.
TEST_F(OutputFileTest, AnEarlierProcessMayHaveHadOurNumber) {
  const fs::path left = top_ / fmt::format("x.tmp.01234567.{}", ::getpid());
  write_file_atomic(left, "");
  fs::last_write_time(left, fs::last_write_time(left) - std::chrono::hours(24));
  write_file_atomic(top_ / "x", "new");
  EXPECT_FALSE(fs::exists(left));
}

}  // namespace
}  // namespace um
