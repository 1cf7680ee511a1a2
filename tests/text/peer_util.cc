// See peer_util.h.
#include "tests/text/peer_util.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "core/error.h"
#include "core/files.h"

namespace um {

namespace fs = std::filesystem;

std::optional<nlohmann::json> ask_python(const std::string& script, const nlohmann::json& request) {
  static std::atomic<int> calls{0};
  const char* python = std::getenv("UM_PYTHON");
  const fs::path base = fs::temp_directory_path() / fmt::format("um_peer_{}_{}", getpid(), ++calls);
  const std::string in = base.string() + ".in", out = base.string() + ".out";
  write_file_atomic(in, request.dump());
  const std::string command =
      fmt::format("{} '{}/tests/text/{}' < '{}' > '{}'", python != nullptr ? python : "python3",
                  UM_SOURCE_DIR, script, in, out);
  const int status = std::system(command.c_str());
  const std::string reply = fs::exists(out) ? read_file(out) : std::string();
  fs::remove(in);
  fs::remove(out);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == 77 || code == 127) return {};
  UM_CHECK(code == 0, "{} failed with {}", script, code);
  return nlohmann::json::parse(reply);
}

fs::path shared_folder() {
  const char* env = std::getenv("UM_SHARED");
  return env != nullptr ? fs::path(env) : fs::path(UM_SOURCE_DIR) / ".." / "shared";
}

}  // namespace um
