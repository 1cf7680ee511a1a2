// The `post_processor` of a tokenizer.json: which tokens stand around a text.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace um {

struct TextFrame {
  std::vector<int32_t> front, behind;
};

/// Of single texts: TemplateProcessing, BertProcessing, RobertaProcessing, Sequence; ByteLevel,
/// which adds none. Null adds none. Throws Error `WHERE: ...` for other kinds, and for ids that are
/// not below `vocab`.
TextFrame read_post_processor(const nlohmann::json& processor, const std::string& where,
                              int64_t vocab);

}  // namespace um
