// Linked into the libFuzzer programs: with UM_WRITE_SEEDS=DIR in the environment a target writes
// its seeds there, one file each, and ends. libFuzzer has no other way to know them.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

std::vector<std::string> fuzz_seeds();

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  const char* directory = std::getenv("UM_WRITE_SEEDS");
  if (directory == nullptr) return 0;
  int number = 0;
  for (const std::string& seed : fuzz_seeds()) {
    const std::string path = std::string(directory) + "/seed-" + std::to_string(number++);
    std::FILE* file = std::fopen(path.c_str(), "wb");
    const bool written =
        file != nullptr && std::fwrite(seed.data(), 1, seed.size(), file) == seed.size();
    if (!written || std::fclose(file) != 0) {
      std::perror(path.c_str());
      std::exit(1);
    }
  }
  std::exit(0);
}
