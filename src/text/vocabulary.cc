// See vocabulary.h.
#include "text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/json.h"
#include "text/pre_names.h"
#include "text/utf8.h"

namespace um {
namespace {

// The parts of a SentencePiece model that a vocabulary fills (sentencepiece_model.proto), written
// by hand: a field is its number and wire type, then a varint, four bytes, or a length and bytes.
class ProtoWriter {
 public:
  void number(uint32_t field, uint64_t value) {
    varint(field << 3);
    varint(value);
  }
  void real(uint32_t field, float value) {
    varint(field << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) out_ += static_cast<char>(bits >> shift & 0xFF);
  }
  void bytes(uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    out_ += value;
  }
  const std::string& text() const { return out_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }
  std::string out_;
};

/// An id without a token; see drop_padding().
bool is_gap(const Vocabulary& v, size_t id) {
  return v.tokens[id].empty() && v.types[id] == Vocabulary::kUnused;
}

bool is_special(const Vocabulary& v, size_t id) {
  return v.types[id] == Vocabulary::kControl || v.types[id] == Vocabulary::kUnknown;
}

/// SentencePiece takes one unknown piece, and insists on it; files mark others too, for padding.
int32_t piece_type(const Vocabulary& v, size_t id) {
  const bool unknown = id == static_cast<size_t>(std::max(v.unk, 0));
  if (unknown) return Vocabulary::kUnknown;
  return v.types[id] == Vocabulary::kUnknown ? Vocabulary::kControl : v.types[id];
}

std::string sentencepiece_model(const Vocabulary& v) {
  ProtoWriter out;
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    ProtoWriter piece;
    piece.bytes(1, v.tokens[id].empty() ? padding_name(id) : v.tokens[id]);
    piece.real(2, v.scores[id]);
    piece.number(3, static_cast<uint64_t>(piece_type(v, id)));
    out.bytes(1, piece.text());
  }
  // Ids that are absent are -1, as ten bytes.
  const auto role = [](int32_t id) { return static_cast<uint64_t>(int64_t{id}); };
  ProtoWriter trainer;
  trainer.number(3, 2);   // model_type: BPE
  trainer.number(35, 1);  // byte_fallback
  trainer.number(40, role(v.unk >= 0 ? v.unk : 0));
  trainer.number(41, role(v.bos));
  trainer.number(42, role(v.eos));
  trainer.number(43, role(v.pad));
  out.bytes(2, trainer.text());
  ProtoWriter normalizer;
  normalizer.bytes(1, "identity");
  normalizer.number(3, v.add_space_prefix ? 1 : 0);
  normalizer.number(4, v.remove_extra_whitespaces ? 1 : 0);
  normalizer.number(5, 1);  // escape_whitespaces
  out.bytes(3, normalizer.text());
  return out.text();
}

Json json_model(const Vocabulary& v, const PreTokenizerParts& parts, const std::string& name) {
  Json vocab = Json::object();
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (is_gap(v, id)) continue;
    UM_CHECK(vocab.emplace(v.tokens[id], id).second, "{}: token {} appears twice", name,
             quote(v.tokens[id]));
  }
  return {{"type", "BPE"},
          {"vocab", std::move(vocab)},
          {"merges", v.merges},
          {"ignore_merges", parts.ignore_merges},
          {"byte_fallback", parts.raw}};
}

