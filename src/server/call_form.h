// CallForm: how a model writes tool calls. One description serves every side: it is recognised in
// what the chat template makes of a call (call_probe.h), read out of answers (call_reader.h), told
// to models whose template knows no tools, and what required calls are held to (call_rules.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"
#include "text/tokenizer.h"

namespace um {

/// A mark that is a token of its own stands in texts as two bytes that no text has, so that it is
/// not taken for the same characters spelled out.
inline constexpr char kMarkByte = '\xff';
/// In `begin` and `middle`: an id of the call, which means nothing to us.
inline constexpr char kAnyId = '\x02';
/// In `value_close`: the argument's key once more.
inline constexpr char kSameKey = '\x03';

struct CallForm {
  enum class Kind {
    kNone,     ///< calls cannot be read
    kObject,   ///< {"name": …, "arguments": {…}}
    kKeyed,    ///< {"NAME": {…}}
    kNamed,    ///< begin NAME middle {…} end
    kTagged,   ///< begin NAME middle, then key and value of each argument between marks, end
    kLiteral,  ///< begin NAME middle KEY key_close LITERAL value_close … end, as in Python
  };
  std::string name = {};  ///< of the form, as docs/templates.md has it
  Kind kind = Kind::kNone;
  std::string open = {}, close = {};  ///< around the calls; empty: nothing
  std::string other_open = {};        ///< what may stand in place of `open`
  bool many = false;  ///< several calls stand between one pair; else each has a pair of its own
  std::string between = {};  ///< between two calls, or two pairs
  bool list = false;         ///< kObject, kKeyed, kLiteral: the calls stand in [ ]
  std::string name_key = "name", arguments_key = "arguments", id_key = {};  ///< kObject
  std::string begin = {}, middle = {}, end = {};
  /// kTagged: key_open KEY key_close VALUE value_close. Texts are written as they are, other values
  /// as JSON.
  std::string key_open = {}, key_close = {}, value_close = {};
  std::string text_key_close = {};  ///< in place of key_close before texts, where these differ
  bool cdata = false;               ///< a text may stand in <![CDATA[ ]]>
  std::string item = {};   ///< kTagged: values in values stand between marks, too; of list elements
  std::string quote = {};  ///< kLiteral: around texts as they are, in place of quotes
  bool sorted = false;     ///< kLiteral: arguments are in the order of Jinja's dictsort
  /// The marks that are tokens, once for_tokenizer() has found them: mark i is mark_text(i).
  struct Mark {
    int32_t id;
    std::string text;
  };
  std::vector<Mark> marks = {};

  bool readable() const { return kind != Kind::kNone; }
  /// The calls begin with no mark: they are the whole answer.
  bool bare() const { return open.empty() && begin.empty(); }
  /// kTagged: what stands behind this argument's value.
  std::string close_of(const std::string& key) const;
  /// What calls begin with.
  std::string_view opener() const;
  /// The token that is all of `text` but white space; -1 if there is none.
  int32_t token_of(std::string_view text) const;
  /// Texts with marks, as a client reads them.
  std::string plain(std::string_view text) const;
};

/// Mark i in the texts of a form (as form_mark() of engine/grammar/schema.h).
std::string mark_text(size_t index);

/// All forms that we know, the more special ones first.
std::span<const CallForm> call_forms();
/// The form of that name. Throws Error if there is none.
const CallForm& call_form_named(std::string_view name);

/// The form with its marks as tokens, where this tokenizer has them.
CallForm for_tokenizer(CallForm form, const Tokenizer& tokenizer);
/// The same with all marks as text; it still knows which are tokens.
CallForm spelled_out(CallForm form);

struct Call {
  std::string name;
  OrderedJson arguments;  ///< an object, or a text that is none
};

/// `calls` as the model writes them. `id`: of each call, where the form has one.
std::string write_calls(const CallForm& form, std::span<const Call> calls,
                        std::string_view id = "0");

/// A call with "…" for what it says, for models that have to be told the form.
std::string call_example(const CallForm& form);

/// JSON as json.dumps of Python spaces it.
std::string json_text(const OrderedJson& value);
/// Without spaces, tabs and line ends at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace um
