// Reading a tokenizer.json of Hugging Face's tokenizers (docs/tokenizers.md). Everything read here
// is hostile: kinds that are not known are errors, not guesses.
#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "text/config_tokens.h"
#include "text/decoder.h"
#include "text/post_processor.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace um {
namespace {

using Impl = Tokenizer::Impl;

constexpr uint64_t kMaxJsonBytes = 256u << 20;
constexpr int64_t kMaxId = (1 << 30) - 1;
constexpr size_t kMaxMerges = 1 << 24, kMaxAdded = 1 << 20, kMaxTokenText = 1 << 16;

/// Texts such as `<think>` or `[unused9]`: written by templates, so plain in texts of users even
/// where the file does not call them special.
bool is_mark(std::string_view text) {
  constexpr std::string_view kOpen = "<[{", kClose = ">]}";
  const size_t kind = kOpen.find(text.front());
  return text.size() > 2 && kind != std::string_view::npos && text.back() == kClose[kind];
}

AddedToken read_added(const Json& entry, const std::string& where) {
  const JsonObject fields(entry, where);
  AddedToken token;
  token.id = static_cast<int32_t>(fields.integer("id", 0, kMaxId));
  token.text = fields.string("content");
  UM_CHECK(!token.text.empty() && token.text.size() <= 1024,
           "{}: content of {} bytes, expected 1 to 1024", where, token.text.size());
  token.special = fields.boolean_or("special", false);
  token.lstrip = fields.boolean_or("lstrip", false);
  token.rstrip = fields.boolean_or("rstrip", false);
  token.single_word = fields.boolean_or("single_word", false);
  token.normalized = fields.boolean_or("normalized", !token.special);
  return token;
}

std::vector<AddedToken> read_added_tokens(const JsonObject& root) {
  std::vector<AddedToken> tokens;
  const Json* list = root.find("added_tokens");
  if (list == nullptr) return tokens;
  UM_CHECK(list->is_array() && list->size() <= kMaxAdded, "{}: added_tokens: expected a list",
           root.where());
  for (size_t i = 0; i < list->size(); ++i) {
    tokens.push_back(read_added((*list)[i], fmt::format("{}: added_tokens[{}]", root.where(), i)));
  }
  return tokens;
}

/// Special tokens are one text and one id each.
void check_apart(const std::vector<AddedToken>& tokens, const std::string& where) {
  std::map<std::string_view, int32_t> ids;
  std::set<int32_t> seen;
  for (const AddedToken& token : tokens) {
    if (!token.special && !is_mark(token.text)) continue;
    const auto [at, first] = ids.emplace(token.text, token.id);
    UM_CHECK(first || at->second == token.id, "{}: {} has two ids, {} and {}", where,
             quote(token.text), at->second, token.id);
    UM_CHECK(seen.insert(token.id).second, "{}: id {} appears twice", where, token.id);
  }
}

/// Fills `pieces` and `piece_ids` with the model's vocabulary.
void read_vocabulary(Impl& impl, const JsonObject& model) {
  const Json* vocab = model.find("vocab");
  if (vocab == nullptr || !vocab->is_object()) model.wrong("vocab", "an object");
  int64_t last = -1;
  for (const auto& [piece, id] : vocab->items()) {
    UM_CHECK(id.is_number_unsigned() && id.get<uint64_t>() <= uint64_t{kMaxId},
             "{}: vocab: id of {} is not an integer from 0 to {}", model.where(), quote(piece),
             kMaxId);
    UM_CHECK(piece.size() <= kMaxTokenText, "{}: vocab: a piece of {} bytes", model.where(),
             piece.size());
    last = std::max(last, id.get<int64_t>());
    impl.piece_ids.emplace(piece, id.get<int32_t>());
  }
  check_id_gap(std::max<int64_t>(last, 0), vocab->size(), model.where() + ": vocab");
  impl.pieces.resize(static_cast<size_t>(last + 1));
  std::vector<bool> named(impl.pieces.size());
  for (const auto& [piece, id] : vocab->items()) {  // in order
    const auto place = id.get<size_t>();
    UM_CHECK(!named[place], "{}: vocab: {} and {} have the same id {}", model.where(),
             quote(impl.pieces[place]), quote(piece), place);
    named[place] = true;
    impl.pieces[place] = piece;
  }
}

/// The two halves of a merge: `"a b"` or `["a", "b"]`.
std::pair<std::string, std::string> halves_of(const Json& merge, const std::string& where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  UM_CHECK(merge.is_string(), "{}: expected \"a b\" or [\"a\", \"b\"], found {}", where,
           describe(merge));
  const auto& text = merge.get_ref<const std::string&>();
  const size_t space = text.find(' ');
  UM_CHECK(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
           "{}: expected two pieces with one space between, found {}", where, quote(text));
  return {text.substr(0, space), text.substr(space + 1)};
}

std::vector<Bpe::Merge> read_merges(const Impl& impl, const JsonObject& model) {
  const Json* list = model.find("merges");
  if (list == nullptr || !list->is_array()) model.wrong("merges", "a list");
  UM_CHECK(list->size() <= kMaxMerges, "{}: {} merges, the limit is {}", model.where(),
           list->size(), kMaxMerges);
  std::vector<Bpe::Merge> merges;
  merges.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string where = fmt::format("{}: merges[{}]", model.where(), i);
    const auto [left, right] = halves_of((*list)[i], where);
    const auto id_of = [&](const std::string& piece) {
      const auto it = impl.piece_ids.find(piece);
      UM_CHECK(it != impl.piece_ids.end(), "{}: {} is not in the vocabulary", where, quote(piece));
      return it->second;
    };
    merges.push_back({id_of(left), id_of(right), id_of(left + right)});
  }
  return merges;
}

