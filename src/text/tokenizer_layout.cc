// See tokenizer_layout.h. The facts are those of transformers 5: which file goes before which, and
// what its classes make of a vocab.json.
#include "text/tokenizer_layout.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/input_file.h"
#include "core/json.h"
#include "core/keyed_hash.h"
#include "core/ordered_json.h"
#include "core/paths.h"
#include "text/config_tokens.h"
#include "text/pre_names.h"
#include "text/tokenizer_impl.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kMaxModelBytes = 256u << 20;
constexpr uint64_t kMaxConfigBytes = 64u << 20;

Json read_object(const fs::path& path) {
  if (!path_exists(path)) return Json::object();
  Json json = read_json_file(path, kMaxConfigBytes);
  UM_CHECK(json.is_object(), "{}: not a JSON object", path.string());
  return json;
}

/// The same; fields keep their order.
OrderedJson read_ordered(const fs::path& path) {
  if (!path_exists(path)) return OrderedJson::object();
  OrderedJson json = parse_ordered_json(read_file(path, kMaxConfigBytes), path.string());
  UM_CHECK(json.is_object(), "{}: not a JSON object", path.string());
  return json;
}

/// added_tokens.json: text → id. Those that have a role, or are listed as special, are special.
Json decoder_of_added_tokens(const fs::path& path, const OrderedJson& config) {
  std::set<std::string> special;
  for_each_special(config, path.string(), [&](const std::string&, const Json& token) {
    special.insert(token_text(token));
  });
  Json decoder = Json::object();
  const Json tokens = read_object(path);
  for (const auto& [text, id] : tokens.items()) {
    UM_CHECK(id.is_number_unsigned(), "{}: {}: expected an id, found {}", path.string(),
             quote(text), describe(id));
    const bool is_special = special.contains(text);
    decoder[std::to_string(id.get<uint64_t>())] = {
        {"content", text}, {"special", is_special}, {"normalized", !is_special}};
  }
  return decoder;
}

/// What special_tokens_map.json says goes before the config; lists of further tokens add up, and
/// the older name of the list counts only where there is none yet.
void merge_tokens_map(const OrderedJson& map, OrderedJson& config) {
  const char* further = further_tokens_key(config);
  const OrderedJson known = config.value(further, OrderedJson());
  auto& fields = config.get_ref<OrderedJson::object_t&>();
  NameMap<std::ptrdiff_t> places;
  for (const auto& [key, value] : fields) places.emplace(key, std::ssize(places));
  for (const auto& [key, value] : map.items()) {
    if (key == "additional_special_tokens" && !known.empty()) continue;
    OrderedJson merged = value;
    if (key == "extra_special_tokens" && value.is_array() && known.is_array()) {
      merged = known;
      for (const OrderedJson& token : value) merged.push_back(token);
    }
    const auto place = places.find(key);
    if (place != places.end())
      (fields.begin() + place->second)->second = std::move(merged);
    else
      fields.emplace_back(key, std::move(merged));
  }
}

/// tokenizer_config.json. Where it lists no added tokens, it is of an older layout, in which
/// special_tokens_map.json says more about roles, and added_tokens.json has ids.
OrderedJson read_config(const fs::path& directory) {
  OrderedJson config = read_ordered(directory / "tokenizer_config.json");
  if (config.contains("added_tokens_decoder")) return config;
  const OrderedJson map = read_ordered(directory / "special_tokens_map.json");
  merge_tokens_map(map, config);
  const fs::path added = directory / "added_tokens.json";
  if (path_exists(added)) config["added_tokens_decoder"] = decoder_of_added_tokens(added, config);
  return config;
}

/// The first id of `bos_token_id` and its like in a model's config.json; -1 if there is none.
int32_t config_id(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end()) return -1;
  const Json& value = it->is_array() && !it->empty() ? (*it)[0] : *it;
  const bool fits = value.is_number_unsigned() && value.get<uint64_t>() < (1u << 30);
  return fits ? value.get<int32_t>() : -1;
}

TokenizerRoles roles_of_model(const Json& config) {
  return {.bos = config_id(config, "bos_token_id"),
          .eos = config_id(config, "eos_token_id"),
          .pad = config_id(config, "pad_token_id")};
}

/// A class of transformers that reads vocab.json and merges.txt.
struct VocabClass {
  std::string_view name;
  const char* splitter;  // as pre_names.h has it
  bool nfc;
  std::array<const char*, 4> roles;  // bos, eos, unk, pad where the config names none; or null
};
constexpr const char* kEnd = "<|endoftext|>";
constexpr VocabClass kVocabClasses[] = {
    {"GPT2Tokenizer", "gpt-2", false, {kEnd, kEnd, kEnd, nullptr}},
    {"GPTNeoXTokenizer", "gpt-2", true, {kEnd, kEnd, kEnd, "<|padding|>"}},
    {"Qwen2Tokenizer", "qwen2", true, {nullptr, kEnd, kEnd, kEnd}},
    {"Qwen3_5Tokenizer", "qwen35", true, {nullptr, kEnd, kEnd, kEnd}}};

