// See model_texts.h.
#include "models/model_texts.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/config.h"
#include "models/config_fields.h"
#include "models/gguf_model.h"
#include "text/chat_template.h"
#include "text/probe_work.h"
#include "text/tokenizer_hash.h"
#include "text/tokenizer_impl.h"
#include "text/turn_end.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGenerationConfig = "generation_config.json";

/// What generation_config.json and GGUF call the settings of sampling that both know.
struct SamplingKey {
  const char *name, *gguf;
};
constexpr SamplingKey kSamplingKeys[] = {{"temperature", "general.sampling.temp"},
                                         {"top_k", "general.sampling.top_k"},
                                         {"top_p", "general.sampling.top_p"},
                                         {"min_p", "general.sampling.min_p"},
                                         {"repetition_penalty", "general.sampling.penalty_repeat"}};

template <class Id>
void add_id(std::vector<Id>& ids, int64_t id, int64_t vocab) {
  if (id >= 0 && id < vocab && std::find(ids.begin(), ids.end(), id) == ids.end())
    ids.push_back(static_cast<Id>(id));
}

/// Whether a model is there, and not just a corpus with its tokenizer.
bool has_config(const fs::path& path) {
  return !path.empty() && (is_gguf(path) || path_exists(path / "config.json"));
}

/// Adds ends to an `eos_token_id`, which keeps its form where it has them all.
void add_ends(Json& json, const std::string& where, const std::vector<int64_t>& more,
              int64_t vocab) {
  std::vector<int64_t> eos = fields::read_eos(JsonObject(json, where), vocab);
  const size_t stated = eos.size();
  for (const int64_t id : more) add_id(eos, id, vocab);
  if (eos.size() > stated) json["eos_token_id"] = eos.size() == 1 ? Json(eos[0]) : Json(eos);
}

int64_t vocab_of(const Json& config) {
  return JsonObject(config, "config.json").integer("vocab_size", 1);
}

/// What a SentencePiece model calls its end, whatever the files beside it say; or -1.
int32_t own_end(const Tokenizer& tokenizer) {
  const Tokenizer::Impl& impl = tokenizer.impl();
  return impl.json ? -1 : impl.sentencepiece->processor().eos_id();
}

}  // namespace

Ends find_ends(const ModelConfig& config, const Tokenizer& tokenizer, const fs::path& path,
               const ChatTemplate* chat) {
  Ends ends;
  add_id(ends.text, tokenizer.eos_id(), config.vocab);
  const size_t tokenizers = ends.text.size();
  for (const int64_t id : config.eos) add_id(ends.text, id, config.vocab);
  if (const fs::path file = path / kGenerationConfig; !path.empty() && path_exists(file)) {
    const Json json = read_json_file(file);
    for (const int64_t id : fields::read_eos(JsonObject(json, file.string()), config.vocab))
      add_id(ends.text, id, config.vocab);
  }
  if (!path.empty())
    for (const std::string& stop : find_stops(path))
      add_id(ends.text, special_id(tokenizer, stop), config.vocab);
  const int32_t own = own_end(tokenizer);
  if (own >= 0 && own < config.vocab && std::ranges::find(ends.text, own) == ends.text.end()) {
    ends.own = own;
    ends.text.insert(ends.text.begin() + static_cast<std::ptrdiff_t>(tokenizers), own);
  }
  ends.turn = ends.text;
  const ProbeWork work;
  if (chat != nullptr)
    for (const int32_t id : turn_ends(*chat, tokenizer)) add_id(ends.turn, id, config.vocab);
  return ends;
}

std::vector<std::string> find_stops(const fs::path& path) {
  const fs::path file = path / kGenerationConfig;
  std::vector<std::string> stops;
  if (is_gguf(path)) {
    const GgufModel model(path);
    for (const std::string_view stop : model.file().strings(kStopsKey)) stops.emplace_back(stop);
  } else if (path_exists(file)) {
    const Json json = read_json_file(file);
    const JsonObject object(json, file.string());
    const Json* found = object.find("stop_strings");
    if (found != nullptr && found->is_string())
      stops.push_back(found->get<std::string>());
    else if (found != nullptr && !found->is_array())
      object.wrong("stop_strings", "a string or a list of strings");
    else if (found != nullptr)
      stops = object.strings("stop_strings");
  }
  for (const std::string& stop : stops)
    UM_CHECK(!stop.empty(), "{}: stop_strings: a text in it is empty", path.string());
  return stops;
}

