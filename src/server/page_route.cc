// The chat page: one HTML file with its styles and scripts in it.
#include "embedded/chat_page.h"
#include "server/routes.h"

namespace um {
namespace {

void put(std::string& page, std::string_view mark, std::string_view text) {
  const size_t at = page.find(mark);
  if (at != std::string::npos) page.replace(at, mark.size(), text);
}

std::string build_page() {
  using namespace embedded;
  std::string page(kChatHtml), script;
  for (const std::string_view part : {kMarkdownJs, kStoreJs, kApiJs, kChatJs}) script += part;
  put(page, "/*style*/", kChatCss);
  put(page, "/*script*/", script);
  return page;
}

}  // namespace

void route_page(Service&, const HttpRequest&, HttpResponse& response) {
  static const std::string kPage = build_page();
  response.content_type = "text/html; charset=utf-8";
  response.body = kPage;
  // The page needs nothing from elsewhere, and nothing that a model writes may fetch anything.
  response.headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  response.headers.emplace_back("Cache-Control", "no-cache");
}

}  // namespace um