std::string string_of(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

const VocabClass& vocab_class(const Json& config, const Json& model, const fs::path& directory) {
  std::string name = string_of(config, "tokenizer_class");
  if (name.empty()) name = string_of(model, "tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const std::string type = string_of(model, "model_type");
  if (name.empty() && type.starts_with("qwen3_5")) name = "Qwen3_5Tokenizer";
  if (name.empty() && (type.starts_with("qwen2") || type.starts_with("qwen3")))
    name = "Qwen2Tokenizer";
  if (name.empty() && type == "gpt2") name = "GPT2Tokenizer";
  for (const VocabClass& one : kVocabClasses)
    if (one.name == name) return one;
  fail(
      "{}: vocab.json and merges.txt say how to read them only with a tokenizer_class, found {}; "
      "known: GPT2Tokenizer, GPTNeoXTokenizer, Qwen2Tokenizer, Qwen3_5Tokenizer",
      directory.string(), name.empty() ? "none" : quote(name));
}

Json read_merges(const fs::path& path) {
  Json merges = Json::array();
  const std::string text = read_file(path, kMaxModelBytes);
  for (size_t at = 0, line = 1; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string merge = text.substr(at, end - at);
    at = end + 1;
    if (merge.ends_with('\r')) merge.pop_back();
    if (merge.empty() || merge.starts_with("#version")) continue;
    const size_t space = merge.find(' ');
    UM_CHECK(space != std::string::npos && merge.find(' ', space + 1) == std::string::npos,
             "{}:{}: expected two pieces with one space between, found {}", path.string(), line,
             quote(merge));
    merges.push_back(std::move(merge));
  }
  return merges;
}

/// The text of a config for Tokenizer::parse and from_json: empty stays empty.
std::string text_of(const OrderedJson& config) {
  return config.empty() ? std::string() : config.dump();
}

void set_prefix_space(Json& pre_tokenizer) {
  Json& level = pre_tokenizer.contains("pretokenizers") ? pre_tokenizer["pretokenizers"].back()
                                                        : pre_tokenizer;
  level["add_prefix_space"] = true;
}

/// vocab.json and merges.txt as the tokenizer.json that their class stands for.
Tokenizer load_vocab(const fs::path& directory, OrderedJson config, const Json& model) {
  const VocabClass& type = vocab_class(Json(config), model, directory);
  PreTokenizerParts parts = *pre_tokenizer_parts(type.splitter);
  if (flag_of(Json(config), "add_prefix_space", false)) set_prefix_space(parts.pre_tokenizer);
  if (type.nfc) parts.normalizer = {{"type", "NFC"}};
  const std::array<const char*, 4> keys = {"bos_token", "eos_token", "unk_token", "pad_token"};
  for (size_t i = 0; i < keys.size(); ++i)
    if (type.roles[i] != nullptr && !config.contains(keys[i])) config[keys[i]] = type.roles[i];
  Json json = {{"version", "1.0"},
               {"added_tokens", Json::array()},
               {"normalizer", parts.normalizer},
               {"pre_tokenizer", parts.pre_tokenizer},
               {"post_processor", nullptr},
               {"decoder", parts.decoder}};
  json["model"] = {{"type", "BPE"},
                   {"vocab", read_object(directory / "vocab.json")},
                   {"merges", read_merges(directory / "merges.txt")}};
  return Tokenizer::from_json(to_text(json), text_of(config), directory.string(),
                              roles_of_model(model));
}

/// Names of files that other programs read a tokenizer from.
std::string others_in(const fs::path& directory) {
  std::string found;
  for (const char* name : {"tekken.json", "tiktoken.model", "spiece.model", "vocab.txt",
                           "sentencepiece.bpe.model", "vocab.json"})
    if (path_exists(directory / name)) found += (found.empty() ? "" : ", ") + std::string(name);
  return found.empty() ? "" : "; found " + found + ", which cannot be read";
}

/// Lines of base64, a space and a number.
bool is_tiktoken(std::string_view bytes) {
  const size_t space = bytes.find(' ');
  return space > 0 && space < 256 &&
         bytes.substr(0, space).find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
             "wxyz0123456789+/=") == std::string_view::npos &&
         bytes.substr(space + 1, 1).find_first_of("0123456789") == 0;
}

/// What stands beside the weights has to be files, whichever of them this tokenizer reads: a broken
/// link or a pipe is a mistake, not a file that is missing.
void check_side_files(const fs::path& directory) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt",
                           "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                           "chat_template.jinja", "chat_template.json", "generation_config.json"})
    check_optional_file(directory / name);
}

}  // namespace

Tokenizer load_layout(const fs::path& directory) {
  check_side_files(directory);
  const std::string name = directory.string();
  const fs::path json = directory / "tokenizer.json", model = directory / "tokenizer.model";
  const OrderedJson config = read_config(directory);
  if (path_exists(json)) {
    return Tokenizer::from_json(read_file(json, kMaxModelBytes), text_of(config), name,
                                roles_of_model(read_object(directory / "config.json")));
  }
  if (path_exists(model)) {
    std::string bytes = read_file(model, kMaxModelBytes);
    UM_CHECK(!is_tiktoken(bytes),
             "{}: tokenizer.model is a tiktoken vocabulary, which cannot be read: a "
             "tokenizer.json beside it could",
             name);
    return Tokenizer::parse(std::move(bytes), text_of(config), name);
  }
  UM_CHECK(path_exists(directory / "vocab.json") && path_exists(directory / "merges.txt"),
           "{}: no tokenizer.json, no tokenizer.model, and no vocab.json with merges.txt in this "
           "directory{}",
           name, others_in(directory));
  return load_vocab(directory, config, read_object(directory / "config.json"));
}

}  // namespace um
