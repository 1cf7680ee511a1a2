// From a conversation to the tokens that a model learns from, and which of them are its own: the
// loss mask.
//
// The mask is known by provenance, never by looking for marks in the text. An answer is learnt in
// the context in which the server would ask for it: the prompt is what the template makes of the
// messages before it, ready for an answer; what it makes of the same messages with the answer is
// the rest, and the model writes that from the prompt's end to the end of its turn. Where a
// template rewrites what came before (drops the thinking of earlier answers), the answers of a
// conversation become samples of their own; where it does not, they share one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/model_texts.h"
#include "post/chat_records.h"
#include "server/chat_marks.h"
#include "server/request.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {

/// One sequence to learn from.
struct ChatSample {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> learnt;  ///< per token: 1 where the model is to predict it

  int64_t learnt_tokens() const;
};

class ChatTokens {
 public:
  /// `ends`: find_ends() of the model with this template.
  ChatTokens(Tokenizer tokenizer, ChatTemplate form, Ends ends);

  /// The samples of a record. Throws Error where the record is no conversation that the template
  /// takes, has no answer to learn, or the template writes an answer otherwise than it asks for it.
  std::vector<ChatSample> samples(const Record& record) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const ChatTemplate& form() const { return form_; }
  const Ends& ends() const { return ends_; }
  /// The prompt of a question, ready for an answer.
  std::vector<int32_t> ask(const std::string& question) const;

 private:
  /// A prompt, and behind it the answer with all that the template writes of it.
  struct Turn {
    std::vector<int32_t> tokens;
    size_t prompt = 0;  ///< tokens of the prompt
    size_t said = 0;    ///< tokens up to the last one of what the answer says
  };
  std::vector<ChatSample> chat_samples(ChatRecord record) const;
  ChatSample plain_sample(const PlainRecord& record) const;
  Turn turn(const ChatRequest& whole, size_t message) const;
  bool loses_thinking(ChatRequest whole, size_t message) const;
  MarkedText answered(const ChatRequest& whole, size_t message, const MarkedText& prompt) const;
  size_t end_of_turn(const Turn& turn) const;

  Tokenizer tokenizer_;
  ChatTemplate form_;
  Ends ends_;
  ChatMarks marks_;
};

}  // namespace um
