// See sentencepiece_check.h. ModelProto: sentencepiece_model.proto. The table of rewritings
// (precompiled_charsmap) is the size of a trie, the trie, and texts that end with a zero byte. The
// trie is a double array (Darts-clone): a unit of 32 bits per node.
#include "text/sentencepiece_check.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "text/proto_reader.h"

namespace um {
namespace {

// Fields of ModelProto, and of its parts.
constexpr uint32_t kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5;
constexpr uint32_t kText = 1;       // of SentencePiece
constexpr uint32_t kModelType = 3;  // of TrainerSpec
constexpr uint32_t kUnigram = 1;    // its value, and what it is where it is missing
constexpr uint32_t kCharsmap = 2;   // of NormalizerSpec

template <class Take>
void each_field(std::string_view bytes, const std::string& name, Take take) {
  ProtoReader fields(bytes, name);
  for (ProtoField field; fields.next(field);) take(field);
}

void check_piece(std::string_view piece, size_t id, const std::string& name) {
  each_field(piece, name, [&](const ProtoField& field) {
    UM_CHECK(field.number != kText || field.bytes.find('\0') == std::string_view::npos,
             "{}: piece {} of the SentencePiece model has a zero byte", name, id);
  });
}

/// A node: its children lie at `index ^ offset ^ byte`, and a value, if it has one, at `index ^
/// offset`. A value has its highest bit set.
struct Unit {
  uint32_t bits;
  bool is_value() const { return bits >> 31 != 0; }
  bool has_value() const { return (bits >> 8 & 1) != 0; }
  uint32_t offset() const { return (bits >> 10) << ((bits >> 9 & 1) * 8); }
  uint32_t value() const { return bits & 0x7FFFFFFF; }
};

/// Wherever a walk stands in the trie, the next step stays in it, and every value begins a text.
void check_charsmap(std::string_view table, const std::string& name) {
  if (table.empty()) return;
  uint32_t size = 0;
  const auto good = [&](bool condition) {
    UM_CHECK(condition, "{}: the SentencePiece model's normaliser is damaged", name);
  };
  good(table.size() > sizeof size);
  std::memcpy(&size, table.data(), sizeof size);
  table.remove_prefix(sizeof size);
  good(size > 0 && size % sizeof(Unit) == 0 && size < table.size() && table.back() == '\0');
  std::vector<Unit> units(size / sizeof(Unit));
  std::memcpy(units.data(), table.data(), size);
  const uint64_t texts = table.size() - size;
  for (uint64_t i = 0; i < units.size(); ++i) {
    const Unit unit = units[i];
    if (i > 0 && unit.is_value()) continue;  // the root is taken for a node whatever it is
    const uint64_t base = i ^ unit.offset();
    good((base | 0xFF) < units.size());
    good(!unit.has_value() || units[base].value() < texts);
  }
}

}  // namespace

SentencePieceFacts check_sentencepiece(std::string_view model, const std::string& name) {
  SentencePieceFacts facts;
  size_t pieces = 0;
  each_field(model, name, [&](const ProtoField& field) {
    if (field.number == kPieces) check_piece(field.bytes, pieces++, name);
    if (field.number == kTrainer) {
      each_field(field.bytes, name, [&](const ProtoField& part) {
        if (part.number == kModelType) facts.unigram = part.value == kUnigram;
      });
    }
    if (field.number != kNormalizer && field.number != kDenormalizer) return;
    each_field(field.bytes, name, [&](const ProtoField& part) {
      if (part.number != kCharsmap) return;
      check_charsmap(part.bytes, name);
      if (field.number == kNormalizer) facts.rewrites = !part.bytes.empty();
    });
  });
  return facts;
}

}  // namespace um