std::string trained_for(const fs::path& path) {
  if (!has_config(path)) return "";
  const auto [text, where] = find_config(path.string());
  const Json config = parse_json(text, where);
  const Json found = config.is_object() ? config.value("trained_for", Json()) : Json();
  return found.is_string() ? found.get<std::string>() : "";
}

std::string trained_for_next(const fs::path& path) {
  const std::string before = trained_for(path);
  return !has_config(path) || before == "nothing" ? "text" : before;
}

bool is_base_model(const fs::path& path) {
  const std::string found = trained_for(path);
  if (found == "text") return true;
  return found != "chat" && find_chat_sources(path).main.empty();
}

void write_trained_for(const fs::path& directory, const std::string& what) {
  if (what.empty()) return;
  Json config = read_json_file(directory / "config.json");
  config["trained_for"] = what;
  write_file_atomic(directory / "config.json", config.dump(2) + "\n");
}

void clear_token_ids(ModelConfig& config) {
  config.bos = config.pad = -1;
  config.eos.clear();
}

void add_token_ids(Json& config, const Tokenizer& tokenizer) {
  const int64_t vocab = vocab_of(config);
  const auto add = [&](const char* key, int32_t id) {
    if (id >= 0 && id < vocab && config.value(key, Json()).is_null()) config[key] = id;
  };
  add("bos_token_id", tokenizer.bos_id());
  add("pad_token_id", tokenizer.pad_id());
  add("unk_token_id", tokenizer.unk_id());
  add_ends(config, "config.json", {tokenizer.eos_id()}, vocab);
}

Json generation_config_of(const fs::path& path) {
  if (!is_gguf(path)) {
    const fs::path file = path / kGenerationConfig;
    return path_exists(file) ? read_json_file(file) : Json::object();
  }
  Json config = Json::object();
  const Gguf file(path);
  for (const auto& [name, key] : kSamplingKeys)
    if (const auto value = file.number(key))
      config[name] = Json::parse(fmt::format("{}", static_cast<float>(*value)));  // 0.8, no more
  if (!config.empty()) config["do_sample"] = true;
  return config;
}

std::vector<GgufEntry> sampling_entries(const fs::path& path) {
  const Json config = generation_config_of(path);
  const JsonObject object(config, (path / kGenerationConfig).string());
  std::vector<GgufEntry> entries;
  if (!object.boolean_or("do_sample", false)) return entries;
  for (const auto& [name, key] : kSamplingKeys) {
    if (!object.has(name)) continue;
    constexpr double kMost = std::numeric_limits<int32_t>::max();
    const double value = object.number_or(name, 0, 0, kMost);
    if (name == std::string_view("top_k"))
      entries.push_back({key, static_cast<int32_t>(value)});
    else
      entries.push_back({key, static_cast<float>(value)});
  }
  return entries;
}

void write_generation_config(const fs::path& directory, const Json& config,
                             const std::vector<std::string>& stops) {
  const fs::path file = directory / kGenerationConfig;
  const int64_t vocab = vocab_of(config);
  Json json = path_exists(file) ? read_json_file(file) : Json::object();
  UM_CHECK(json.is_object(), "{}: expected an object, found {}", file.string(), describe(json));
  for (const char* key : {"bos_token_id", "pad_token_id", "unk_token_id"})
    if (const Json id = config.value(key, Json()); !id.is_null() && !json.contains(key))
      json[key] = id;
  add_ends(json, file.string(), fields::read_eos(JsonObject(config, "config.json"), vocab), vocab);
  if (!stops.empty()) json["stop_strings"] = stops;
  write_file_atomic(file, json.dump(2) + "\n");
}

void require_tokenizer_of(const fs::path& model, const std::string& hash, const std::string& data,
                          std::string_view remedy) {
  if (has_tokenizer(model))
    require_same_tokenizer(hash, data, Tokenizer::load(model).hash(), model.string(), remedy);
}

void copy_model_texts(const fs::path& from, const fs::path& to) {
  if (is_gguf(from)) {
    if (has_tokenizer(from)) Tokenizer::load(from).save(to);
    if (const Json config = generation_config_of(from); !config.empty())
      write_file_atomic(to / kGenerationConfig, config.dump(2) + "\n");
    return;
  }
  if (const auto files = named_template_files(from); !files.empty()) {
    make_directories(to / files[0].parent_path().filename());
    for (const fs::path& file : files)
      copy_whole_file(file, to / file.parent_path().filename() / file.filename());
  }
  for (const char* name :
       {"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", kGenerationConfig, "chat_template.jinja",
        "chat_template.json"})
    if (path_exists(from / name)) copy_whole_file(from / name, to / name);
}

}  // namespace um
