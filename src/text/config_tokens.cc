// See config_tokens.h.
#include "text/config_tokens.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "core/ordered_json.h"

namespace um {
namespace {

constexpr int64_t kMaxId = (1 << 30) - 1;
constexpr const char* kExtra = "extra_special_tokens";
constexpr const char* kAdditional = "additional_special_tokens";
constexpr const char* kModelSpecific = "model_specific_special_tokens";
constexpr std::array<const char*, 7> kRoles = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

/// `added` as it grows: each text once, each id once.
class Growing {
 public:
  Growing(const Tokenizer::Impl& impl, const std::string& name, std::vector<AddedToken>& added)
      : impl_(impl), name_(name), added_(added), next_(static_cast<int32_t>(impl.pieces.size())) {
    for (const AddedToken& token : added) note(token);
  }

  void add(AddedToken token) {
    if (texts_.contains(token.text)) return;
    const int32_t known = find_piece(impl_, token.text);
    if (known >= 0 && ids_.contains(known)) return;  // a piece that was given another text
    if (known >= 0) token.id = known;
    if (token.id < 0) token.id = next_;
    note(token);
    added_.push_back(std::move(token));
  }

  void add_special(const std::string& key, const Json& value) {
    AddedToken token{.id = -1, .text = token_text(value), .special = true};
    if (token.text.empty()) return;
    if (value.is_object()) {
      token.lstrip = flag_of(value, "lstrip", false);
      token.rstrip = flag_of(value, "rstrip", false);
      token.single_word = flag_of(value, "single_word", false);
    }
    if (!texts_.contains(token.text) && find_piece(impl_, token.text) < 0)
      warnings_.push_back(fmt::format("{}: {} {} is in no vocabulary: it becomes id {}", name_, key,
                                      quote(token.text), next_));
    add(std::move(token));
  }
  std::vector<std::string> take_warnings() { return std::move(warnings_); }

 private:
  void note(const AddedToken& token) {
    texts_.insert(token.text);
    ids_.insert(token.id);
    next_ = std::max(next_, token.id + 1);
  }

  const Tokenizer::Impl& impl_;
  const std::string& name_;
  std::vector<AddedToken>& added_;
  std::set<std::string> texts_;
  std::set<int32_t> ids_;
  std::vector<std::string> warnings_;
  int32_t next_;
};

void check_listed(const Json& token, const std::string& where) {
  UM_CHECK(!token_text(token).empty(), "{}: expected texts or objects with \"content\", found {}",
           where, describe(token));
}

}  // namespace

nlohmann::ordered_json ordered_config(std::string_view text, const std::string& name) {
  return text.empty() ? nlohmann::ordered_json::object() : parse_ordered_json(text, name);
}

std::string token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  const auto content = value.is_object() ? value.find("content") : value.end();
  return content != value.end() && content->is_string() ? content->get<std::string>() : "";
}

const char* further_tokens_key(const nlohmann::ordered_json& config) {
  const auto extra = config.find(kExtra);
  return extra != config.end() && !extra->empty() ? kExtra : kAdditional;
}

void for_each_special(const nlohmann::ordered_json& config, const std::string& name,
                      const std::function<void(const std::string&, const Json&)>& visit) {
  for (const char* role : kRoles)
    if (const auto it = config.find(role); it != config.end()) visit(role, *it);
  for (const auto& [key, value] : config.items()) {
    const bool role = std::find(kRoles.begin(), kRoles.end(), key) != kRoles.end();
    if (!role && key.ends_with("_token")) visit(key, value);
  }
  for (const char* key : {kModelSpecific, further_tokens_key(config)}) {
    const auto list = config.find(key);
    if (list == config.end() || list->is_null()) continue;
    UM_CHECK(list->is_array() || list->is_object(),
             "{}: {}: expected a list or an object, found {}", name, key, describe(Json(*list)));
    for (const Json token : *list) {
      check_listed(token, name + ": " + key);
      visit(key, token);
    }
  }
}

Json decoder_of(std::span<const AddedToken> tokens) {
  Json decoder = Json::object();
  for (const AddedToken& token : tokens) {
    decoder[std::to_string(token.id)] = {{"content", token.text},
                                         {"lstrip", token.lstrip},
                                         {"normalized", token.normalized},
                                         {"rstrip", token.rstrip},
                                         {"single_word", token.single_word},
                                         {"special", token.special}};
  }
  return decoder;
}

std::vector<std::string> add_config_tokens(const Tokenizer::Impl& impl,
                                           const nlohmann::ordered_json& config,
                                           const std::string& name,
                                           std::vector<AddedToken>& added) {
  Growing growing(impl, name, added);
  if (const auto list = config.find("added_tokens_decoder"); list != config.end()) {
    UM_CHECK(list->is_object(), "{}: added_tokens_decoder: expected an object", name);
    std::set<std::string> texts;
    for (const auto& [key, entry] : list->items()) {
      const AddedToken token = read_config_token(key, entry, kMaxId, name);
      UM_CHECK(texts.insert(token.text).second, "{}: added_tokens_decoder: {} has two ids", name,
               quote(token.text));
      growing.add(token);
    }
  }
  for_each_special(config, name, [&](const std::string& key, const Json& token) {
    growing.add_special(key, token);
  });
  return growing.take_warnings();
}

void add_field_warnings(const Json& config, const std::string& name,
                        std::vector<std::string>& warnings) {
  if (flag_of(config, "split_special_tokens", false))
    warnings.push_back(name +
                       ": split_special_tokens is ignored: special tokens written in raw texts "
                       "count as such");
}

}  // namespace um
