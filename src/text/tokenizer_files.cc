// Loading and saving tokenizers: tokenizer.model (SentencePiece) and tokenizer_config.json in the
// published fields (interop.md 4.1), and the choice between tokenizer.model and tokenizer.json.
// Everything read here is hostile.
#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "text/chat.h"
#include "text/decoder.h"
#include "text/sentencepiece_check.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace um {

bool flag_of(const Json& entry, const char* key, bool fallback) {
  const auto it = entry.find(key);
  return it != entry.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

void index_specials(Tokenizer::Impl& impl, const std::string& name) {
  std::sort(impl.specials.begin(), impl.specials.end(),
            [](const SpecialToken& a, const SpecialToken& b) { return a.id < b.id; });
  if (!impl.specials.empty()) {
    const auto needed = static_cast<size_t>(impl.specials.back().id) + 1;
    impl.pieces.resize(std::max(impl.pieces.size(), needed));
    impl.surfaces.resize(impl.pieces.size());
  }
  impl.special_of.assign(impl.pieces.size(), -1);
  for (size_t i = 0; i < impl.specials.size(); ++i) {
    const SpecialToken& token = impl.specials[i];
    const auto id = static_cast<size_t>(token.id);
    UM_CHECK(impl.special_of[id] < 0, "{}: added_tokens_decoder: id {} appears twice", name, id);
    UM_CHECK(impl.special_by_text.emplace(token.text, token.id).second,
             "{}: added_tokens_decoder: \"{}\" has two ids", name, token.text);
    impl.special_of[id] = static_cast<int32_t>(i);
    impl.pieces[id] = token.text;
    impl.surfaces[id].clear();
    impl.specials_by_byte[static_cast<uint8_t>(token.text[0])].push_back(static_cast<int32_t>(i));
  }
  for (auto& list : impl.specials_by_byte) {
    std::stable_sort(list.begin(), list.end(), [&](int32_t a, int32_t b) {
      return impl.specials[static_cast<size_t>(a)].text.size() >
             impl.specials[static_cast<size_t>(b)].text.size();
    });
  }
}

int32_t named_id(const Tokenizer::Impl& impl, const char* key, int32_t fallback,
                 const std::string& name) {
  const auto it = impl.config.find(key);
  if (it == impl.config.end()) return fallback;
  if (it->is_null()) return -1;
  const Json& text = it->is_object() && it->contains("content") ? (*it)["content"] : *it;
  UM_CHECK(text.is_string(), "{}: {}: expected a string", name, key);
  const auto content = text.get<std::string>();
  const int32_t id = find_piece(impl, content);
  UM_CHECK(id >= 0, "{}: {} is \"{}\", which is no token of this tokenizer", name, key, content);
  return id;
}

namespace {

using Impl = Tokenizer::Impl;

constexpr uint64_t kMaxModelBytes = 256u << 20;
constexpr uint64_t kMaxConfigBytes = 64u << 20;
constexpr int32_t kMaxAddedIds = 1 << 20;  // how far added ids may lie behind the model's
constexpr size_t kMaxSpecialText = 1024;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space

std::string replace_space_marks(std::string_view piece) {
  std::string out;
  for (size_t at = 0; at < piece.size();) {
    const bool mark = piece.substr(at, kSpaceMark.size()) == kSpaceMark;
    out += mark ? ' ' : piece[at];
    at += mark ? kSpaceMark.size() : 1;
  }
  return out;
}

bool is_unused_piece(std::string_view piece) {
  return piece.starts_with("[unused") && piece.ends_with(']');
}

void read_pieces(Impl& impl, const std::string& name) {
  check_sentencepiece(impl.model, name);
  const auto status = impl.processor.LoadFromSerializedProto(impl.model);
  UM_CHECK(status.ok(), "{}: not a SentencePiece model: {}", name, status.ToString());
  const int count = impl.processor.GetPieceSize();
  UM_CHECK(count > 0, "{}: the SentencePiece model has no pieces", name);
  impl.byte_ids.fill(-1);
  for (int id = 0; id < count; ++id) {
    const std::string& piece = impl.processor.IdToPiece(id);
    UM_CHECK(is_utf8(piece), "{}: piece {} is not UTF-8", name, id);
    impl.pieces.push_back(piece);
    if (impl.processor.IsByte(id)) {
      const int byte = byte_of_piece(piece);
      UM_CHECK(byte >= 0, "{}: byte piece \"{}\" is not of the form <0xNN>", name, piece);
      impl.byte_ids[static_cast<size_t>(byte)] = id;
      impl.surfaces.emplace_back(1, static_cast<char>(byte));
      continue;
    }
    const bool silent = impl.processor.IsControl(id) || impl.processor.IsUnknown(id);
    impl.surfaces.push_back(silent ? "" : replace_space_marks(piece));
    // A space mark after another character: pieces cross spaces.
    const size_t word = impl.surfaces.back().find_first_not_of(' ');
    const bool crosses =
        word != std::string::npos && impl.surfaces.back().find(' ', word) != std::string::npos;
    if (crosses) impl.cut_at_spaces = false;
  }
  const auto probe = impl.processor.EncodeAsPieces("a");
  impl.prefix_space = !probe.empty() && (probe[0].starts_with(kSpaceMark) || probe[0] == "<0xE2>");
  impl.strips_spaces = impl.processor.EncodeAsIds("  a") == impl.processor.EncodeAsIds("a");
}

SpecialToken read_added_token(const std::string& key, const Json& entry, int32_t limit,
                              const std::string& name) {
  SpecialToken token;
  const auto parsed = std::from_chars(key.data(), key.data() + key.size(), token.id);
  UM_CHECK(parsed.ec == std::errc() && parsed.ptr == key.data() + key.size() && token.id >= 0 &&
               token.id < limit,
           "{}: added_tokens_decoder: key \"{}\" is not an id below {}", name, key.substr(0, 32),
           limit);
  UM_CHECK(entry.is_object() && entry.contains("content") && entry["content"].is_string(),
           "{}: added_tokens_decoder.{}: expected an object with a string \"content\"", name, key);
  token.text = entry["content"].get<std::string>();
  UM_CHECK(!token.text.empty() && token.text.size() <= kMaxSpecialText,
           "{}: added_tokens_decoder.{}: content of {} bytes, expected 1 to {}", name, key,
           token.text.size(), kMaxSpecialText);
  token.special = flag_of(entry, "special", true);
  token.lstrip = flag_of(entry, "lstrip", false);
  token.rstrip = flag_of(entry, "rstrip", false);
  return token;
}

void read_specials(Impl& impl, const std::string& name) {
  const auto count = static_cast<int32_t>(impl.pieces.size());
  const auto added = impl.config.find("added_tokens_decoder");
  if (added != impl.config.end()) {
    UM_CHECK(added->is_object(), "{}: added_tokens_decoder: expected an object", name);
    for (const auto& [key, entry] : added->items()) {
      impl.specials.push_back(read_added_token(key, entry, count + kMaxAddedIds, name));
    }
  } else {
    for (int32_t id = 0; id < count; ++id) {
      const std::string& piece = impl.pieces[static_cast<size_t>(id)];
      const bool control = impl.processor.IsControl(id) || impl.processor.IsUnknown(id);
      if (control || is_unused_piece(piece)) impl.specials.push_back({id, piece});
    }
  }
}

Json token_entry(const SpecialToken& token) {
  return {{"content", token.text},  {"lstrip", token.lstrip}, {"normalized", false},
          {"rstrip", token.rstrip}, {"single_word", false},   {"special", token.special}};
}

/// tokenizer_config.json for a model that came without one.
Json make_config(const Impl& impl) {
  Json added = Json::object();
  for (const SpecialToken& token : impl.specials) {
    added[std::to_string(token.id)] = token_entry(token);
  }
  const auto name = [&](int32_t id) {
    return id < 0 ? Json() : Json(impl.pieces[static_cast<size_t>(id)]);
  };
  Json config = {{"add_bos_token", impl.add_bos},         {"add_eos_token", false},
                 {"add_prefix_space", impl.prefix_space}, {"added_tokens_decoder", added},
                 {"bos_token", name(impl.bos)},           {"clean_up_tokenization_spaces", false},
                 {"eos_token", name(impl.eos)},           {"legacy", true},
                 {"model_max_length", 1000000000},        {"pad_token", name(impl.pad)},
                 {"sp_model_kwargs", Json::object()},     {"spaces_between_special_tokens", false},
                 {"tokenizer_class", "LlamaTokenizer"},   {"unk_token", name(impl.unk)}};
  if (impl.special_by_text.contains(std::string(kTurnOpen)) &&
      impl.special_by_text.contains(std::string(kTurnClose))) {
    config["chat_template"] = std::string(kChatTemplate);
  }
  return config;
}

void read_roles(Impl& impl, const std::string& name) {
  const auto unused10 = impl.special_by_text.find(std::string(kTurnClose));
  const int32_t eos =
      unused10 != impl.special_by_text.end() ? unused10->second : impl.processor.eos_id();
  impl.unk = named_id(impl, "unk_token", impl.processor.unk_id(), name);
  impl.bos = named_id(impl, "bos_token", impl.processor.bos_id(), name);
  impl.eos = named_id(impl, "eos_token", eos, name);
  const int32_t pad = impl.processor.pad_id();
  impl.pad = named_id(impl, "pad_token", pad >= 0 ? pad : impl.unk, name);
  impl.add_bos = flag_of(impl.config, "add_bos_token", true) && impl.bos >= 0;
}

/// The first id of `bos_token_id` and its like in a model's config.json; -1 if there is none.
int32_t config_id(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end()) return -1;
  const Json& value = it->is_array() && !it->empty() ? (*it)[0] : *it;
  const bool fits = value.is_number_unsigned() && value.get<uint64_t>() < (1u << 30);
  return fits ? value.get<int32_t>() : -1;
}

TokenizerRoles roles_of_model(const std::filesystem::path& config) {
  if (!std::filesystem::exists(config)) return {};
  const Json json = read_json_file(config, kMaxConfigBytes);
  if (!json.is_object()) return {};
  return {.bos = config_id(json, "bos_token_id"),
          .eos = config_id(json, "eos_token_id"),
          .pad = config_id(json, "pad_token_id")};
}

}  // namespace

