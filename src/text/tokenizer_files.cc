// Loading and saving tokenizers: tokenizer.model (SentencePiece) and tokenizer_config.json in the
// published fields (docs/tokenizers.md), and the choice between tokenizer.model and tokenizer.json.
// Everything read here is hostile.
#include <algorithm>
#include <charconv>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/output_file.h"
#include "text/chat.h"
#include "text/config_tokens.h"
#include "text/decoder.h"
#include "text/sentencepiece_check.h"
#include "text/tokenizer_impl.h"
#include "text/tokenizer_layout.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace um {

bool flag_of(const Json& entry, const char* key, bool fallback) {
  const auto it = entry.find(key);
  return it != entry.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

void index_specials(Tokenizer::Impl& impl, const std::string& where) {
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
    UM_CHECK(impl.special_of[id] < 0, "{}: id {} appears twice", where, id);
    UM_CHECK(impl.special_by_text.emplace(token.text, token.id).second, "{}: {} has two ids", where,
             quote(token.text));
    impl.special_of[id] = static_cast<int32_t>(i);
    impl.pieces[id] = token.text;
    impl.surfaces[id].clear();
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
  if (content.empty()) return -1;
  const int32_t id = find_piece(impl, content);
  UM_CHECK(id >= 0, "{}: {} is \"{}\", which is no token of this tokenizer", name, key, content);
  return id;
}

void check_id_gap(int64_t id, size_t count, const std::string& where) {
  constexpr size_t kGap = 1 << 16;
  UM_CHECK(id >= 0 && static_cast<uint64_t>(id) < 2 * count + kGap,
           "{}: id {} lies far behind the {} tokens there are", where, id, count);
}

constexpr size_t kMaxSpecialText = 1024;

AddedToken read_config_token(const std::string& key, const Json& entry, int64_t limit,
                             const std::string& name) {
  AddedToken token;
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
  token.single_word = flag_of(entry, "single_word", false);
  token.normalized = flag_of(entry, "normalized", !token.special);
  return token;
}

namespace {

using Impl = Tokenizer::Impl;

constexpr uint64_t kMaxModelBytes = 256u << 20;
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

/// Classes of transformers that number or split the pieces of a tokenizer.model in a way of their
/// own, none of them of a decoder that is run here.
constexpr std::string_view kOwnClasses[] = {
    "Albert", "Barthez",   "Bartpho",     "BigBird",    "Camembert", "Cohere",
    "Cpm",    "DebertaV2", "FNet",        "GPTSw3",     "Lasr",      "LayoutXLM",
    "M2M100", "MBart",     "MBart50",     "MLuke",      "Marian",    "Nllb",
    "PLBart", "Pegasus",   "Reformer",    "RemBert",    "Siglip",    "T5",
    "Udop",   "XGLM",      "SeamlessM4T", "XLMRoberta", "XLNet",     "GPT2",
    "Qwen2",  "Qwen3_5",   "GPTNeoX",     "Roberta",    "CodeGen",   "Speech2Text"};

/// The tokenizer_class of a config without its ending; empty where it has none of such a form.
std::string class_of(const Json& config, const std::string& name) {
  const auto it = config.find("tokenizer_class");
  if (it == config.end() || !it->is_string()) return {};
  std::string type = it->get<std::string>();
  for (const std::string_view ending : {"Fast", "Tokenizer"})
    if (type.ends_with(ending)) type.resize(type.size() - ending.size());
  UM_CHECK(std::ranges::find(kOwnClasses, type) == std::end(kOwnClasses),
           "{}: tokenizer_class {} reads a tokenizer.model in a way of its own, which is not known "
           "here: a tokenizer.json beside it could be read",
           name, quote(it->get<std::string>()));
  return type;
}

/// How transformers (5.24) reads a tokenizer.model: its class LlamaTokenizer puts no second space
/// before one, has no normaliser, and takes `add_prefix_space`; CodeLlamaTokenizer is the same
/// without `legacy`, and GemmaTokenizer without any prefix; under other names the model itself
/// says. `legacy`: a space before every text between special tokens, and not only the first. These
/// classes are BPE: a Unigram model under their names is read as the model says.
SentencePieceOptions sentencepiece_options(const Json& config, const SentencePieceFacts& facts,
                                           const std::string& name) {
  const std::string type = class_of(config, name);
  const bool gemma = type == "Gemma", newer = gemma || type == "CodeLlama";
  const bool plain = newer || type == "Llama";
  const bool legacy = !newer && flag_of(config, "legacy", !plain);
  SentencePieceOptions options;
  options.plain = plain && !facts.unigram;
  options.rewrites = facts.rewrites;
  options.prefix = legacy ? SentencePieceOptions::kAlways : SentencePieceOptions::kFirst;
  if (options.plain && (gemma || !flag_of(config, "add_prefix_space", true)))
    options.prefix = SentencePieceOptions::kNever;
  options.join_prefix = options.plain || !legacy;
  return options;
}

void read_pieces(Impl& impl, const std::string& name) {
  const SentencePieceFacts facts = check_sentencepiece(impl.model, name);
  const SentencePieceOptions options = sentencepiece_options(impl.config, facts, name);
  auto model = std::make_unique<SentencePieceModel>(impl.model, options, name);
  const auto& processor = model->processor();
  impl.byte_ids.fill(-1);
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    const std::string& piece = processor.IdToPiece(id);
    UM_CHECK(is_utf8(piece), "{}: piece {} is not UTF-8", name, id);
    if (processor.IsUnused(id) && piece == padding_name(static_cast<size_t>(id))) {
      impl.pieces.emplace_back();  // padding that was read from a GGUF file: no token
      impl.surfaces.emplace_back();
      continue;
    }
    impl.pieces.push_back(piece);
    if (processor.IsByte(id)) {
      const int byte = byte_of_piece(piece);
      UM_CHECK(byte >= 0, "{}: byte piece \"{}\" is not of the form <0xNN>", name, piece);
      impl.byte_ids[static_cast<size_t>(byte)] = id;
      impl.surfaces.emplace_back(1, static_cast<char>(byte));
      continue;
    }
    const bool silent = processor.IsControl(id) || processor.IsUnknown(id);
    impl.surfaces.push_back(silent ? "" : replace_space_marks(piece));
  }
  impl.prefix_space = model->prefix() == SentencePieceOptions::kAlways;
  impl.strip_first_space = model->prefix() == SentencePieceOptions::kFirst;
  impl.strips_spaces = model->strips_spaces();
  impl.sentencepiece = std::move(model);
}

/// Returns warnings. The config's added_tokens_decoder is completed where there was no config, or
/// one that names further tokens elsewhere: what is saved or exported keeps them.
std::vector<std::string> read_specials(Impl& impl, std::string_view config,
                                       const std::string& name) {
  const auto count = static_cast<int32_t>(impl.pieces.size());
  const auto decoder = impl.config.find("added_tokens_decoder");
  const bool decodes = decoder != impl.config.end();
  std::vector<AddedToken> tokens;
  std::vector<std::string> warnings =
      add_config_tokens(impl, ordered_config(config, name), name, tokens);
  const size_t further = tokens.size() - (decodes ? std::min(decoder->size(), tokens.size()) : 0);
  std::set<int32_t> listed;
  for (const AddedToken& token : tokens) {
    check_id_gap(token.id, impl.pieces.size() + tokens.size(), name + ": added_tokens_decoder");
    listed.insert(token.id);
  }
  // The model's own, also where the config says nothing of them.
  const auto& processor = impl.sentencepiece->processor();
  for (int32_t id = 0; id < count; ++id) {
    const std::string& piece = impl.pieces[static_cast<size_t>(id)];
    const bool control =
        processor.IsControl(id) || processor.IsUnknown(id) || (!decodes && is_unused_piece(piece));
    if (control && !listed.contains(id))
      tokens.push_back({.id = id, .text = piece, .special = true});
  }
  for (const AddedToken& token : tokens) {
    impl.specials.push_back({token.id, token.text, token.special, token.lstrip, token.rstrip});
    impl.cut.add(token);
  }
  impl.cut.finish();
  if (further > 0 || impl.config.empty()) impl.config["added_tokens_decoder"] = decoder_of(tokens);
  return warnings;
}

/// tokenizer_config.json for a model that came without one.
Json make_config(const Impl& impl) {
  const auto name = [&](int32_t id) {
    return id < 0 ? Json() : Json(impl.pieces[static_cast<size_t>(id)]);
  };
  Json config = {{"add_bos_token", impl.add_bos},
                 {"add_eos_token", impl.add_eos},
                 {"add_prefix_space", impl.prefix_space},
                 {"added_tokens_decoder", impl.config.at("added_tokens_decoder")},
                 {"bos_token", name(impl.bos)},
                 {"clean_up_tokenization_spaces", false},
                 {"eos_token", name(impl.eos)},
                 {"legacy", true},
                 {"model_max_length", 1000000000},
                 {"pad_token", name(impl.pad)},
                 {"sp_model_kwargs", Json::object()},
                 {"spaces_between_special_tokens", false},
                 {"tokenizer_class", "TokenizersBackend"},
                 {"unk_token", name(impl.unk)}};
  if (impl.special_by_text.contains(std::string(kTurnOpen)) &&
      impl.special_by_text.contains(std::string(kTurnClose))) {
    config["chat_template"] = std::string(kChatTemplate);
  }
  return config;
}

void read_roles(Impl& impl, const std::string& name) {
  const auto& processor = impl.sentencepiece->processor();
  const auto unused10 = impl.special_by_text.find(std::string(kTurnClose));
  const int32_t eos =
      unused10 != impl.special_by_text.end() ? unused10->second : processor.eos_id();
  impl.unk = named_id(impl, "unk_token", processor.unk_id(), name);
  impl.bos = named_id(impl, "bos_token", processor.bos_id(), name);
  impl.eos = named_id(impl, "eos_token", eos, name);
  impl.pad = named_id(impl, "pad_token", processor.pad_id(), name);
  impl.add_bos = flag_of(impl.config, "add_bos_token", true) && impl.bos >= 0;
  impl.add_eos = flag_of(impl.config, "add_eos_token", false) && impl.eos >= 0;
}

}  // namespace

