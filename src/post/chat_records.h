// Conversations to learn from, in the forms that people have them in (docs/fine_tuning.md): each
// record of a file becomes the body of a chat request, as clients of the server send it, and which
// of its messages are to be learnt; or a plain text with the part that is.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "text/jinja_value.h"

namespace um {

/// A conversation: `messages`, and what else of a chat request counts (`tools`,
/// `chat_template_kwargs`).
struct ChatRecord {
  OrderedJson body = OrderedJson::object();
  std::vector<bool> learnt = {};  ///< per message: an answer that the model is to give

  /// Learns no answer but the last.
  void keep_last();
};

/// A text that goes on with another; without a prompt all of it is learnt.
struct PlainRecord {
  std::string prompt = {}, completion = {};
};

using Record = std::variant<ChatRecord, PlainRecord>;

/// Reads one record: OpenAI's `messages` (with the older `functions` too), ShareGPT's
/// `conversations`, `prompt` and `completion` (texts, or lists of messages), Alpaca's
/// `instruction`, `input`, `output`, pairs of question and answer, `text`. Fields that say nothing
/// of these are passed over. Throws Error, naming the field; for an unknown form, its fields.
Record read_record(const OrderedJson& json);

/// Thinking that stands in front of the answers' contents (<think>…</think>) moves into
/// `reasoning_content`, where templates look for it.
void split_thinking(ChatRecord& record);

/// Calls `visit(json, where)` for each record of a .jsonl or .json file (an array of records, or
/// one per line), plain or compressed; `where` is "FILE:LINE" or "FILE[INDEX]". A line that is no
/// JSON goes to `bad(message)`, which begins with its place. Throws Error for what is no text.
void for_each_record(
    const std::filesystem::path& path,
    const std::function<void(const OrderedJson& json, const std::string& where)>& visit,
    const std::function<void(const std::string& message)>& bad);

}  // namespace um
