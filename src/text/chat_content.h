// In which form a chat template reads the contents of messages: a text, or a list of parts. Found
// by rendering short conversations; contents are then given in a form that the template reads.
#pragma once

#include <map>
#include <string>

#include "text/chat_thinking.h"
#include "text/jinja_value.h"

namespace um {

/// The text of a content: of parts, with line ends between; empty for null.
std::string content_text(const OrderedJson& content);

/// Arguments of a call that are no object, for what reads nothing else.
OrderedJson arguments_object(const OrderedJson& text);

class ContentForms {
 public:
  /// Every role's content is read as text.
  ContentForms() = default;
  static ContentForms find(const ChatProbe& probe);

  /// `messages` with contents as the template reads them.
  OrderedJson fit(OrderedJson messages) const;

 private:
  struct Form {
    bool text = true, parts = false;
    bool first_part = false;  ///< of parts only the first is read
  };
  Form form_of(const std::string& role) const;

  std::map<std::string, Form> forms_;
};

}  // namespace um
