// Runs the program as a user would.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace um {

struct ProgramResult {
  int code = -1;  ///< exit code, or 128 + the signal
  std::string out, err;
};

/// Runs build/ultramoe with these arguments, `input` on its standard input.
ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input = "");

/// Whether the program has been built.
bool have_program();

/// A directory of its own that is removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ~ScratchDirectory();
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// Tests of the program that share a scratch directory, which their SetUpTestSuite() fills.
class SharedScratchTest : public ::testing::Test {
 protected:
  /// Makes it; false where there is no program to fill it.
  static bool make_scratch() {
    if (have_program()) scratch_ = std::make_unique<ScratchDirectory>();
    return scratch_ != nullptr;
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  void SetUp() override {
    if (!have_program()) GTEST_SKIP() << UM_BINARY << " is not built";
  }
  static std::string path(const std::string& name) { return *scratch_ / name; }

 private:
  static inline std::unique_ptr<ScratchDirectory> scratch_;
};

}  // namespace um
