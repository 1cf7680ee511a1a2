// What is half written goes: when the writer gives up, when a signal ends the process, and at the
// next start after a kill.
#include "core/unfinished.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "core/error.h"
#include "core/files.h"
#include "core/paths.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class UnfinishedTest : public ::testing::Test {
 protected:
  UnfinishedTest() : top_(fs::temp_directory_path() / fmt::format("um_unfinished_{}", getpid())) {
    fs::create_directories(top_);
  }
  ~UnfinishedTest() override { fs::remove_all(top_); }

  /// Everything under the test's directory.
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(top_))
      names.push_back(fs::relative(entry.path(), top_));
    std::sort(names.begin(), names.end());
    return names;
  }

  /// The signal that ends a child which does `work` and then raises `signal`.
  static int end_of(int signal, const std::function<void()>& work) {
    const pid_t child = ::fork();
    if (child == 0) {
      remove_unfinished_on_signals();
      work();
      ::raise(signal);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }

  fs::path top_;
};

using Names = std::vector<std::string>;

TEST_F(UnfinishedTest, SignalsRemoveWhatIsNotFinished) {
  write_file_atomic(top_ / "old", "old");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EQ(end_of(signal,
                     [&] {
                       auto* output = new OutputDirectory(top_ / "a/b");
                       write_file_atomic(output->path() / "whole", "x");
                       auto* file = new AtomicFile(output->path() / "half");
                       file->write("y");
                       auto* replaced = new AtomicFile(top_ / "old");
                       replaced->write("new");
                     }),
              signal);
    EXPECT_EQ(left(), Names{"old"});
  }
  EXPECT_EQ(read_file(top_ / "old"), "old");
}

TEST_F(UnfinishedTest, WhatIsKeptStays) {
  EXPECT_EQ(end_of(SIGTERM,
                   [&] {
                     OutputDirectory output(top_ / "a");
                     write_file_atomic(top_ / "a/whole", "x");
                     output.keep();
                     new AtomicFile(top_ / "a/half");
                   }),
            SIGTERM);
  EXPECT_EQ(left(), (Names{"a", "a/whole"}));
}

TEST_F(UnfinishedTest, AnExceptionRemovesWhatIsNew) {
  fs::create_directories(top_ / "there");
  write_file_atomic(top_ / "there/replaced", "x");
  const auto fill = [&](const fs::path& directory) {
    OutputDirectory output(directory);
    write_file_atomic(directory / "new", "x");
    write_file_atomic(directory / "replaced", "y");
    fail("no more");
  };
  EXPECT_THROW(fill(top_ / "there"), Error);
  EXPECT_THROW(fill(top_ / "not/there/yet"), Error);
  EXPECT_EQ(left(), (Names{"there", "there/replaced"}));
}

TEST_F(UnfinishedTest, AnIgnoredSignalStaysIgnored) {
  ::signal(SIGHUP, SIG_IGN);
  EXPECT_EQ(end_of(SIGHUP, [&] { new AtomicFile(top_ / "half"); }), 0);
  ::signal(SIGHUP, SIG_DFL);
  EXPECT_EQ(left().size(), 1u);
}

TEST_F(UnfinishedTest, AMapThatShrinksIsNamed) {
  write_file_atomic(top_ / "model", std::string(1 << 20, 'x'));
  const auto read_shrunken = [&] {
    remove_unfinished_on_signals();
    new AtomicFile(top_ / "half");
    const MappedFile map(top_ / "model");
    fs::resize_file(top_ / "model", 0);
    for (const std::byte byte : map.bytes()) ::_exit(static_cast<int>(byte));
  };
  EXPECT_EXIT(read_shrunken(), ::testing::ExitedWithCode(1), "^ultramoe: a file .*shrank.*\n$");
  EXPECT_EQ(left(), Names{"model"});
}

TEST_F(UnfinishedTest, AKilledWritersLeftoversGo) {
  EXPECT_EQ(end_of(SIGKILL, [&] { new AtomicFile(top_ / "half"); }), SIGKILL);
  EXPECT_EQ(left().size(), 1u);
  AtomicFile running(top_ / "mine");
  for (const char* name : {"x.tmp.", "x.tmp.12x", "x.tmp", "x.tmp.1234567.999999999",
                           "x.tmp.0123456g.999999999", "x.tmp.01234567."})
    write_file_atomic(top_ / name, "");
  write_file_atomic(top_ / "old.tmp.999999999", "");  // as earlier versions named them
  write_file_atomic(top_ / "new.tmp.00beef00.999999999", "");
  remove_leftovers(top_);
  EXPECT_EQ(left().size(), 7u);  // the running writer's, and what only looks alike
  EXPECT_EQ(end_of(SIGKILL, [&] { new AtomicFile(top_ / "half"); }), SIGKILL);
  const OutputDirectory next(top_);
  EXPECT_EQ(left().size(), 8u);  // not before it is known that the command begins
  next.clean();
  EXPECT_EQ(left().size(), 7u);
}

/// A name that leads to itself cannot be looked at, whoever asks.
TEST_F(UnfinishedTest, WhatCannotBeReadIsNoneTheLess) {
  fs::create_symlink("loop", top_ / "loop");
  EXPECT_THROW(path_exists(top_ / "loop"), Error);
  EXPECT_THROW(path_exists(top_ / "loop/below"), Error);
  EXPECT_THROW(list_directory(top_ / "loop"), Error);
  write_file_atomic(top_ / "file", "");
  EXPECT_THROW(list_directory(top_ / "file"), Error);
  EXPECT_FALSE(path_exists(top_ / "file/below"));
  EXPECT_FALSE(path_exists(top_ / "none"));
  fs::create_symlink("nowhere", top_ / "dangling");
  EXPECT_THROW(path_exists(top_ / "dangling"), Error);
  fs::remove(top_ / "dangling");
  EXPECT_TRUE(list_directory(top_ / "none").empty());
  EXPECT_EQ(list_directory(top_), (std::vector<fs::path>{top_ / "file", top_ / "loop"}));
}

}  // namespace
}  // namespace um
