// Chat templates for models that ship none, by the special tokens of their tokenizers. Written here
// after what is documented of each format (docs/templates.md).
#include <array>

#include "text/chat_template.h"

namespace um {
namespace {

// <|im_start|>role\n…<|im_end|>\n; tools and calls as Hermes and Qwen write them.
const char* const kChatMl = R"jinja(
{%- set told = messages[0].content if messages and messages[0].role == 'system' else '' %}
{%- if tools or told %}
    {{- '<|im_start|>system\n' + told }}
    {%- if tools %}
        {{- ('\n\n' if told else '') + '# Tools\n\nYou can call these functions:\n<tools>' }}
        {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
        {{- '\n</tools>\n\nTo call one, answer with its name and arguments:\n<tool_call>\n' }}
        {{- '{"name": "…", "arguments": {…}}\n</tool_call>' }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- elif not (loop.first and m.role == 'system') %}
        {{- '<|im_start|>' + m.role + '\n' + (m.content or '') }}
        {%- for call in m.tool_calls or [] %}
            {{- ('' if loop.first and not m.content else '\n') + '<tool_call>\n' }}
            {{- {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}
            {{- '\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %})jinja";

// <|start_header_id|>role<|end_header_id|>\n\n…<|eot_id|>
const char* const kLlama3 = R"jinja(
{{- bos_token }}
{%- set told = messages[0].content if messages and messages[0].role == 'system' else '' %}
{%- if tools or told %}
    {{- '<|start_header_id|>system<|end_header_id|>\n\n' + told | trim }}
    {%- if tools %}
        {{- ('\n\n' if told else '') + 'You can call these functions:\n\n' }}
        {%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\n\n' }}{%- endfor %}
        {{- 'To call one, answer with {"name": function name, "parameters": ' }}
        {{- 'dictionary of argument name and its value} and nothing else.' }}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.tool_calls %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
        {%- for call in m.tool_calls %}
            {{- '; ' if not loop.first }}
            {{- {'name': call.function.name, 'parameters': call.function.arguments} | tojson }}
        {%- endfor %}
        {{- '<|eot_id|>' }}
    {%- elif not (loop.first and m.role == 'system') %}
        {{- '<|start_header_id|>' + ('ipython' if m.role == 'tool' else m.role) }}
        {{- '<|end_header_id|>\n\n' + (m.content or '') | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})jinja";

// DeepSeek V3 and R1: <｜User｜>…<｜Assistant｜>…<｜end▁of▁sentence｜>, system texts in front.
const char* const kDeepSeek = R"jinja(
{{- bos_token }}
{%- for m in messages if m.role == 'system' %}
    {{- ('' if loop.first else '\n\n') + m.content }}
{%- endfor %}
{%- if tools %}
    {{- '\n\n## Tools\n\nYou can call these functions:\n' }}
    {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\n\nTo call one, answer with:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n' }}
    {{- '```json\nARGUMENTS\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<｜User｜>' + m.content }}
    {%- elif m.role == 'assistant' %}
        {{- '<｜Assistant｜>' + (m.content or '').split('</think>')[-1] }}
        {%- for call in m.tool_calls or [] %}
            {{- '<｜tool▁calls▁begin｜>' if loop.first else '\n' }}
            {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name + '\n```json\n' }}
            {{- call.function.arguments | tojson }}
            {{- '\n```<｜tool▁call▁end｜>' }}
            {{- '<｜tool▁calls▁end｜>' if loop.last }}
        {%- endfor %}
        {{- '<｜end▁of▁sentence｜>' }}
    {%- elif m.role == 'tool' %}
        {{- '<｜tool▁outputs▁begin｜>' if loop.first or loop.previtem.role != 'tool' else '\n' }}
        {{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
        {{- '<｜tool▁outputs▁end｜>' if loop.last or loop.nextitem.role != 'tool' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {%- if messages and messages[-1].role != 'tool' %}{{- '<｜Assistant｜>' }}{%- endif %}
    {%- if thinking is defined and thinking %}{{- '<think>\n' }}{%- endif %}
{%- endif %})jinja";

// openPangu 2.0: <|message_start|>role\n…<|message_end|>, a system turn always, and the generation
// prompt opens or closes the thinking (docs/templates.md).
const char* const kPangu2 = R"jinja(
{{- bos_token }}
{%- set told = messages[0].content if messages and messages[0].role == 'system' else '' %}
{{- '<|message_start|>system\n' + told }}
{%- if tools %}
    {{- ('\n\n' if told else '') + 'You can call these functions:\n<tools>' }}
    {%- for tool in tools %}{{- '\n' }}{{- tool.function | tojson }}{%- endfor %}
    {{- '\n</tools>\nTo call some, answer with a list of the calls:' }}
    {{- '<|tool_call_start|>[{"name": "…", "arguments": {…}}]<|tool_call_end|>' }}
{%- endif %}
{{- '<|message_end|>' }}
{%- for m in messages %}
    {%- if not (loop.first and m.role == 'system') %}
        {{- '<|message_start|>' + m.role + '\n' + (m.content or '') }}
        {%- if m.tool_calls %}
            {{- '<|tool_call_start|>[' }}
            {%- for call in m.tool_calls %}
                {{- ('' if loop.first else ', ') }}
                {{- {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}
            {%- endfor %}
            {{- ']<|tool_call_end|>' }}
        {%- endif %}
        {{- '<|message_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|message_start|>assistant\n' }}
    {{- '<think>' if thinking is not defined or thinking else '</think>' }}
{%- endif %})jinja";

struct Family {
  std::array<const char*, 2> tokens;  // it has both
  const char* source;
};
const std::array<Family, 4> kFamilies = {{{{"<|message_start|>", "<|message_end|>"}, kPangu2},
                                          {{"<｜User｜>", "<｜Assistant｜>"}, kDeepSeek},
                                          {{"<|start_header_id|>", "<|eot_id|>"}, kLlama3},
                                          {{"<|im_start|>", "<|im_end|>"}, kChatMl}}};

}  // namespace

const char* builtin_template(const Tokenizer& tokenizer) {
  const auto has = [&](const char* token) {
    const auto id = tokenizer.id(token);
    return id && tokenizer.is_special(*id);
  };
  for (const Family& family : kFamilies)
    if (has(family.tokens[0]) && has(family.tokens[1])) return family.source;
  return nullptr;
}

}  // namespace um
