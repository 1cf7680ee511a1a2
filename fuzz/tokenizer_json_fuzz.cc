// Fuzzes the reader of tokenizer.json: it refuses with Error, or gives a tokenizer that encodes and
// decodes any bytes, makes no special id out of a user's text, and says the same twice.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

std::vector<std::string> fuzz_seeds() {
  const std::string model =
      R"("model":{"type":"BPE","byte_fallback":true,"vocab":{"h":0,"e":1,"he":2,"Ġ":3,"▁":4,)"
      R"("<0x41>":5,"Ġhe":6},"merges":["h e",["Ġ","he"]]}})";
  return {R"({"added_tokens":[{"id":9,"content":"<s>","special":true,"lstrip":true}],)"
          R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":)"
          R"x({"Regex":"\\p{L}+|\\s+(?!\\S)"},"behavior":"Isolated","invert":false},)x"
          R"({"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]},)" +
              model,
          R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend",)"
          R"("prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},)"
          R"("decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},)"
          R"({"type":"Strip","content":" ","start":1,"stop":0}]},)" +
              model,
          R"({"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"first"},"post_processor":)"
          R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"he"}}]},)" +
              model};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const um::Tokenizer tokenizer = um::Tokenizer::from_json(text, "", "fuzz");
    const std::string_view sample = std::string_view(text).substr(0, 200);
    const auto ids = tokenizer.encode(sample);
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
      if (tokenizer.is_special(id) && id != tokenizer.unk_id()) std::abort();
    }
    if (tokenizer.encode(sample) != ids) std::abort();
    if (!um::is_utf8(tokenizer.decode(tokenizer.encode(sample, {.parse_special = true}), false)))
      std::abort();
  } catch (const um::Error&) {
  }
  return 0;
}
