// See vocabulary_export.h.
#include "text/vocabulary_export.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "text/pre_names.h"
#include "text/tokenizer_impl.h"

namespace um {
namespace {

/// Token types of special tokens, and of what added tokens are not special.
void set_special_types(const Tokenizer& tokenizer, Vocabulary& v) {
  for (const SpecialToken& token : tokenizer.special_tokens()) {
    const auto id = static_cast<size_t>(token.id);
    if (v.types[id] == Vocabulary::kUnknown) continue;
    v.types[id] = token.special ? Vocabulary::kControl : Vocabulary::kUserDefined;
  }
}

/// Ids between and behind the tokens, which embeddings have rows for.
void fill_gaps(Vocabulary& v, int64_t size) {
  const auto count = static_cast<size_t>(std::max<int64_t>(size, std::ssize(v.tokens)));
  v.tokens.resize(count);
  v.scores.resize(count, -1000.0F);
  v.types.resize(count, Vocabulary::kUnused);
  for (size_t id = 0; id < count; ++id) {
    if (!v.tokens[id].empty()) continue;
    v.tokens[id] = padding_name(id);
    v.types[id] = Vocabulary::kUnused;
  }
}

void read_sentencepiece(const Tokenizer::Impl& impl, Vocabulary& v) {
  v.model = "llama";
  v.pre = "default";
  v.add_space_prefix = impl.sentencepiece->prefix() != SentencePieceOptions::kNever;
  v.remove_extra_whitespaces = impl.strips_spaces;
  const auto& processor = impl.sentencepiece->processor();
  Json carried = Json::object();
  for (const char* key : kCarriedFields)
    if (impl.config.contains(key)) carried[key] = impl.config[key];
  if (!carried.empty()) v.config = to_text(carried);
  v.tokens = impl.pieces;
  v.scores.assign(v.tokens.size(), 0);
  v.types.assign(v.tokens.size(), Vocabulary::kNormal);
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    const auto at = static_cast<size_t>(id);
    v.scores[at] = processor.GetScore(id);
    v.types[at] = processor.IsUnknown(id)   ? Vocabulary::kUnknown
                  : processor.IsControl(id) ? Vocabulary::kControl
                  : processor.IsUnused(id)  ? Vocabulary::kUnused
                  : processor.IsByte(id)    ? Vocabulary::kByte
                                            : Vocabulary::kNormal;
  }
}

/// The published name of a tokenizer.json's normalizer, pre-tokenizer and way with whole words.
std::string published_name(const Json& root, bool ignore_merges) {
  for (const char* name :
       {"gpt-2", "llama-bpe", "qwen2", "qwen35", "smollm", "deepseek-v3", "deepseek-llm",
        "deepseek-coder", "gpt-4o", "tekken", "glm4", "stablelm2", "seed-coder", "bailingmoe",
        "exaone-moe", "kimi-k2", "starcoder"}) {
    const PreTokenizerParts parts = *pre_tokenizer_parts(name);
    if (root.value("pre_tokenizer", Json()) == parts.pre_tokenizer &&
        root.value("normalizer", Json()) == parts.normalizer &&
        ignore_merges == parts.ignore_merges)
      return name;
  }
  return "default";
}

void read_json(const Tokenizer::Impl& impl, Vocabulary& v) {
  const Json root = parse_json(impl.model, "tokenizer.json");
  const JsonObject model = JsonObject(root, "tokenizer.json").object("model");
  UM_CHECK(model.string_or("type", "BPE") == "BPE",
           "tokenizer.json: model of type {}, expected BPE", model.string_or("type", ""));
  v.model = "gpt2";
  v.pre = published_name(root, model.boolean_or("ignore_merges", false));
  v.json = impl.model;
  v.tokens = impl.pieces;
  v.types.assign(v.tokens.size(), Vocabulary::kNormal);
  const Json* merges = model.find("merges");
  if (merges == nullptr) return;
  for (const Json& merge : *merges)  // "a b", or in newer files ["a", "b"]
    v.merges.push_back(merge.is_string()
                           ? merge.get<std::string>()
                           : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
}

/// A template's name as part of a key: ASCII letters, digits and underscores.
std::string key_part(std::string name) {
  constexpr std::string_view kKept =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  for (char& c : name)
    if (kKept.find(c) == std::string_view::npos) c = '_';
  return name;
}

}  // namespace

Vocabulary vocabulary_of(const Tokenizer& tokenizer, int64_t size) {
  const Tokenizer::Impl& impl = tokenizer.impl();
  Vocabulary v;
  if (impl.json)
    read_json(impl, v);
  else
    read_sentencepiece(impl, v);
  set_special_types(tokenizer, v);
  fill_gaps(v, size);
  v.bos = tokenizer.bos_id();
  v.eos = tokenizer.eos_id();
  v.unk = tokenizer.unk_id();
  v.pad = tokenizer.pad_id();
  v.add_bos = tokenizer.add_bos();
  v.add_eos = tokenizer.add_eos();
  return v;
}

std::vector<GgufEntry> vocabulary_entries(const Vocabulary& v) {
  std::vector<GgufEntry> out = {{"tokenizer.ggml.model", v.model},
                                {"tokenizer.ggml.pre", v.pre},
                                {"tokenizer.ggml.tokens", v.tokens},
                                {"tokenizer.ggml.token_type", v.types}};
  if (v.model == "llama") {
    out.push_back({"tokenizer.ggml.scores", v.scores});
    out.push_back({"tokenizer.ggml.add_space_prefix", v.add_space_prefix});
    out.push_back({"tokenizer.ggml.remove_extra_whitespaces", v.remove_extra_whitespaces});
    if (!v.config.empty()) out.push_back({"tokenizer.ultramoe.config", v.config});
  } else {
    out.push_back({"tokenizer.ggml.merges", v.merges});
    out.push_back({"tokenizer.huggingface.json", v.json});
  }
  const auto role = [&](const char* key, int32_t id) {
    if (id >= 0) out.push_back({key, static_cast<uint32_t>(id)});
  };
  role("tokenizer.ggml.bos_token_id", v.bos);
  role("tokenizer.ggml.eos_token_id", v.eos);
  role("tokenizer.ggml.eot_token_id", v.eot);
  role("tokenizer.ggml.eom_token_id", v.eom);
  role("tokenizer.ggml.unknown_token_id", v.unk);
  role("tokenizer.ggml.padding_token_id", v.pad);
  out.push_back({"tokenizer.ggml.add_bos_token", v.add_bos.value_or(false)});
  out.push_back({"tokenizer.ggml.add_eos_token", v.add_eos.value_or(false)});
  if (!v.chat_template.empty()) out.push_back({kTemplateKey, v.chat_template});
  std::vector<std::string> names;
  for (const auto& [name, source] : v.named_templates) {
    names.push_back(key_part(name));
    out.push_back({fmt::format("{}.{}", kTemplateKey, names.back()), source});
  }
  if (!names.empty()) out.push_back({kTemplateNamesKey, std::move(names)});
  return out;
}

}  // namespace um
