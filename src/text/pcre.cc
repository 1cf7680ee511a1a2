// See pcre.h.
#include "text/pcre.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr size_t kMaxPattern = 1 << 16;
constexpr uint32_t kMatchLimit = 20'000'000;  // backtracks of a match at one place
constexpr uint32_t kDepthLimit = 100'000, kHeapKib = 64 << 10;
constexpr size_t kJitStack = 1 << 20;

// A match that goes further than this costs of what the text may cost in all.
constexpr size_t kWindow = 256, kMaxWindow = 1024;  // bytes
constexpr uint32_t kFreeSteps = 1024;               // backtracks
constexpr uint64_t kFree = 8 << 20, kTimes = 256;   // that cost, for each byte of the text

/// Published expressions that look at the rest of a run from each place in it, and others that find
/// the same in one look: a long run costs its length, not its square.
struct Rewrite {
  std::string_view published, linear;
};
constexpr Rewrite kRewrites[] = {
    // Blanks at the end of a line: the first place in a run finds what any later one would.
    {R"(\s+$)", R"((?<!\s)\s+$)"},
    // Digits by three from the right: where a run begins says how long the first part is, and after
    // it (\G: a match ended here) all have three.
    {R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))",
     R"((?<!\p{N})\p{N}{1,3}(?=(?:\p{N}{3})*+(?!\p{N}))|\G(?<=\p{N})\p{N}{3})"},
    {R"(\d{1,3}(?=(?:\d{3})*\b))", R"((?<!\d)\d{1,3}(?=(?:\d{3})*+\b)|\G(?<=\d)\d{3})"},
    // The places between them. The search goes on one digit behind the last.
    {R"((?=(\d{3})+(?!\d)))", R"((?:(?<!\d)|(?<=(?<!\d)\d)|(?<=(?<!\d)\d\d))(?=(?:\d{3})++(?!\d)))"
                              R"(|(?<=\d\G\d\d)(?=\d{3}))"},
    // Words of several parts: what begins with a letter, with at most one blank before it, is one
    // more, and none is given back.
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)"
     R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}\p{M}*+(?: ?\p{L}\p{M}*+)*+|\p{N}|)"
     R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"},
    // Blanks in powers of two: no line end follows where none followed the blank before.
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|)"
     R"(\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"((?<![^\S\r\n])\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|)"
     R"(\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}};

const Rewrite* rewrite_of(std::string_view pattern) {
  const auto* found = std::find_if(std::begin(kRewrites), std::end(kRewrites),
                                   [&](const Rewrite& one) { return one.published == pattern; });
  return found == std::end(kRewrites) ? nullptr : found;
}

size_t next_character(std::string_view text, size_t at) {
  do ++at;
  while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

std::string translated(std::string_view pattern, const std::string& where) {
  UM_CHECK(pattern.size() <= kMaxPattern, "{}: regular expression of {} bytes, the limit is {}",
           where, pattern.size(), kMaxPattern);
  try {
    const Rewrite* rewrite = rewrite_of(pattern);
    return rewrite != nullptr ? translate_regex(rewrite->linear, true) : translate_regex(pattern);
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 128> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct PcreScratch::Data {
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, kJitStack, nullptr);
  Data() {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kDepthLimit);
    pcre2_set_heap_limit(context, kHeapKib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  ~Data() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
  }
};

PcreScratch::PcreScratch() : data_(std::make_unique<Data>()) {}
PcreScratch::~PcreScratch() = default;

/// A compiled expression: as it is, to search, and to be tried at one place only, which is made
/// when it is needed.
struct Pcre::Code {
  struct Delete {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  using Compiled = std::unique_ptr<pcre2_code, Delete>;

  std::string pattern, where;
  uint32_t options;
  bool linear = false;  // known to cost no more than the text is long
  Compiled search;
  mutable std::once_flag once;
  mutable Compiled here;

  Code(std::string_view pattern_, uint32_t options_, std::string_view shown,
       const std::string& where_)
      : pattern(pattern_), where(where_), options(options_ | PCRE2_UTF) {
    UM_CHECK(pattern.size() <= kMaxPattern, "{}: regular expression of {} bytes, the limit is {}",
             where, pattern.size(), kMaxPattern);
    search = compile(options, shown);
  }

  Compiled compile(uint32_t with, std::string_view shown) const {
    int error = 0;
    size_t offset = 0;
    pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 100);
    Compiled out(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), with,
                               &error, &offset, context));
    pcre2_compile_context_free(context);
    UM_CHECK(out != nullptr, "{}: regular expression {} does not compile: {}", where, quote(shown),
             error_text(error));
    pcre2_jit_compile(out.get(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);  // else interpreted
    return out;
  }

  const pcre2_code* at_one_place() const {
    std::call_once(once, [&] { here = compile(options | PCRE2_ANCHORED, pattern); });
    return here.get();
  }
};

Pcre::Pcre(std::string_view pattern, const std::string& where) {
  auto code =
      std::make_shared<Code>(translated(pattern, where),
                             PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, pattern, where);
  code->linear = rewrite_of(pattern) != nullptr;
  code_ = std::move(code);
}

Pcre Pcre::literal(std::string_view text, const std::string& where) {
  return Pcre(std::make_shared<Code>(text, PCRE2_LITERAL, text, where));
}

PcreMatches::Outcome PcreMatches::run(bool anchored, size_t at, size_t end) {
  const Pcre::Code& owner = *pattern_.code_;
  const pcre2_code* code = anchored ? owner.at_one_place() : owner.search.get();
  const auto text = reinterpret_cast<PCRE2_SPTR>(subject_.data());
  const PcreScratch::Data& data = *scratch_.data_;
  const uint32_t partial = end < subject_.size() ? PCRE2_PARTIAL_HARD : 0;
  int found = pcre2_jit_match(code, text, end, at, partial, data.match, data.context);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT || found == PCRE2_ERROR_JIT_BADOPTION) {
    found = pcre2_match(code, text, end, at, partial | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        data.match, data.context);
  }
  if (found == PCRE2_ERROR_NOMATCH) return kNone;
  if (found == PCRE2_ERROR_MATCHLIMIT) return kLimit;
  if (found == PCRE2_ERROR_PARTIAL) return kPartial;
  UM_CHECK(found != PCRE2_ERROR_DEPTHLIMIT && found != PCRE2_ERROR_HEAPLIMIT,
           "{}: the regular expression takes too long on this text", owner.where);
  UM_CHECK(found >= 0, "{}: the regular expression failed on this text: {}", owner.where,
           error_text(found));
  // What is empty at the end of the window may be more.
  return partial != 0 && range()[0] >= end ? kPartial : kFound;
}