/// The vocabulary as Bpe sees it, without the pieces that `left_out` names.
NameMap<int32_t> read_words(const Impl& impl, bool bytes, const std::set<int32_t>& left_out) {
  NameMap<int32_t> words;
  for (const auto& [piece, id] : impl.piece_ids) {
    if (left_out.contains(id)) continue;
    if (!bytes) {
      words.emplace(piece, id);
    } else if (auto raw = byte_level_to_bytes(piece)) {
      words.emplace(std::move(*raw), id);
    }
  }
  return words;
}

/// The pieces that are special tokens, which texts of users must not become; but for a byte, which
/// has no other spelling.
std::set<int32_t> special_pieces(const Impl& impl, bool bytes) {
  std::set<int32_t> out;
  for (const SpecialToken& token : impl.specials) {
    const auto piece = impl.piece_ids.find(token.text);
    if (piece == impl.piece_ids.end() || piece->second != token.id) continue;
    const auto raw = bytes ? byte_level_to_bytes(token.text) : std::nullopt;
    if (!raw || raw->size() > 1) out.insert(token.id);
  }
  return out;
}

BpeOptions read_options(Impl& impl, const JsonObject& model, bool bytes) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    UM_CHECK(model.string_or(key, "").empty(), "{}: {} is not supported", model.where(), key);
  }
  UM_CHECK(model.number_or("dropout", 0, 0, 1) == 0, "{}: dropout is not supported", model.where());
  BpeOptions options;
  options.bytes = bytes;
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  options.unk = impl.unk;
  for (size_t byte = 0; byte < impl.byte_ids.size(); ++byte) {
    const auto found = impl.piece_ids.find(fmt::format("<0x{:02X}>", byte));
    impl.byte_ids[byte] = found == impl.piece_ids.end() ? -1 : found->second;
  }
  return options;
}

struct Models {
  Bpe user;  // makes no special token of any text
  std::optional<Bpe>
      whole;  // does where one is a piece of the model, too; none if none is in reach
};

