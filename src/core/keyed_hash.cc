// See keyed_hash.h.
#include "core/keyed_hash.h"

#include <sys/random.h>

#include <cerrno>

#include "core/error.h"

namespace um {

const std::array<uint64_t, 4>& process_secret() {
  static const std::array<uint64_t, 4> secret = [] {
    std::array<uint64_t, 4> words{};
    ssize_t got = 0;
    do got = ::getrandom(words.data(), sizeof words, 0);
    while (got < 0 && errno == EINTR);
    UM_CHECK(got == ssize_t{sizeof words}, "no random numbers from the system");
    return words;
  }();
  return secret;
}

}  // namespace um