Tokenizer Tokenizer::parse(std::string model, std::string_view config, const std::string& name) {
  UM_CHECK(model.size() <= kMaxModelBytes, "{}: model of {} bytes, the limit is {}", name,
           model.size(), kMaxModelBytes);
  auto impl = std::make_shared<Impl>();
  impl->model = std::move(model);
  read_pieces(*impl, name);
  const std::string config_name = name + " (tokenizer_config.json)";
  impl->config = config.empty() ? Json::object() : parse_json(config, config_name);
  UM_CHECK(impl->config.is_object(), "{}: not a JSON object", config_name);
  read_specials(*impl, config_name);
  index_specials(*impl, config_name);
  read_roles(*impl, config_name);
  if (config.empty()) impl->config = make_config(*impl);
  return Tokenizer(std::move(impl));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    if (path.extension() == ".gguf")
      return make_tokenizer(read_vocabulary(Gguf(path)), path.string());
    std::string bytes = read_file(path, kMaxModelBytes);
    const bool json = path.extension() == ".json";
    return json ? from_json(std::move(bytes), "", path.string())
                : parse(std::move(bytes), "", path.string());
  }
  const auto config = path / "tokenizer_config.json";
  const std::string text =
      std::filesystem::exists(config) ? read_file(config, kMaxConfigBytes) : std::string();
  const auto model = path / "tokenizer.model", json = path / "tokenizer.json";
  if (std::filesystem::exists(model)) {
    return parse(read_file(model, kMaxModelBytes), text, path.string());
  }
  UM_CHECK(std::filesystem::exists(json),
           "{}: no tokenizer.model and no tokenizer.json in this directory", path.string());
  return from_json(read_file(json, kMaxModelBytes), text, path.string(),
                   roles_of_model(path / "config.json"));
}

void Tokenizer::save(const std::filesystem::path& directory) const {
  const char* name = impl_->json ? "tokenizer.json" : "tokenizer.model";
  write_file_atomic(directory / name, impl_->model);
  // Ids that came from elsewhere (a model's config.json) are lost without their names.
  Json config = impl_->config;
  const auto role = [&](const char* key, int32_t id) {
    if (id >= 0 && !config.contains(key)) config[key] = piece(id);
  };
  role("bos_token", impl_->bos);
  role("eos_token", impl_->eos);
  role("pad_token", impl_->pad);
  role("unk_token", impl_->unk);
  write_file_atomic(directory / "tokenizer_config.json", to_text(config, 2) + "\n");
}

}  // namespace um
