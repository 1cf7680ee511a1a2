// See http_record.h.
#include "server/http_record.h"

#include "server/ids.h"

namespace um {
namespace {

constexpr size_t kMaxPath = 1024;  // of a line in the log

}  // namespace

HttpRecord HttpRecord::of(const std::string& client) {
  return {.id = random_id("req_"), .client = client};
}

void HttpRecord::name(const HttpHead& head) {
  method = head.method;
  path = head.path.substr(0, kMaxPath);
  anthropic_version = head.field("anthropic-version");
  const std::string given = head.field("x-request-id");
  if (is_request_id(given)) id = given;
}

void HttpRecord::end() {
  seconds = std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace um
