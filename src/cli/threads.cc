// OpenMP's threads wait for the next parallel region either by spinning (fast wake-up, burns a
// core) or asleep in the kernel (frees the core, wake-up costs several microseconds). The default
// of GCC's libgomp spins 300,000 rounds, about 10 ms: when another process wants the same cores,
// every barrier then waits out time slices in which nobody works, and an idle server keeps all
// cores busy.
//
// We spin 3,000 rounds, some 50 µs: that covers the gap between two kernels, and whoever waits
// longer sleeps. Measured on 2 cores, idle and with one busy loop pinned to each core
// (docs/speed.md):
//
//   rounds   train d256, tokens/s   decode bench-small   decode tiny-ultra
//      300        9,000 / 3,500          69 / 32             2,500 / 3,500
//    1,000        8,900 / 3,900          68 / 33             4,700 / 4,700
//    3,000        9,500 / 4,400          70 / 38             4,800 / 4,600
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
    {"GOMP_SPINCOUNT", "3000"},      // libgomp
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
