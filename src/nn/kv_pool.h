// KvPool: what attention remembers of all sequences, in pages: keys and values per layer, or MLA's
// latents, and where a model has them an indexer's keys and the inputs of convolutions. A sequence
// has a list of pages, its page table; KvView is one forward's side of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "nn/conv_plan.h"
#include "ops/rows.h"

namespace um {

/// One layer's rows: row r of page p is row p*kPageRows + r.
struct LayerCache {
  Rows k;        ///< [pages*kPageRows, kv_heads*dim], or MLA: [.., rank+rope], the normed latent
                 ///< and rotated key
  Rows v;        ///< [pages*kPageRows, kv_heads*v_dim]; undefined for MLA
  Tensor index;  ///< f32 [pages*kPageRows, dim], keys of an indexer; undefined without one
  Tensor conv;   ///< f32 [pages*kConvRing, channels], as nn/conv_plan.h has it
};

/// What a model keeps: channels of each kind in every layer, the trunk's, then one per MTP head.
struct KvLayout {
  struct Widths {
    int64_t k = 0, v = 0;  ///< v 0: no values beside the keys (MLA)
    int64_t index = 0, conv = 0;
  };
  std::vector<Widths> layers;
  int64_t sinks = 0;  ///< rows, a multiple of kPageRows, that lie before every sequence's own in
                      ///< pages of their own, behind the others; the model writes them once
  int64_t conv_taps = 0;  ///< of its convolutions, 0: none

  /// Bytes of a page of one layer, keys and values in `dtype`.
  static int64_t page_bytes(const Widths& widths, DType dtype);
  /// Bytes of `pages` pages of all layers and of the sinks.
  int64_t pool_bytes(int64_t pages, DType dtype) const;
};

/// Memory for `pages` pages in every layer. Who owns which page is not known here.
class KvPool {
 public:
  /// `dtype` of keys and values: f32, bf16, or i8 (a quarter of f32's bytes).
  KvPool(Device& device, const KvLayout& layout, int64_t pages, DType dtype = DType::f32);

  const LayerCache& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t pages() const { return pages_; }
  int64_t sinks() const { return sinks_; }
  int64_t conv_taps() const { return conv_taps_; }
  Device& device() const { return device_; }
  /// Bytes of one page in all layers.
  int64_t page_bytes() const { return page_bytes_; }

  /// Pages that `rows` rows of one sequence take.
  static constexpr int64_t pages_for(int64_t rows) { return (rows + kPageRows - 1) / kPageRows; }

 private:
  Device& device_;
  std::vector<LayerCache> layers_;
  int64_t pages_, sinks_, conv_taps_, page_bytes_ = 0;
};

/// One forward's side of a pool. Which form MLA's attention takes is a matter of a row's role, not
/// of how many there are: prompt rows are always naive, generated rows (and drafts) always
/// absorbed. So a row has the same bits in every chunk and in every company.
struct KvView {
  KvPool* pool = nullptr;
  Tensor pages;         ///< i32 [sequences, longest page table or more], the sinks' pages first
  Tensor slots;         ///< i32 [rows], the pool row which each new row is written to
  Tensor prompt_slots;  ///< i32 [all positions of the prompt sequences], the pool row of each, the
                        ///< sinks' before each sequence's own
  ConvPlan convs;       ///< if the model has convolutions
  int64_t prompt_sequences = 0, prompt_rows = 0;  ///< the first so many hold prompt rows

  /// The view of these sequences, in the order of the batch: those with prompt rows come first.
  /// Throws Error for another order, for pages outside the pool, and where they are too few.
  static KvView make(KvPool& pool, std::span<const KvSequence> sequences);
  /// Makes this the view that make() gives, in the same memory where the extents are the same.
  void assign(KvPool& of, std::span<const KvSequence> sequences);
};

}  // namespace um
