// See chat_tokens.h.
#include "post/chat_tokens.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "server/prompt.h"
#include "server/request.h"

namespace um {
namespace {

/// Of messages whose place is told by their marks.
constexpr size_t kMarks = 250;

constexpr const char* kThinkingKeys[] = {"reasoning_content", "thinking", "reasoning"};

/// The request that stood before the answer `message`, or with it.
ChatRequest cut(ChatRequest request, size_t messages, bool ask) {
  request.messages.resize(messages);
  OrderedJson& list = request.input.messages;
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(messages), list.end());
  request.add_generation_prompt = request.input.add_generation_prompt = ask;
  return request;
}

std::string thinking_of(const ChatRequest& request, size_t message) {
  for (const char* key : kThinkingKeys) {
    const OrderedJson& json = request.input.messages[message];
    if (json.contains(key) && json[key].is_string()) return json[key].get<std::string>();
  }
  return {};
}

/// Bytes that two prompts begin with, each of the same origin.
size_t common_front(const MarkedText& a, const MarkedText& b) {
  const size_t limit = std::min(a.size(), b.size());
  size_t n = 0;
  while (n < limit && a.bytes[n] == b.bytes[n] && a.outside[n] == b.outside[n]) ++n;
  while (n > 0 && n < limit && (b.bytes[n] & 0xc0) == 0x80) --n;  // not inside a character
  return n;
}

/// Whether `text` has bytes of a message that `before` has bytes of, too.
bool repeats_messages(const MarkedText& text, const MarkedText& before) {
  std::array<bool, 256> seen{};
  for (const char mark : before.outside) seen[static_cast<uint8_t>(mark)] = true;
  return std::ranges::any_of(text.outside, [&](char mark) {
    return static_cast<uint8_t>(mark) > 1 && seen[static_cast<uint8_t>(mark)];
  });
}

template <class T>
size_t common_front(const std::vector<T>& a, const std::vector<T>& b) {
  const auto [in_a, in_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(in_a - a.begin());
}

std::string stripped(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

}  // namespace

int64_t ChatSample::learnt_tokens() const {
  return std::ranges::count(learnt, 1);
}

ChatTokens::ChatTokens(Tokenizer tokenizer, ChatTemplate form, Ends ends)
    : tokenizer_(std::move(tokenizer)),
      form_(std::move(form)),
      ends_(std::move(ends)),
      marks_(ChatMarks::of(tokenizer_, form_)) {}

/// Whether the template leaves out the thinking of an answer that is the last.
bool ChatTokens::loses_thinking(ChatRequest whole, size_t message) const {
  const std::string probe = "umthoughtq";  // what it thinks may well be in what it says, too
  for (const char* key : kThinkingKeys)
    if (whole.input.messages[message].contains(key)) whole.input.messages[message][key] = probe;
  return marked_prompt(form_, cut(std::move(whole), message + 1, false)).bytes.find(probe) ==
         std::string::npos;
}

/// The prompt with the answer behind it, as the model would write it.
MarkedText ChatTokens::answered(const ChatRequest& whole, size_t message,
                                const MarkedText& prompt) const {
  const MarkedText full = marked_prompt(form_, cut(whole, message + 1, false));
  const size_t same = common_front(prompt, full);
  const MarkedText rest = full.substr(same);
  UM_CHECK(whole.messages.size() > kMarks || !repeats_messages(rest, prompt.substr(0, same)),
           "messages[{}]: the template writes the conversation before it otherwise once it is "
           "answered",
           message);
  MarkedText text = prompt;
  const bool opened =
      marks_.may_think() && stripped(prompt.bytes).ends_with(stripped(marks_.think_open_text));
  const std::string thought = stripped(thinking_of(whole, message));
  const bool lost = !thought.empty() && loses_thinking(whole, message);
  const std::string line = marks_.trim ? "\n" : "";
  if (lost && marks_.may_think()) {
    if (!opened) text.append(marks_.think_open_text + line);
    text.append(thought, message_mark(message));
    text.append(line + marks_.think_close_text + line + line);
  } else if (opened && same < prompt.size()) {
    text.append(line + marks_.think_close_text + line + line);
  }
  text.append(rest);
  return text;
}

ChatTokens::Turn ChatTokens::turn(const ChatRequest& whole, size_t message) const {
  const ChatRequest before = cut(whole, message, true);
  Turn out;
  std::vector<int32_t> prompt;
  if (form_.is_pangu()) {
    prompt = chat_prompt(tokenizer_, before);
    ChatRequest with = cut(whole, message + 1, false);
    with.messages[message].thinking = thinking_of(whole, message);
    out.tokens = chat_prompt(tokenizer_, with);
    out.said = out.tokens.empty() ? 0 : out.tokens.size() - 1;
  } else {
    const MarkedText text = marked_prompt(form_, before);
    prompt = ChatTemplate::encode(tokenizer_, text);
    const MarkedText all = answered(whole, message, text);
    out.tokens = ChatTemplate::encode(tokenizer_, all);
    const size_t last = all.outside.find_last_not_of('\0');
    const size_t bytes = last == std::string::npos ? 0 : last + 1;
    out.said = common_front(ChatTemplate::encode(tokenizer_, all.substr(0, bytes)), out.tokens);
  }
  // Where a token holds the prompt's end and the answer's beginning, it is the answer's.
  out.prompt = common_front(prompt, out.tokens);
  return out;
}

/// The number of tokens up to the one that ends the answer, the first behind what it says; 0 where
/// none does.
size_t ChatTokens::end_of_turn(const Turn& turn) const {
  for (size_t i = std::max(turn.prompt, turn.said); i < turn.tokens.size(); ++i)
    if (std::ranges::find(ends_.turn, turn.tokens[i]) != ends_.turn.end()) return i + 1;
  return 0;
}

std::vector<ChatSample> ChatTokens::chat_samples(ChatRecord record) const {
  UM_CHECK(form_.fault().empty(), "{}", form_.fault());
  if (form_.can_think()) split_thinking(record);
  const ChatRequest whole = parse_chat_request(Body(record.body.dump()), {});
  std::vector<ChatSample> samples;
  for (size_t i = 0; i < record.learnt.size(); ++i) {
    if (!record.learnt[i]) continue;
    UM_CHECK(i > 0, "messages[0] is the assistant's: nothing asks for it");
    Turn answer = turn(whole, i);
    size_t end = end_of_turn(answer);
    if (end == 0) {
      // A template that ends turns in plain text: the last one ends as texts do.
      if (i + 1 == record.learnt.size() && !ends_.text.empty())
        answer.tokens.push_back(ends_.text[0]);
      end = answer.tokens.size();
    }
    UM_CHECK(end > answer.prompt, "messages[{}]: the template writes nothing of it", i);
    answer.tokens.resize(end);  // what stands behind the end of a turn is not the answer's
    const bool goes_on =
        !samples.empty() &&
        common_front(samples.back().tokens, answer.tokens) == samples.back().tokens.size() &&
        samples.back().tokens.size() <= answer.prompt;
    if (!goes_on) samples.emplace_back();
    ChatSample& sample = samples.back();
    sample.tokens = std::move(answer.tokens);
    sample.learnt.resize(sample.tokens.size(), 0);
    std::fill(sample.learnt.begin() + static_cast<std::ptrdiff_t>(answer.prompt),
              sample.learnt.begin() + static_cast<std::ptrdiff_t>(end), 1);
  }
  UM_CHECK(!samples.empty(), "no message of the assistant that is to be learnt");
  return samples;
}

ChatSample ChatTokens::plain_sample(const PlainRecord& record) const {
  UM_CHECK(!record.completion.empty(), "an empty text");
  ChatSample sample;
  const auto encode = [&](const std::string& text) {
    std::vector<int32_t> ids = tokenizer_.front();
    const std::vector<int32_t> rest = tokenizer_.encode(text);
    ids.insert(ids.end(), rest.begin(), rest.end());
    return ids;
  };
  sample.tokens = encode(record.prompt + record.completion);
  const size_t prompt = common_front(encode(record.prompt), sample.tokens);
  if (!ends_.text.empty()) sample.tokens.push_back(ends_.text[0]);
  sample.learnt.assign(sample.tokens.size(), 0);
  std::fill(sample.learnt.begin() + static_cast<std::ptrdiff_t>(prompt), sample.learnt.end(), 1);
  return sample;
}

std::vector<ChatSample> ChatTokens::samples(const Record& record) const {
  if (const auto* plain = std::get_if<PlainRecord>(&record)) return {plain_sample(*plain)};
  return chat_samples(std::get<ChatRecord>(record));
}

std::vector<int32_t> ChatTokens::ask(const std::string& question) const {
  const OrderedJson body = {
      {"messages", OrderedJson::array({{{"role", "user"}, {"content", question}}})}};
  return chat_prompt(form_, tokenizer_, parse_chat_request(Body(body.dump()), {}));
}

}  // namespace um
