// Long commands that are interrupted: they end by the signal and leave nothing half made.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "core/files.h"
#include "tests/cli/program_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWords[] = {"river", "stone", "watches", "moon", "slowly", "red", "paints"};

class CliSignals : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program()) GTEST_SKIP() << UM_BINARY << " is not built";
    // Each line differs, so that there is something to learn and to pack.
    std::ofstream text(scratch_ / "text.txt");
    for (int64_t i = 0; i < 300'000; ++i) {
      for (int64_t n = i * 7919 % 1'000'003; n > 0; n /= 7) text << kWords[n % 7] << ' ';
      text << '\n';
    }
  }

  static pid_t start(const std::vector<std::string>& arguments) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    std::vector<char*> pointers{const_cast<char*>(UM_BINARY)};
    for (const std::string& argument : arguments)
      pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    ::freopen("/dev/null", "w", stdout);
    ::freopen("/dev/null", "w", stderr);
    ::execv(UM_BINARY, pointers.data());
    ::_exit(127);
  }

  /// Starts the command, ends it by `signal` as soon as `out` is there, and expects nothing left.
  void expect_clean(const std::vector<std::string>& arguments, const std::string& out, int signal) {
    const pid_t child = start(arguments);
    const fs::path parent = fs::path(out).parent_path();
    const auto begun = [&] {
      for (const auto& entry : fs::directory_iterator(parent))
        if (entry.path().string().starts_with(out)) return true;
      return false;
    };
    int status = 0;
    pid_t ended = 0;
    while (!begun() && (ended = ::waitpid(child, &status, WNOHANG)) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (ended == 0) {
      ::kill(child, signal);
      ::waitpid(child, &status, 0);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;  // it was faster than we were
    EXPECT_TRUE(WIFSIGNALED(status)) << arguments[0] << " " << status;
    EXPECT_EQ(WTERMSIG(status), signal) << arguments[0];
    EXPECT_FALSE(begun()) << arguments[0] << " left something behind";
  }

  ScratchDirectory scratch_;
};

TEST_F(CliSignals, NothingStaysHalfMade) {
  const std::string text = scratch_ / "text.txt", tokenizer = scratch_ / "tokenizer";
  const std::string model = scratch_ / "model";
  ASSERT_EQ(run_program({"tokenizer", "train", "--input", text, "--vocab-size", "320",
                         "--max-lines", "2000", "--out", tokenizer})
                .code,
            0);
  ASSERT_EQ(
      run_program({"init", "--preset", "tiny-ultra", "--out", model, "--tokenizer", tokenizer})
          .code,
      0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    expect_clean({"tokenizer", "train", "--input", text, "--out", scratch_ / "out-tok"},
                 scratch_ / "out-tok", signal);
    expect_clean({"data", "pack", "--input", text, "--tokenizer", tokenizer, "--out",
                  scratch_ / "out-data", "--shard-tokens", "100000"},
                 scratch_ / "out-data", signal);
    expect_clean({"init", "--preset", "tiny-ultra", "--out", scratch_ / "out-init/deep"},
                 scratch_ / "out-init", signal);
    expect_clean({"convert", model, "--out", scratch_ / "out.gguf"}, scratch_ / "out.gguf", signal);
    expect_clean({"convert", model, "--out", scratch_ / "out-hf", "--shard-size", "0.001"},
                 scratch_ / "out-hf", signal);
  }
}

TEST_F(CliSignals, ALimitOfFileSizesIsAnError) {
  const std::string out = scratch_ / "limited";
  const std::string command = std::string("ulimit -f 64; exec ") + UM_BINARY +
                              " init --preset tiny-ultra --out " + out + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string said;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) said += static_cast<char>(c);
  const int status = ::pclose(pipe);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  EXPECT_NE(said.find("File too large"), std::string::npos) << said;
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace um
