// See tokenizers_peer_util.h.
#include "tests/text/tokenizers_peer_util.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "tests/text/peer_util.h"
#include "text/decoder.h"

namespace um {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

Json tiny_json(const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocab = Json::object(), list = Json::array();
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[bytes_to_byte_level(std::string(1, static_cast<char>(byte)))] = id++;
  }
  for (const auto& [a, b] : merges) {
    list.push_back(a + " " + b);
    vocab[a + b] = id++;
  }
  const auto added = [&](const char* text, bool special) {
    return Json{{"id", id++},      {"content", text}, {"special", special},  {"normalized", false},
                {"lstrip", false}, {"rstrip", false}, {"single_word", false}};
  };
  Json tokens = {added("<|end|>", true), added("<think>", false)};
  Json level = {{"type", "ByteLevel"},
                {"add_prefix_space", false},
                {"trim_offsets", true},
                {"use_regex", true}};
  return {{"version", "1.0"},
          {"added_tokens", tokens},
          {"normalizer", nullptr},
          {"pre_tokenizer", level},
          {"post_processor", nullptr},
          {"decoder", level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

Json sequence_of(const char* key, const Json& steps) {
  return {{"type", "Sequence"}, {key, steps}};
}

Json llama_json(bool metaspace) {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}};
  int id = 2;
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = id++;
  for (const char* c : {"▁", "t", "h", "e", "l", "o", "鸭", "é"}) vocab[c] = id++;
  Json merges = Json::array();
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
           {"▁", "t"}, {"h", "e"}, {"▁t", "he"}, {"▁", "▁"}, {"l", "l"}}) {
    merges.push_back({a, b});
    vocab[a + b] = id++;
  }
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const Json mark = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", true}};
  Json json = {
      {"version", "1.0"},
      {"added_tokens",
       {{{"id", 1},
         {"content", "<s>"},
         {"special", true},
         {"lstrip", false},
         {"rstrip", false},
         {"single_word", false},
         {"normalized", false}}}},
      {"normalizer",
       sequence_of("normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}, replace(" ", "▁")})},
      {"pre_tokenizer", nullptr},
      {"decoder",
       sequence_of("decoders", {replace("▁", " "),
                                {{"type", "ByteFallback"}},
                                {{"type", "Fuse"}},
                                {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", merges}}}};
  if (metaspace) {
    json["normalizer"] = nullptr;
    json["pre_tokenizer"] = mark;
    json["decoder"] = mark;
    json["model"]["byte_fallback"] = false;
  }
  return json;
}

void expect_peer_agrees(const std::vector<PeerJob>& jobs, bool decoded) {
  const fs::path dir = fs::temp_directory_path() / fmt::format("um_json_peer_{}", ::getpid());
  Json request = {{"jobs", Json::array()}};
  for (size_t i = 0; i < jobs.size(); ++i) {
    const fs::path place = dir / std::to_string(i);
    fs::create_directories(place);
    jobs[i].tokenizer.save(place);
    request["jobs"].push_back({{"file", place / "tokenizer.json"}, {"texts", jobs[i].texts}});
  }
  const auto reply = ask_python("tokenizers_peer.py", request);
  fs::remove_all(dir);
  if (!reply) GTEST_SKIP() << "no Python package tokenizers";
  for (size_t i = 0; i < jobs.size(); ++i) {
    if ((*reply)[i].is_null()) continue;
    const Tokenizer& t = jobs[i].tokenizer;
    for (size_t k = 0; k < jobs[i].texts.size(); ++k) {
      const std::string& text = jobs[i].texts[k];
      if ((*reply)[i]["ids"][k].is_null()) continue;  // the package itself fails
      const Ids ids = t.encode(text, {.parse_special = true});
      const Ids expected = (*reply)[i]["ids"][k].get<Ids>();
      ASSERT_EQ(ids, expected) << "tokenizer " << i << ", text " << quote(text);
      if (jobs[i].framed) {
        const Ids framed =
            t.encode(text, {.add_bos = t.add_bos(), .add_eos = t.add_eos(), .parse_special = true});
        ASSERT_EQ(framed, (*reply)[i]["framed"][k].get<Ids>()) << i << quote(text);
      }
      if (!decoded) continue;
      EXPECT_EQ(t.decode(ids), (*reply)[i]["texts"][k]) << i << quote(text);
      EXPECT_EQ(t.decode(ids, false), (*reply)[i]["kept"][k]) << i << quote(text);
    }
  }
}

}  // namespace um
