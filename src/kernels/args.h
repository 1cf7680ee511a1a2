// The argument structs of the kernel table (kernels.h has the rules and the shape legend).
#pragma once

#include <cstdint>

namespace um {

/// C[m,n] (+)= op(A)[m,k] · op(B)[k,n] + bias[n], for each of `batch` independent problems.
/// op(A) is A stored [m,k], or [k,m] when `trans_a`; op(B) is B stored [k,n], or [n,k] when
/// `trans_b`. The forward of a linear layer is trans_b (weights are [out,in]).
struct Matmul {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t lda = 0;
  bool trans_a = false;
  const float* b = nullptr;
  int64_t ldb = 0;
  bool trans_b = false;
  float* c = nullptr;
  int64_t ldc = 0;
  const float* bias = nullptr;
  bool accumulate = false;
  int64_t batch = 1, stride_a = 0, stride_b = 0, stride_c = 0;
};

/// Matmuls over rows grouped by expert: group g owns the rows offsets[g] .. offsets[g+1]-1
/// ("slots"). b is [groups, n, k]. Empty groups are ordinary (grad_weight then writes zeros, or
/// adds nothing).
struct GroupedMatmul {
  enum class Kind {
    forward,  ///< c[row,n] = a[gather(row),k] · b[g]ᵀ; if `swiglu`: also its activation [row,n/2]
    grad_input,  ///< c[row,k] = a[gather(row),n] · b[g]
    grad_weight  ///< c[g][n,k] (+)= Σ_row a[gather_a(row),n]ᵀ · x[gather_x(row),k]   (b unused)
  };
  Kind kind = Kind::forward;
  int64_t groups = 0, rows = 0, n = 0, k = 0;
  const int64_t* offsets = nullptr;  ///< [groups+1]
  const float* a = nullptr;
  int64_t lda = 0;
  const int32_t* gather_a = nullptr;  ///< row of `a` for each slot; null: the slot itself
  const float* b = nullptr;           ///< weights [groups,n,k], contiguous
  const float* x = nullptr;           ///< grad_weight only
  int64_t ldx = 0;
  const int32_t* gather_x = nullptr;
  float* c = nullptr;
  int64_t ldc = 0;
  float* swiglu = nullptr;  ///< forward only: [rows,n/2] = silu(c[:, :n/2]) * c[:, n/2:]
  bool accumulate = false;  ///< grad_weight only
};

/// y = gain * x / sqrt(mean(x²) + eps) per row; inv_rms[row] is kept for the gradient (may be
/// null).
struct RmsNorm {
  int64_t rows = 0, cols = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const float* gain = nullptr;
  float eps = 0;
  float* y = nullptr;
  int64_t ldy = 0;
  float* inv_rms = nullptr;
};
struct RmsNormGrad {
  int64_t rows = 0, cols = 0;
  const float* dy = nullptr;
  int64_t ldy = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const float *gain = nullptr, *inv_rms = nullptr;
  float* dx = nullptr;
  int64_t lddx = 0;
  bool accumulate_dx = false;
  float* dgain = nullptr;  ///< [cols]
  bool accumulate_dgain = false;
};

/// One sandwich step (DSSN): y = x + post(v), z = pre(y), where post and pre are RMSNorms with
/// their own gains. A null gain_post means y = x + v (pre-norm models). All [rows,cols],
/// contiguous.
struct ResidualNorm {
  int64_t rows = 0, cols = 0;
  const float *x = nullptr, *v = nullptr, *gain_post = nullptr, *gain_pre = nullptr;
  float eps = 0;
  float *y = nullptr, *z = nullptr;
  float *inv_v = nullptr, *inv_y = nullptr;  ///< [rows]; may be null
};
/// Total gradient of y: g = dy + d(pre)(dz). Then dx = g, dv = d(post)(g) (or g). dy may be null
/// (zero), dz may be null (zero); dx may be the same memory as dy.
struct ResidualNormGrad {
  int64_t rows = 0, cols = 0;
  const float *dy = nullptr, *dz = nullptr;
  const float *v = nullptr, *y = nullptr, *gain_post = nullptr, *gain_pre = nullptr;
  const float *inv_v = nullptr, *inv_y = nullptr;
  float* dx = nullptr;
  bool accumulate_dx = false;
  float* dv = nullptr;
  bool accumulate_dv = false;
  float *dgain_post = nullptr, *dgain_pre = nullptr;
  bool accumulate_dgain_post = false, accumulate_dgain_pre = false;
};

/// Rotary embedding on channels [begin, begin+dim) of each head; other channels are copied.
/// table is [positions, dim]: dim/2 cosines, then dim/2 sines. Pairs are (2i, 2i+1) when
/// `interleave`, else (i, i+dim/2); the result keeps the layout of its input. `inverse` rotates
/// back (the gradient).
struct Rope {
  int64_t rows = 0, heads = 0, head_dim = 0, begin = 0, dim = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const int32_t* positions = nullptr;  ///< [rows]
  const float* table = nullptr;
  bool interleave = false, inverse = false;
  float* y = nullptr;
  int64_t ldy = 0;
  bool accumulate = false;
};

/// MLA's shared key side: kv_a [rows, rank+dim] → latent [rows, rank] = RMSNorm(first rank
/// columns), k_rope [rows, dim] = RoPE(rest). Both outputs may be strided (they are written into a
/// cache).
struct LatentNormRope {
  int64_t rows = 0, rank = 0, dim = 0;
  const float* kv_a = nullptr;
  int64_t ld_kv_a = 0;
  const float* gain = nullptr;
  float eps = 0;
  const int32_t* positions = nullptr;
  const float* table = nullptr;
  bool interleave = false;
  float* latent = nullptr;
  int64_t ld_latent = 0;
  float* k_rope = nullptr;
  int64_t ld_k_rope = 0;
  float* inv_rms = nullptr;
};
struct LatentNormRopeGrad {
  int64_t rows = 0, rank = 0, dim = 0;
  const float* dlatent = nullptr;  ///< [rows, rank], contiguous; null is zero
  const float* dk_rope = nullptr;  ///< [rows, dim], contiguous; null is zero
  const float* kv_a = nullptr;
  int64_t ld_kv_a = 0;
  const float *gain = nullptr, *inv_rms = nullptr;
  const int32_t* positions = nullptr;
  const float* table = nullptr;
  bool interleave = false;
  float* dkv_a = nullptr;  ///< [rows, rank+dim], contiguous
  bool accumulate_dkv_a = false;
  float* dgain = nullptr;
  bool accumulate_dgain = false;
};

/// Causal attention over ragged sequences, blockwise: no [T,T] matrix is ever held.
/// Query row t of head h is q + t*ldq + h*(qk_dim+rope_dim): qk_dim channels against the head's own
/// key, then rope_dim channels against a key part shared by all heads (MLA; 0 elsewhere). Head h
/// reads key and value head h / (heads/kv_heads) at k + row*ldk + kvh*k_head_stride (width qk_dim)
/// and likewise v (v_dim). Sequence s has queries q_offsets[s]..q_offsets[s+1] and keys
/// kv_offsets[s]..kv_offsets[s+1]; its queries are the LAST of its positions (kv_len - q_len rows
/// are past). MLA's absorbed form is kv_heads = 1, qk_dim = rank + rope, v = the same rows as k.
struct Attention {
  int64_t heads = 0, kv_heads = 0, qk_dim = 0, rope_dim = 0, v_dim = 0;
  int64_t sequences = 0;
  const int64_t *q_offsets = nullptr, *kv_offsets = nullptr;  ///< [sequences+1]
  const float* q = nullptr;
  int64_t ldq = 0;
  const float* k = nullptr;
  int64_t ldk = 0, k_head_stride = 0;
  const float* k_rope = nullptr;
  int64_t ld_k_rope = 0;
  const float* v = nullptr;
  int64_t ldv = 0, v_head_stride = 0;
  float scale = 1;
  float* out = nullptr;  ///< [T, heads*v_dim], row stride ld_out
  int64_t ld_out = 0;
  float* lse =
      nullptr;  ///< [heads, T] log-sum-exp of the scaled scores, for the gradient; may be null
};
/// Gradients have the strides of their tensors (dq like q, dk like k, dk_rope like k_rope, dv like
/// v) and are overwritten, or added to by `accumulate_*`. Only used without past (q_offsets ==
/// kv_offsets).
struct AttentionGrad {
  Attention forward;            ///< the forward's arguments: out and lse are read
  const float* dout = nullptr;  ///< [T, heads*v_dim], row stride forward.ld_out
  float *dq = nullptr, *dk = nullptr, *dk_rope = nullptr, *dv = nullptr;
  bool accumulate_dq = false, accumulate_dk = false, accumulate_dk_rope = false,
       accumulate_dv = false;
};

/// act[row, f] = silu(h[row, f]) * h[row, F+f]; h is [rows, 2F] = [gate | up].
struct Swiglu {
  int64_t rows = 0, width = 0;
  const float* h = nullptr;
  float* act = nullptr;
};
/// From dact (gradient of the activation, before the row's weight): dh = w * dact * d(swiglu),
/// weighted_act = w * act (recomputed, for the gradient of the down weight), dweight = <dact, act>.
/// row_weight may be null (w = 1); weighted_act and dweight may be null.
struct SwigluGrad {
  int64_t rows = 0, width = 0;
  const float *h = nullptr, *dact = nullptr;
  const float* weight = nullptr;        ///< [A] routing weights, or null
  const int32_t* assignment = nullptr;  ///< [rows] slot → index into weight and dweight
  float* dh = nullptr;                  ///< [rows, 2F]
  float* weighted_act = nullptr;        ///< [rows, F]
  float* dweight = nullptr;             ///< [A]
};

/// How a router turns logits into choices.
struct RouterRule {
  bool sigmoid = true;       ///< scores: sigmoid, or softmax over all experts
  bool normalize = true;     ///< divide the chosen scores by (their sum + 1e-20)
  float scaling_factor = 1;  ///< multiplies the weights
  int64_t groups = 1;  ///< MoGE: experts are chosen top_k/groups from each of `groups` equal groups
  int64_t limit_groups =
      0;  ///< DeepSeek: choose only within the best `limit_groups` of `groups`; 0: off
};
/// One pass over logits [T,E]: scores, choice (score + bias, ties to the lower id), weights,
/// counts. With limit_groups off and groups > 1 the choice is MoGE's. ids ascend by group, then by
/// falling choice value.
struct Router {
  int64_t tokens = 0, experts = 0, top_k = 0;
  RouterRule rule;
  const float* logits = nullptr;
  const float* bias = nullptr;          ///< [E] added for the choice only; may be null
  const float* expert_scale = nullptr;  ///< [E] router_scale, multiplies the weights; may be null
  float* scores = nullptr;              ///< [T,E]
  int32_t* ids = nullptr;               ///< [T,K]
  float* weights = nullptr;             ///< [T,K]
  int64_t* counts = nullptr;            ///< [E] overwritten
};
/// dlogits from the weights' gradient and the balance loss. The balance loss adds, for token t of
/// sequence s(t), Σ_i balance[s(t) * balance_stride + i] * p_i(t), p = scores, divided by their sum
/// when sigmoid.
struct RouterGrad {
  int64_t tokens = 0, experts = 0, top_k = 0;
  RouterRule rule;
  const float* scores = nullptr;
  const int32_t* ids = nullptr;
  const float* expert_scale = nullptr;
  const float* dweights = nullptr;       ///< [T,K]; null is zero
  const float* balance = nullptr;        ///< [E], or one row per sequence; null: no balance loss
  int64_t balance_stride = 0;            ///< 0: the same row for every token
  const int32_t* sequence_of = nullptr;  ///< [T], used when balance_stride != 0
  float* dlogits = nullptr;              ///< [T,E]
  float* dexpert_scale = nullptr;        ///< [E]
  bool accumulate_dexpert_scale = false;
};

/// What a balance loss needs to know: per sequence and expert, the number of assignments and the
/// sum over tokens of the scores (each token's divided by their sum when `normalize`). Overwrites
/// both.
struct BalanceStats {
  int64_t tokens = 0, experts = 0, top_k = 0, sequences = 1;
  bool normalize = false;
  const float* scores = nullptr;         ///< [T,E]
  const int32_t* ids = nullptr;          ///< [T,K]
  const int32_t* sequence_of = nullptr;  ///< [T]; null: everything is sequence 0
  double* score_sums = nullptr;          ///< [sequences,E]
  int64_t* counts = nullptr;             ///< [sequences,E]
};

/// Stable counting sort of the A = T*K assignments by expert.
struct MoePermute {
  int64_t tokens = 0, experts = 0, top_k = 0;
  const int32_t* ids = nullptr;   ///< [T,K]
  int64_t* offsets = nullptr;     ///< [E+1] first slot of each expert
  int32_t* assignment = nullptr;  ///< [A] slot → t*K + k
  int32_t* token = nullptr;       ///< [A] slot → t
  int32_t* slot = nullptr;        ///< [T,K] assignment → slot
};
/// out[t] = (base ? base[t] : 0) + Σ_k weights[t,k] * y[slot[t,k]]; k in order.
struct MoeCombine {
  int64_t tokens = 0, top_k = 0, cols = 0;
  const float* y = nullptr;  ///< [A, cols]
  const int32_t* slot = nullptr;
  const float* weights = nullptr;  ///< [T,K]
  const float* base = nullptr;     ///< [T, cols] (shared experts' output); may be null
  float* out = nullptr;
};
/// dx[t] (+)= Σ_k dslots[slot[t,k]]: gradient of the gather that fed the experts.
struct MoeScatter {
  int64_t tokens = 0, top_k = 0, cols = 0;
  const float* dslots = nullptr;
  const int32_t* slot = nullptr;
  float* dx = nullptr;
  bool accumulate = false;
};

/// y[t] = table[ids[t]]. An id outside [0, vocab) gives a row of zeros (callers check their input).
struct Embedding {
  int64_t tokens = 0, cols = 0, vocab = 0;
  const int32_t* ids = nullptr;
  const float* table = nullptr;
  float* y = nullptr;
};
/// dtable[ids[t]] += dy[t], in the order of t; with accumulate off the table is zeroed first.
struct EmbeddingGrad {
  int64_t tokens = 0, cols = 0, vocab = 0;
  const int32_t* ids = nullptr;
  const float* dy = nullptr;
  float* dtable = nullptr;
  bool accumulate = false;
};

/// Softmax cross-entropy of a block of logits. loss[t] = lse - logit[target] (natural log), z[t] =
/// lse², correct[t] = 1 if the argmax (lowest id among equals) is the target. Rows with target < 0
/// give 0. When `dlogits` (may be the logits themselves): weights[t] * (softmax - onehot) + 2 *
/// z_weight * weights[t] * lse * softmax.
struct CrossEntropy {
  int64_t rows = 0, vocab = 0;
  const float* logits = nullptr;
  int64_t ld = 0;
  const int32_t* targets = nullptr;
  const float* weights = nullptr;  ///< [rows]
  float z_weight = 0;
  float* loss = nullptr;
  float* z = nullptr;        ///< may be null
  float* correct = nullptr;  ///< may be null
  float* dlogits = nullptr;  ///< row stride ld; may be null
};

/// dbias[n] (+)= Σ_rows dy[row,n].
struct BiasGrad {
  int64_t rows = 0, cols = 0;
  const float* dy = nullptr;
  int64_t ld = 0;
  float* dbias = nullptr;
  bool accumulate = false;
};

/// y[i] = a[i] + b[i] (y may be a or b).
struct Add {
  int64_t count = 0;
  const float *a = nullptr, *b = nullptr;
  float* y = nullptr;
};

/// y[row][block][0..width) = x[row][block][0..width): rows `ld` apart, blocks `block_*` apart
/// within a row.
struct CopyBlocks {
  int64_t rows = 0, blocks = 1, width = 0;
  const float* x = nullptr;
  int64_t ldx = 0, block_x = 0;
  float* y = nullptr;
  int64_t ldy = 0, block_y = 0;
};

/// Decoupled weight decay Adam (Loshchilov & Hutter 2019), one fused pass:
/// g' = grad_scale*g; m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'²;
/// p -= lr * ( (m / correction1) / (sqrt(v / correction2) + eps) + weight_decay * p ).
struct AdamW {
  int64_t count = 0;
  float *param = nullptr, *m = nullptr, *v = nullptr;
  const float* grad = nullptr;
  float lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  float correction1 = 1, correction2 = 1;  ///< 1 - beta^step
  float grad_scale = 1;
};

/// *result = Σ x² in f64, summed in fixed blocks: the same bits for every thread count.
struct SumSquares {
  int64_t count = 0;
  const float* x = nullptr;
  double* result = nullptr;
};

}  // namespace um
