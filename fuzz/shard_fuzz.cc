// Fuzz target: the shard reader over arbitrary bytes; everything it accepts must be readable.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/shard.h"

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const uint32_t vocab : {100u, 100000u}) {
    um::ShardWriter writer(vocab);
    seeds.push_back(writer.bytes());
    writer.add(std::vector<int32_t>{1, 2, 3, 99});
    writer.add(std::vector<int32_t>{7});
    seeds.push_back(writer.bytes());
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const um::TokenShard shard(std::as_bytes(std::span(data, size)), "fuzz");
    std::vector<int32_t> tokens;
    for (uint64_t d = 0; d < shard.documents(); ++d) {
      if (shard.length(d) == 0) __builtin_trap();
      tokens.clear();
      shard.read(d, 0, shard.length(d), tokens);
      for (const int32_t id : tokens) {
        if (id < 0 || static_cast<uint32_t>(id) >= shard.vocab_size()) __builtin_trap();
      }
    }
  } catch (const um::Error&) {
  }
  return 0;
}
