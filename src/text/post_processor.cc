// See post_processor.h.
#include "text/post_processor.h"

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr int kMaxDepth = 8;
constexpr size_t kMaxTokens = 64;  // on a side

class Reader {
 public:
  explicit Reader(int64_t vocab) : vocab_(vocab) {}

  TextFrame read(const Json& processor, const std::string& where, int depth) const {
    if (processor.is_null()) return {};
    UM_CHECK(depth < kMaxDepth, "{}: more than {} levels", where, kMaxDepth);
    const JsonObject object(processor, where);
    const std::string type = object.string("type");
    if (type == "ByteLevel") return {};
    if (type == "TemplateProcessing") return read_template(object);
    if (type == "BertProcessing" || type == "RobertaProcessing")
      return {{pair_id(object, "cls")}, {pair_id(object, "sep")}};
    UM_CHECK(type == "Sequence",
             "{}: type {}: expected TemplateProcessing, BertProcessing, "
             "RobertaProcessing, ByteLevel or Sequence",
             where, quote(type));
    return read_sequence(object, where, depth);
  }

 private:
  /// At most one of them may add tokens: what others do with a text and tokens around it depends on
  /// their template for pairs of texts.
  TextFrame read_sequence(const JsonObject& object, const std::string& where, int depth) const {
    TextFrame all;
    const auto adds = [](const TextFrame& frame) {
      return !frame.front.empty() || !frame.behind.empty();
    };
    for (const Json& part : list(object, "processors")) {
      TextFrame one = read(part, where + ": processors", depth + 1);
      if (!adds(one)) continue;
      UM_CHECK(!adds(all), "{}: processors: a second one that adds tokens is not supported", where);
      all = std::move(one);
    }
    return all;
  }

  TextFrame read_template(const JsonObject& object) const {
    const std::string where = object.where() + ": single";
    TextFrame frame;
    bool text = false;
    for (const Json& part : list(object, "single")) {
      const JsonObject element(part, where);
      if (element.find("Sequence") != nullptr) {
        UM_CHECK(!text && element.object("Sequence").string("id") == "A",
                 "{}: expected the text A once", where);
        text = true;
        continue;
      }
      const std::string name = element.object("SpecialToken").string("id");
      const JsonObject token = object.object("special_tokens").object(name);
      auto& side = text ? frame.behind : frame.front;
      for (const Json& id : list(token, "ids"))
        side.push_back(checked(id, token.where() + ": ids"));
      check_size(frame, where);
    }
    UM_CHECK(text, "{}: expected the text A once", where);
    return frame;
  }

  /// ["[CLS]", 101]
  int32_t pair_id(const JsonObject& object, const char* key) const {
    const Json& pair = list(object, key);
    UM_CHECK(pair.size() == 2, "{}: {}: expected a token and its id", object.where(), key);
    return checked(pair[1], object.where() + ": " + key);
  }

  int32_t checked(const Json& id, const std::string& where) const {
    UM_CHECK(id.is_number_integer() && id >= 0 && id < vocab_, "{}: {} is no id below {}", where,
             describe(id), vocab_);
    return id.get<int32_t>();
  }

  static const Json& list(const JsonObject& object, const char* key) {
    const Json* found = object.find(key);
    UM_CHECK(found != nullptr && found->is_array(), "{}: {}: expected a list, found {}",
             object.where(), key, found == nullptr ? "nothing" : describe(*found));
    return *found;
  }

  static void check_size(const TextFrame& frame, const std::string& where) {
    UM_CHECK(frame.front.size() <= kMaxTokens && frame.behind.size() <= kMaxTokens,
             "{}: more than {} tokens around a text", where, kMaxTokens);
  }

  int64_t vocab_;
};

}  // namespace

TextFrame read_post_processor(const Json& processor, const std::string& where, int64_t vocab) {
  return Reader(vocab).read(processor, where, 0);
}

}  // namespace um