const size_t* PcreMatches::range() const {
  return pcre2_get_ovector_pointer(scratch_.data_->match);
}

void PcreMatches::limit(uint32_t backtracks) {
  pcre2_set_match_limit(scratch_.data_->context, backtracks);
}

void PcreMatches::spend(uint64_t steps) {
  spent_ += steps;
  UM_CHECK(spent_ <= kFree + kTimes * subject_.size(),
           "{}: the regular expression takes too long on this text", pattern_.code_->where);
}

size_t PcreMatches::window_end(size_t at, size_t window) const {
  if (subject_.size() - at <= window) return subject_.size();
  return next_character(subject_, at + window - 1);
}

/// A match that begins at `at`, in windows that grow for as long as they do not do. This costs.
bool PcreMatches::find_here(size_t at) {
  size_t window = kWindow;
  uint32_t backtracks = kFreeSteps;
  for (;;) {
    spend(window + backtracks);
    limit(backtracks);
    const Outcome outcome = run(true, at, window_end(at, window));
    if (outcome == kFound || outcome == kNone) return outcome == kFound;
    if (outcome == kPartial) window *= 2;
    if (outcome == kLimit) backtracks *= 2;
  }
}

/// The first match from `from_` on. The text is looked at through a window behind which it seems to
/// go on (PCRE2_PARTIAL_HARD), so a place where the expression looks further is noticed.
bool PcreMatches::find() {
  if (pattern_.code_->linear) {
    limit(kMatchLimit);
    const Outcome outcome = run(false, from_, subject_.size());
    UM_CHECK(outcome != kLimit, "{}: the regular expression takes too long on this text",
             pattern_.code_->where);
    return outcome == kFound;
  }
  size_t window = kWindow;
  for (size_t at = from_; at <= subject_.size();) {
    const size_t end = window_end(at, window);
    limit(kFreeSteps);
    const Outcome outcome = run(false, at, end);
    if (outcome == kFound) return true;
    if (outcome == kNone && end == subject_.size()) return false;
    if (outcome == kNone) {
      at = end;
      window = std::min(2 * window, kMaxWindow);
      continue;
    }
    if (outcome == kPartial) at = pcre2_get_startchar(scratch_.data_->match);
    if (find_here(at)) return true;
    at = next_character(subject_, at);
    window = kWindow;
  }
  return false;
}

bool PcreMatches::next(PcreMatch& match) {
  while (from_ <= subject_.size() && find()) {
    // `\K` in a look-ahead could put the begin behind the end, or before `from_`.
    match.begin = std::max(range()[0], from_);
    match.end = std::max(range()[1], match.begin);
    const bool empty = match.end == match.begin;
    if (!empty || match.end != last_end_) {
      from_ = last_end_ = match.end;
      if (empty && pattern_.code_->linear) from_ = next_character(subject_, from_);
      return true;
    }
    from_ = next_character(subject_, from_);
  }
  return false;
}

}  // namespace um