Models read_models(Impl& impl, const JsonObject& model, bool bytes) {
  const BpeOptions options = read_options(impl, model, bytes);
  const std::set<int32_t> special = special_pieces(impl, bytes);
  const std::vector<Bpe::Merge> merges = read_merges(impl, model);
  std::vector<Bpe::Merge> plain;
  for (const Bpe::Merge& merge : merges)
    if (!special.contains(merge.result)) plain.push_back(merge);
  const bool reached =
      plain.size() < merges.size() || std::any_of(special.begin(), special.end(), [&](int32_t id) {
        const std::string& piece = impl.pieces[static_cast<size_t>(id)];
        return options.ignore_merges || last_character(piece).size() == piece.size();
      });
  Models out{Bpe(read_words(impl, bytes, special), plain, impl.byte_ids, options), std::nullopt};
  if (reached) out.whole.emplace(read_words(impl, bytes, {}), merges, impl.byte_ids, options);
  return out;
}

/// What each token is shown as. Added tokens are decoded as others are, but for ByteLevel where
/// they are no pieces of the model.
void read_surfaces(Impl& impl, const Decoder& decoder, const std::vector<AddedToken>& added) {
  std::vector<const AddedToken*> added_of(impl.pieces.size());
  for (const AddedToken& token : added) added_of[static_cast<size_t>(token.id)] = &token;
  PcreScratch scratch;
  const auto add = [](size_t sum, const std::string& piece) { return sum + piece.size(); };
  const size_t bytes = std::accumulate(impl.pieces.begin(), impl.pieces.end(), size_t{0}, add);
  TextRoom room("decoder", bytes), first_room("decoder", bytes);
  impl.shown.resize(impl.specials.size());
  if (decoder.first_differs()) impl.first_surfaces.resize(impl.pieces.size());
  for (size_t id = 0; id < impl.pieces.size(); ++id) {
    if (impl.pieces[id].empty()) continue;
    const AddedToken* token = added_of[id];
    const std::string& text = token == nullptr ? impl.pieces[id] : token->normal;
    const bool letters = token != nullptr && !impl.piece_ids.contains(token->text);
    const int32_t special = impl.special_of[id];
    (special < 0 ? impl.surfaces[id] : impl.shown[static_cast<size_t>(special)]) =
        decoder.surface(text, {.letters = letters}, scratch, room);
    if (decoder.first_differs())
      impl.first_surfaces[id] =
          decoder.surface(text, {.letters = letters, .first = true}, scratch, first_room);
  }
  impl.front_spaces = decoder.front_spaces();
}

/// What the normaliser leaves of added tokens.
void normalize_added(const Normalizer& normalizer, std::vector<AddedToken>& added) {
  PcreScratch scratch;
  const auto add = [](size_t sum, const AddedToken& token) { return sum + token.text.size(); };
  TextRoom room("normalizer", std::accumulate(added.begin(), added.end(), size_t{0}, add));
  for (AddedToken& token : added)
    token.normal = token.normalized ? normalizer.apply(token.text, scratch, room) : token.text;
}

/// Registers the added tokens, the `own` ones of tokenizer.json and those of the config; returns
/// those which count in all texts.
std::vector<AddedToken> place_added(Impl& impl, const std::vector<AddedToken>& added,
                                    const std::string& name, const std::string& config_name) {
  std::vector<AddedToken> literal;
  for (const AddedToken& token : added) {
    check_id_gap(token.id, impl.piece_ids.size() + added.size(), name + ": added_tokens");
    if (token.special || is_mark(token.text)) {
      impl.specials.push_back({token.id, token.text, token.special, token.lstrip, token.rstrip});
    } else {
      literal.push_back(token);
    }
  }
  index_specials(impl, config_name + ": added_tokens_decoder");
  for (const AddedToken& token : literal) {
    const auto id = static_cast<size_t>(token.id);
    if (id >= impl.pieces.size()) {
      impl.pieces.resize(id + 1);
      impl.special_of.resize(id + 1, -1);
    }
    impl.pieces[id] = token.text;
    impl.literal_ids.emplace(token.text, token.id);
  }
  impl.surfaces.resize(impl.pieces.size());
  return literal;
}