Tokenizer Tokenizer::parse(std::string model, std::string_view config, const std::string& name) {
  UM_CHECK(model.size() <= kMaxModelBytes, "{}: model of {} bytes, the limit is {}", name,
           model.size(), kMaxModelBytes);
  auto impl = std::make_shared<Impl>();
  impl->model = std::move(model);
  const std::string config_name = name + " (tokenizer_config.json)";
  impl->config = config.empty() ? Json::object() : parse_json(config, config_name);
  UM_CHECK(impl->config.is_object(), "{}: not a JSON object", config_name);
  read_pieces(*impl, name);
  std::vector<std::string> warnings = read_specials(*impl, config, config_name);
  index_specials(*impl, config_name + ": added_tokens_decoder");
  read_roles(*impl, config_name);
  const bool bytes =
      std::all_of(impl->byte_ids.begin(), impl->byte_ids.end(), [](int32_t id) { return id >= 0; });
  measure_tokens(*impl, !bytes || impl->strips_spaces || impl->sentencepiece->rewrites());
  if (config.empty()) impl->config = make_config(*impl);
  add_field_warnings(impl->config, config_name, warnings);
  return Tokenizer(std::move(impl)).with_warnings(std::move(warnings));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return load_layout(path);
  if (path.extension() == ".gguf")
    return make_tokenizer(read_vocabulary(Gguf(path)), path.string());
  std::string bytes = read_file(path, kMaxModelBytes);
  const bool json = path.extension() == ".json";
  return json ? from_json(std::move(bytes), "", path.string())
              : parse(std::move(bytes), "", path.string());
}

void Tokenizer::save(const std::filesystem::path& directory) const {
  const std::array<const char*, 2> names = {"tokenizer.model", "tokenizer.json"};
  write_file_atomic(directory / names[impl_->json], impl_->model);
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
  remove_output_file(directory / names[!impl_->json]);  // of another one: it could be read first
}

}  // namespace um
