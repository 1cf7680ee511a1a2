// See tokenizer_hash.h. Tokenizer::hash is over what decides the ids: pieces, scores, kinds of
// tokens and the normaliser, of a tokenizer.json also the merges, the pre-tokenizer and added
// tokens. The bytes of the files do not count: a SentencePiece model notes how many threads trained
// it, a tokenizer.json may be indented, a GGUF vocabulary names its padding. Nor does it count
// which token begins or ends a text.
#include "text/tokenizer_hash.h"

#include <zlib.h>

#include <algorithm>

#include "core/error.h"
#include "core/gguf.h"
#include "core/json.h"
#include "core/paths.h"
#include "text/proto_reader.h"
#include "text/tokenizer_impl.h"
#include "text/vocabulary.h"

namespace um {
namespace {

using Impl = Tokenizer::Impl;

class Checksum {
 public:
  void add(std::string_view bytes) {
    if (bytes.empty()) return;  // a null pointer would begin anew
    crc_ = crc32_z(crc_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  /// A text with its length, so that texts next to each other cannot be mistaken.
  void add_text(std::string_view text) {
    add(fmt::format("{}:", text.size()));
    add(text);
  }
  std::string digits() const { return fmt::format("{:08x}", crc_); }

 private:
  uLong crc_ = crc32_z(0, nullptr, 0);
};

/// One id: 's' special, 'b' a byte, 'n' any other; "" for an id without a token.
std::string_view kind_of(const Impl& impl, size_t id) {
  if (impl.pieces[id].empty()) return "";
  if (impl.special_of[id] >= 0) return "s";
  const auto number = static_cast<int>(id);
  if (impl.json) return impl.pieces[id] == padding_name(id) ? "" : "n";
  if (number >= impl.sentencepiece->processor().GetPieceSize() ||
      impl.sentencepiece->processor().IsUnused(number))
    return "";
  return impl.sentencepiece->processor().IsByte(number) ? "b" : "n";
}

void add_pieces(const Impl& impl, Checksum& sum) {
  for (size_t id = 0; id < impl.pieces.size(); ++id) {
    const std::string_view kind = kind_of(impl, id);
    if (kind.empty()) continue;
    sum.add(fmt::format("{}{}", id, kind));
    sum.add_text(impl.pieces[id]);
    if (kind == "s") {
      const SpecialToken& token = impl.specials[static_cast<size_t>(impl.special_of[id])];
      sum.add(fmt::format("{:d}{:d}", token.lstrip, token.rstrip));
    } else if (!impl.json) {
      sum.add(fmt::format("{}", impl.sentencepiece->processor().GetScore(static_cast<int>(id))));
    }
  }
}

/// How a SentencePiece model cuts (unigram or BPE) and what it does to a text before.
void add_sentencepiece(const Impl& impl, Checksum& sum) {
  constexpr uint32_t kTrainer = 2, kNormalizer = 3;  // fields of ModelProto
  constexpr uint32_t kModelType = 3;                 // field of TrainerSpec
  constexpr uint32_t kCharsmap = 2, kEscape = 5;     // fields of NormalizerSpec
  const std::string name = "tokenizer";
  uint64_t model_type = 1, escape = 1;  // their defaults
  std::string_view charsmap;
  ProtoReader fields(impl.model, name);
  for (ProtoField field; fields.next(field);) {
    if (field.number != kTrainer && field.number != kNormalizer) continue;
    ProtoReader spec(field.bytes, name);
    for (ProtoField part; spec.next(part);) {
      if (field.number == kTrainer && part.number == kModelType) model_type = part.value;
      if (field.number == kNormalizer && part.number == kCharsmap) charsmap = part.bytes;
      if (field.number == kNormalizer && part.number == kEscape) escape = part.value;
    }
  }
  sum.add(fmt::format("sentencepiece {} {} {} {:d}{:d} ", model_type, escape,
                      static_cast<int>(impl.sentencepiece->prefix()),
                      impl.sentencepiece->rewrites(), impl.strips_spaces));
  if (impl.sentencepiece->rewrites()) sum.add_text(charsmap);
}

/// The normaliser, how words are cut, the merges, and added tokens that count in any text.
void add_json(const Impl& impl, Checksum& sum) {
  const Json root = parse_json(impl.model, "tokenizer.json");
  for (const char* key : {"normalizer", "pre_tokenizer"})
    sum.add_text(root.value(key, Json()).dump());
  const JsonObject model = JsonObject(root, "tokenizer.json").object("model");
  sum.add(fmt::format("{:d}{:d}{:d} {} ", model.boolean_or("byte_fallback", false),
                      model.boolean_or("ignore_merges", false), model.boolean_or("fuse_unk", false),
                      impl.unk));
  for (const Json& merge : *model.find("merges")) {
    if (merge.is_string())
      sum.add_text(merge.get_ref<const std::string&>());
    else
      sum.add_text(merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
  }
  for (const Json& token : root.value("added_tokens", Json::array())) {
    const JsonObject added(token, "tokenizer.json");
    const int64_t id = added.integer("id");
    if (impl.special_of[static_cast<size_t>(id)] >= 0) continue;
    sum.add(fmt::format("+{} {:d}{:d}{:d}{:d}", id, added.boolean_or("lstrip", false),
                        added.boolean_or("rstrip", false), added.boolean_or("single_word", false),
                        added.boolean_or("normalized", true)));
  }
}

}  // namespace

std::string Tokenizer::hash() const {
  Checksum sum;
  add_pieces(*impl_, sum);
  if (impl_->json)
    add_json(*impl_, sum);
  else
    add_sentencepiece(*impl_, sum);
  return sum.digits();
}

bool has_tokenizer(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return path_exists(path / "tokenizer.model") || path_exists(path / "tokenizer.json") ||
           path_exists(path / "vocab.json");
  return path.extension() == ".gguf" && Gguf(path).has("tokenizer.ggml.model");
}

void require_same_tokenizer(const std::string& data_hash, const std::string& data,
                            const std::string& model_hash, const std::string& model,
                            std::string_view remedy) {
  UM_CHECK(data_hash == model_hash, "{}: made with another tokenizer ({}) than that of {} ({}); {}",
           data, data_hash, model, model_hash, remedy);
}

std::string file_hash(const Tokenizer& tokenizer) {
  const Impl& impl = tokenizer.impl();
  Checksum sum;
  sum.add(impl.model);
  for (const SpecialToken& token : impl.specials)
    sum.add(fmt::format("{}:{}:{:d}{:d};", token.id, token.text, token.lstrip, token.rstrip));
  sum.add(fmt::format("{},{}", impl.bos, impl.eos));
  return sum.digits();
}

}  // namespace um