void read_roles(Impl& impl, TextFrame frame, const TokenizerRoles& roles, const std::string& name) {
  const auto known = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < impl.pieces.size() ? id : -1;
  };
  const std::vector<int32_t>& front = frame.front;
  impl.unk = named_id(impl, "unk_token", impl.unk, name);
  impl.bos = named_id(impl, "bos_token", front.empty() ? known(roles.bos) : front[0], name);
  impl.eos = named_id(impl, "eos_token", known(roles.eos), name);
  impl.pad = named_id(impl, "pad_token", known(roles.pad), name);
  const auto adds = [&](const char* flag, const std::vector<int32_t>& side, int32_t role) {
    return flag_of(impl.config, flag, !side.empty()) && (!side.empty() || role >= 0);
  };
  impl.add_bos = adds("add_bos_token", front, impl.bos);
  impl.add_eos = adds("add_eos_token", frame.behind, impl.eos);
  impl.frame = std::move(frame);
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string model, std::string_view config, const std::string& name,
                               const TokenizerRoles& roles) {
  UM_CHECK(model.size() <= kMaxJsonBytes, "{}: tokenizer.json of {} bytes, the limit is {}", name,
           model.size(), kMaxJsonBytes);
  const std::string where = name + " (tokenizer.json)";
  const std::string config_name = name + " (tokenizer_config.json)";
  auto impl = std::make_shared<Impl>();
  impl->json = true;
  impl->model = std::move(model);
  const Json json = parse_json(impl->model, where);
  const JsonObject root(json, where);
  const JsonObject fields = root.object("model");
  const std::string type = fields.string_or("type", "BPE");
  UM_CHECK(type == "BPE", "{}: model {}, expected BPE", where, quote(type));
  impl->config = config.empty() ? Json::object() : parse_json(config, config_name);
  UM_CHECK(impl->config.is_object(), "{}: not a JSON object", config_name);
  impl->prefix_space = false;
  read_vocabulary(*impl, fields);
  const auto part = [&](const char* key) {
    const Json* found = root.find(key);
    return found == nullptr ? Json() : *found;
  };
  std::vector<AddedToken> added = read_added_tokens(root);
  const size_t own = added.size();
  check_apart(added, where + ": added_tokens");
  std::vector<std::string> warnings =
      add_config_tokens(*impl, ordered_config(config, config_name), config_name, added);
  if (!warnings.empty())  // so that saved copies give the same ids
    impl->config["added_tokens_decoder"].update(decoder_of(std::span(added).subspan(own)));
  Normalizer normalizer(part("normalizer"), where + ": normalizer");
  normalize_added(normalizer, added);
  const std::vector<AddedToken> literal = place_added(*impl, added, where, config_name);
  if (const std::string unk = fields.string_or("unk_token", ""); !unk.empty()) {
    impl->unk = find_piece(*impl, unk);
    UM_CHECK(impl->unk >= 0, "{}: unk_token {} is not in the vocabulary", where, quote(unk));
  }
  PreTokenizer pre(part("pre_tokenizer"), where + ": pre_tokenizer");
  const bool bytes = pre.byte_level();
  read_surfaces(*impl, Decoder(part("decoder"), where + ": decoder"), added);
  Models models = read_models(*impl, fields, bytes);
  impl->pipeline =
      std::make_unique<Pipeline>(std::move(normalizer), std::move(pre), std::move(models.user),
                                 std::move(models.whole), added, literal);
  read_roles(*impl,
             read_post_processor(part("post_processor"), where + ": post_processor",
                                 std::ssize(impl->pieces)),
             roles, config_name);
  const bool strips = std::any_of(literal.begin(), literal.end(), [](const AddedToken& token) {
    return token.lstrip || token.rstrip;
  });
  measure_tokens(*impl, strips || impl->pipeline->shrinks());
  add_field_warnings(impl->config, config_name, warnings);
  return Tokenizer(std::move(impl)).with_warnings(std::move(warnings));
}

}  // namespace um