std::string tokenizer_json(const Vocabulary& v, const PreTokenizerParts& parts,
                           const std::string& name) {
  Json added = Json::array();
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (v.tokens[id].empty() || (!is_special(v, id) && v.types[id] != Vocabulary::kUserDefined))
      continue;
    added.push_back({{"id", id},
                     {"content", v.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", is_special(v, id)}});
  }
  return to_text({{"version", "1.0"},
                  {"added_tokens", std::move(added)},
                  {"normalizer", parts.normalizer},
                  {"pre_tokenizer", parts.pre_tokenizer},
                  {"decoder", parts.decoder},
                  {"model", json_model(v, parts, name)}});
}

/// tokenizer_config.json, so far as the vocabulary says.
Json tokenizer_config(const Vocabulary& v) {
  Json config = Json::object();
  const auto role = [&](const char* key, int32_t id) {
    if (id >= 0) config[key] = v.tokens[static_cast<size_t>(id)];
  };
  role("bos_token", v.bos);
  role("eos_token", v.eos);
  role("unk_token", v.unk);
  role("pad_token", v.pad);
  if (v.add_bos) config["add_bos_token"] = *v.add_bos;
  if (v.add_eos) config["add_eos_token"] = *v.add_eos;
  if (!v.chat_template.empty()) config["chat_template"] = v.chat_template;
  if (v.named_templates.empty()) return config;
  config["chat_template"] = Json::array({{{"name", "default"}, {"template", v.chat_template}}});
  for (const auto& [name, source] : v.named_templates)
    config["chat_template"].push_back({{"name", name}, {"template", source}});
  return config;
}

/// For SentencePiece the special tokens have to be named too: control and unknown pieces, and those
/// which users defined.
Json added_tokens_decoder(const Vocabulary& v) {
  Json added = Json::object();
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (!is_special(v, id) && v.types[id] != Vocabulary::kUserDefined) continue;
    added[std::to_string(id)] = {{"content", v.tokens[id]}, {"special", is_special(v, id)}};
  }
  return added;
}

void add_carried_fields(const Vocabulary& v, Json& config, const std::string& name) {
  if (v.config.empty()) return;
  const Json carried = parse_json(v.config, name + ": tokenizer.ultramoe.config");
  UM_CHECK(carried.is_object(), "{}: tokenizer.ultramoe.config: not a JSON object", name);
  for (const char* key : kCarriedFields)
    if (carried.contains(key)) config[key] = carried[key];
}

void check(const Vocabulary& v, const std::string& name) {
  const size_t count = v.tokens.size();
  UM_CHECK(count > 0, "{}: the vocabulary has no tokens", name);
  UM_CHECK(v.types.size() == count, "{}: {} tokens but {} token types", name, count,
           v.types.size());
  UM_CHECK(v.model != "llama" || v.scores.size() == count, "{}: {} tokens but {} scores", name,
           count, v.scores.size());
  for (const int32_t type : v.types) {
    UM_CHECK(type >= Vocabulary::kNormal && type <= Vocabulary::kByte,
             "{}: token type {}, expected 1 to 6", name, type);
  }
  for (const int32_t id : {v.bos, v.eos, v.unk, v.pad}) {
    UM_CHECK(id >= -1 && (id < 0 || static_cast<size_t>(id) < count),
             "{}: special id {} is outside the vocabulary of {}", name, id, count);
  }
}

/// Padding loses its name, and at the end its id: as where the vocabulary came from, it has no text
/// and no role.
void drop_padding(Vocabulary& v) {
  size_t count = 0;
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (v.types[id] == Vocabulary::kUnused && v.tokens[id] == padding_name(id))
      v.tokens[id].clear();
    if (!is_gap(v, id)) count = id + 1;
  }
  for (int32_t* id : {&v.bos, &v.eos, &v.unk, &v.pad})
    if (*id >= 0 && is_gap(v, static_cast<size_t>(*id))) *id = -1;
  v.tokens.resize(count);
  v.types.resize(count);
  if (!v.scores.empty()) v.scores.resize(count);  // for "llama"
}

bool has_merges(const Vocabulary& v) {
  return v.model == "gpt2" || v.model == "gemma4" || v.model == "whitespace";
}

/// A pre-tokenizer that nobody knows is the default one, with a warning: most texts come out right.
Tokenizer make_byte_pairs(const Vocabulary& v, Json config, const std::string& name) {
  auto parts = pre_tokenizer_parts(v.model == "gemma4" ? v.model : v.pre);
  std::vector<std::string> warnings;
  if (!parts) {
    warnings.push_back(fmt::format(
        "{}: tokenizer.ggml.pre {}: text is split as \"default\" says, which may not be how the "
        "model was trained",
        name, v.pre.empty() ? "is missing" : quote(v.pre) + " is not known"));
    parts = pre_tokenizer_parts("default");
  }
  if (!v.add_bos) config["add_bos_token"] = parts->add_bos && v.bos >= 0;
  return Tokenizer::from_json(tokenizer_json(v, *parts, name), to_text(config), name)
      .with_warnings(std::move(warnings));
}

