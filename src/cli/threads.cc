// OpenMP's threads wait for the next parallel region either by spinning (fast wake-up, burns a
// core) or asleep in the kernel (frees the core, wake-up costs several microseconds). The default
// of GCC's libgomp spins 300,000 rounds, about 10 ms: when another process wants the same cores,
// every barrier then waits out time slices in which nobody works, and an idle server keeps all
// cores busy.
//
// We spin 300 rounds, some 10 µs: that covers the gap between two kernels of a forward, and whoever
// waits longer sleeps. Measured beside busy neighbours (2 cores, load 3, decoding with a small
// model): 300,000 rounds 7 tokens/s, 10,000 73, 1,000 430, 300 690, none 940; evaluation is the
// same from 100 to 3,000 rounds and falls to a quarter at 300,000.
//
// The runtime reads these variables when it is loaded, before main; so we set what the user has not
// set and start the program anew. Values that are set stay, UM_NO_REEXEC=1 turns all this off.
#include "cli/threads.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace um {
namespace {

constexpr std::array<std::pair<const char*, const char*>, 4> kSettings = {{
    {"GOMP_SPINCOUNT", "300"},       // libgomp
    {"OMP_WAIT_POLICY", "passive"},  // libomp; for libgomp the count above goes first
    {"KMP_BLOCKTIME", "0"},          // libomp: milliseconds of spinning
    {"OMP_DYNAMIC", "false"},        // as many threads as asked for: results depend on the number
}};

}  // namespace

void settle_openmp_waiting(char** argv) {
  const char* off = std::getenv("UM_NO_REEXEC");
  if (off != nullptr && *off != '\0' && *off != '0') return;
  bool changed = false;
  for (const auto& [name, value] : kSettings) {
    if (std::getenv(name) != nullptr) continue;
    changed = ::setenv(name, value, 0) == 0 || changed;
  }
  if (!changed) return;
  // By its real path, so that the process keeps its name in `top`.
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::execv(program.c_str(), argv);
  // Without /proc we go on as we are: slower beside busy neighbours, but right.
}

}  // namespace um
