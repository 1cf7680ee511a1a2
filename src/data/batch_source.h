// BatchSource: what a training run reads, batch by batch, and can go on with after a restart.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "data/batch.h"

namespace um {

/// What a run checks against its model before it begins, and shows in its report.
struct SourceDescription {
  int64_t vocab_size = 0;           ///< of the tokenizer that the tokens come from
  std::string tokenizer_hash = {};  ///< Tokenizer::hash() of it
  std::string origin = {};          ///< for messages: the file or directory, or the first of them
  double unigram_entropy = 0;   ///< nats per held-out token of a model of frequencies; 0: unknown
  double bytes_per_token = 0;   ///< UTF-8 bytes of the held-out text by its tokens; 0: unknown
  double bytes_per_target = 0;  ///< the same by the tokens that are predicted
  /// For the report, in this order: {"Training tokens", "12,345,678"}.
  std::vector<std::pair<std::string, std::string>> facts = {};
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;

  /// Fills `batch` (its memory is reused). False when there are no more.
  virtual bool next(Batch& batch) = 0;

  /// Where the stream stands: an object with `corpora` (a fingerprint of all that is read), `seed`
  /// and `seq_len`, by which a resumed run knows its stream again (train/resume.h), and whatever
  /// else restore() needs.
  virtual Json state() const = 0;
  /// Goes on from there with the same batches. Throws Error, naming the field, for the state of
  /// another stream.
  virtual void restore(const Json& state) = 0;

  /// This is a new phase's stream, at its beginning; the last batch of the phase before left the
  /// stream there at `state`. Does nothing where streams have nothing in common.
  virtual void follow(const Json& /*state*/) {}

  virtual SourceDescription describe() const = 0;
};

}  // namespace um
