// Test fixtures for src/data: a scratch directory and small packed corpora.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/error.h"
#include "data/pack.h"

namespace um {

/// A fresh directory for each test, removed after it.
class ScratchTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::filesystem::path write(const std::string& name, const std::string& text) const;
  std::filesystem::path write_gz(const std::string& name, const std::string& text) const;
  /// Packs `count` sentences (one document each) into dir_/name with the tiny tokenizer.
  std::filesystem::path pack(const std::string& name, size_t count, size_t skip = 0) const;
  /// All bytes of all files of a directory, by name.
  static std::string contents(const std::filesystem::path& directory);

  std::filesystem::path dir_;
};

/// The message of the Error that `call` throws, or "no error".
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace um
