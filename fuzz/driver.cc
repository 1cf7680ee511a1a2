// Runs a fuzz target without libFuzzer: the inputs of a folder (what libFuzzer found before), then
// a fixed number made from the target's seeds by mutation with a fixed seed, so that it is an
// ordinary, repeatable test. Crashes and sanitizer reports fail it. With clang and -DUM_FUZZ=ON the
// same targets link libFuzzer instead.
//   NAME_fuzz [--runs N] [--seed N] [--corpus FOLDER]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/// Each target gives a few valid inputs to mutate.
std::vector<std::string> fuzz_seeds();

namespace {

void mutate(std::string& input, std::mt19937_64& random) {
  const uint64_t kind = random() % 6;
  const size_t at = input.empty() ? 0 : random() % input.size();
  if (kind == 0 && !input.empty()) input[at] = static_cast<char>(random());
  if (kind == 1 && !input.empty()) input[at] ^= static_cast<char>(1u << (random() % 8));
  if (kind == 2) input.insert(at, 1 + random() % 8, static_cast<char>(random()));
  if (kind == 3 && !input.empty()) input.erase(at, 1 + random() % 16);
  if (kind == 4) input.resize(at);
  if (kind == 5 && !input.empty())
    input.insert(at, input.substr(random() % input.size(), 1 + random() % 32));
}

/// The files of `folder`; none if there is no such folder.
std::vector<std::string> read_corpus(const std::string& folder) {
  std::vector<std::string> inputs;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t runs = 20000, seed = 1;
  std::vector<std::string> found;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--runs") == 0) runs = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--corpus") == 0) found = read_corpus(argv[i + 1]);
  }
  std::mt19937_64 random(seed);
  const std::vector<std::string> seeds = fuzz_seeds();
  auto run = [](const std::string& input) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  };
  for (const std::string& input : seeds) run(input);
  for (const std::string& input : found) run(input);
  for (uint64_t i = 0; i < runs; ++i) {
    std::string input = seeds.empty() ? std::string() : seeds[random() % seeds.size()];
    for (uint64_t n = 1 + random() % 8; n > 0; --n) mutate(input, random);
    run(input);
  }
  std::printf("%llu inputs, no crash\n",
              static_cast<unsigned long long>(runs + seeds.size() + found.size()));
  return 0;
}