int32_t id_of(const Gguf& file, const char* key) {
  const auto id = file.integer(key);
  UM_CHECK(!id || (*id >= 0 && *id < (1 << 30)), "{}: {}: {} is no token id", file.name(), key,
           *id);
  return id ? static_cast<int32_t>(*id) : -1;
}

}  // namespace

std::string padding_name(size_t id) {
  return fmt::format("[PAD{}]", id);
}

std::map<std::string, std::string> named_templates(const Gguf& file) {
  std::map<std::string, std::string> named;
  const auto add = [&](std::string_view name) {
    const auto source = file.string(fmt::format("{}.{}", kTemplateKey, name));
    if (source) named.emplace(name, *source);
  };
  for (const std::string_view name : file.strings(kTemplateNamesKey)) add(name);
  add("tool_use");  // older writers did not list it
  return named;
}

Vocabulary read_vocabulary(const Gguf& file) {
  Vocabulary v;
  const auto text = [&](const char* key) { return repair_utf8(file.string(key).value_or("")); };
  v.model = text("tokenizer.ggml.model");
  UM_CHECK(!v.model.empty(), "{}: no tokenizer.ggml.model: the file has no vocabulary",
           file.name());
  v.pre = text("tokenizer.ggml.pre");
  for (const std::string_view token : file.strings("tokenizer.ggml.tokens")) {
    v.tokens.emplace_back(token);
  }
  for (const std::string_view merge : file.strings("tokenizer.ggml.merges")) {
    v.merges.emplace_back(merge);
  }
  v.scores = file.floats("tokenizer.ggml.scores");
  v.types = file.int32s("tokenizer.ggml.token_type");
  if (v.types.empty()) v.types.assign(v.tokens.size(), Vocabulary::kNormal);
  v.bos = id_of(file, "tokenizer.ggml.bos_token_id");
  v.eos = id_of(file, "tokenizer.ggml.eos_token_id");
  if (file.has(kTextEndsKey)) {  // else the key of GGUF may name the end of a turn
    const std::vector<int32_t> ends = file.int32s(kTextEndsKey);
    if (std::ranges::find(ends, v.eos) == ends.end()) v.eos = -1;
  }
  v.unk = id_of(file, "tokenizer.ggml.unknown_token_id");
  v.pad = id_of(file, "tokenizer.ggml.padding_token_id");
  v.add_bos = file.boolean("tokenizer.ggml.add_bos_token");
  v.add_eos = file.boolean("tokenizer.ggml.add_eos_token");
  v.add_space_prefix = file.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  v.remove_extra_whitespaces =
      file.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  v.chat_template = text(kTemplateKey);
  v.named_templates = named_templates(file);
  v.json = text("tokenizer.huggingface.json");
  v.config = text("tokenizer.ultramoe.config");
  return v;
}

Tokenizer make_tokenizer(Vocabulary v, const std::string& name) {
  check(v, name);
  drop_padding(v);
  Json config = tokenizer_config(v);
  if (has_merges(v) && !v.json.empty()) return Tokenizer::from_json(v.json, to_text(config), name);
  if (has_merges(v)) return make_byte_pairs(v, std::move(config), name);
  UM_CHECK(v.model == "llama",
           "{}: vocabulary of model {}, expected \"llama\", \"gpt2\", \"gemma4\" or \"whitespace\"",
           name, quote(v.model));
  config["added_tokens_decoder"] = added_tokens_decoder(v);
  add_carried_fields(v, config, name);
  if (!v.add_bos) config["add_bos_token"] = v.bos >= 0;
  return Tokenizer::parse(sentencepiece_model(v), to_text(config), name);
}

}  // namespace um
