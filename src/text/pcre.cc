// See pcre.h.
#include "text/pcre.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr size_t kMaxPattern = 1 << 16;
constexpr uint32_t kMatchLimit = 20'000'000;  // backtracks in one match
constexpr uint32_t kDepthLimit = 100'000, kHeapKib = 64 << 10;
constexpr size_t kJitStack = 1 << 20;

/// Blanks at the end of a line. Within a run of blanks the first place finds what any later one
/// would, so only that one is tried: a long run costs its length, not its square.
constexpr std::string_view kBlanksAtEnd = R"(\s+$)", kRunAtEnd = R"((?<!\s)\s+$)";

std::string translated(std::string_view pattern, const std::string& where) {
  UM_CHECK(pattern.size() <= kMaxPattern, "{}: regular expression of {} bytes, the limit is {}",
           where, pattern.size(), kMaxPattern);
  try {
    return translate_regex(pattern == kBlanksAtEnd ? kRunAtEnd : pattern);
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

struct Pcre::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string where;
  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(code); }

  static std::shared_ptr<const Code> compile(std::string_view pattern, uint32_t options,
                                             std::string_view shown, const std::string& where) {
    UM_CHECK(pattern.size() <= kMaxPattern, "{}: regular expression of {} bytes, the limit is {}",
             where, pattern.size(), kMaxPattern);
    auto out = std::make_shared<Code>();
    int error = 0;
    size_t offset = 0;
    pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 100);
    options |= PCRE2_UTF;
    out->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                              &error, &offset, context);
    pcre2_compile_context_free(context);
    UM_CHECK(out->code != nullptr, "{}: regular expression {} does not compile: {}", where,
             quote(shown), error_text(error));
    out->jit = pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE) == 0;
    out->where = where;
    return out;
  }
};

Pcre::Pcre(std::string_view pattern, const std::string& where)
    : code_(Code::compile(translated(pattern, where),
                          PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, pattern, where)) {}

Pcre Pcre::literal(std::string_view text, const std::string& where) {
  return Pcre(Code::compile(text, PCRE2_LITERAL, text, where));
}

bool Pcre::match_at(std::string_view subject, size_t from, PcreScratch& scratch) const {
  const auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  const PcreScratch::Data& data = *scratch.data_;
  const auto* code = code_->code;
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  if (code_->jit) {
    found = pcre2_jit_match(code, text, subject.size(), from, 0, data.match, data.context);
  }
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    found = pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        data.match, data.context);
  }
  if (found >= 0) return true;
  UM_CHECK(found == PCRE2_ERROR_NOMATCH, "{}: the regular expression failed on this text: {}",
           code_->where, error_text(found));
  return false;
}

bool PcreMatches::next(PcreMatch& match) {
  while (from_ <= subject_.size() && pattern_.match_at(subject_, from_, scratch_)) {
    const size_t* range = pcre2_get_ovector_pointer(scratch_.data_->match);
    // `\K` in a look-ahead could put the begin behind the end, or before `from_`.
    match.begin = std::max(range[0], from_);
    match.end = std::max(range[1], match.begin);
    if (match.end > match.begin || match.end != last_end_) {
      from_ = last_end_ = match.end;
      return true;
    }
    ++from_;
    while (from_ < subject_.size() && (static_cast<uint8_t>(subject_[from_]) & 0xC0) == 0x80)
      ++from_;
  }
  return false;
}

}  // namespace um
