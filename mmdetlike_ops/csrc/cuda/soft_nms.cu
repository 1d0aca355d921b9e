// Soft non-maximum suppression: one block takes box after box; its threads share the rest.
#include <limits>

#include "common/decay.h"
#include "cuda/launch.h"

namespace ops {
namespace {

constexpr int kBlock = 512;

template <typename T>
struct Best {
  T score[kBlock];
  int64_t index[kBlock];
};

// Leaves the largest score, of equals the first, in element 0.
template <typename T>
__device__ void reduce(Best<T>& best) {
  for (int half = kBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      const int a = threadIdx.x, b = threadIdx.x + half;
      const bool first = best.score[b] == best.score[a] && best.index[b] < best.index[a];
      if (best.score[b] > best.score[a] || first) best.score[a] = best.score[b], best.index[a] = best.index[b];
    }
  }
  __syncthreads();
}

// `left` holds the scores of boxes not yet taken, -inf for the others; `taken` was filled with NaN.
template <typename T, typename S>
__global__ void soft_nms_kernel(const S* boxes, const S* scores, const int64_t* groups, int64_t n, Decay settings,
                                T* left, S* taken) {
  __shared__ Best<T> best;
  const T gone = -static_cast<T>(HUGE_VAL), min_score = settings.min_score, offset = settings.offset;
  for (int64_t i = threadIdx.x; i < n; i += kBlock) {
    const T score = static_cast<T>(scores[i]);
    left[i] = score >= min_score ? score : gone;
  }
  while (true) {
    T top = gone;
    int64_t at = n;
    for (int64_t i = threadIdx.x; i < n; i += kBlock)
      if (left[i] > top) top = left[i], at = i;
    best.score[threadIdx.x] = top, best.index[threadIdx.x] = at;
    reduce(best);
    const int64_t pick = best.index[0];
    if (pick == n) return;
    const Box<T> box = load_box<T>(boxes + 4 * pick);
    const T area_box = area(box, offset);
    for (int64_t i = threadIdx.x; i < n; i += kBlock) {
      if (i == pick) {
        taken[i] = static_cast<S>(left[i]);
        left[i] = gone;
      } else if (left[i] > gone && (!groups || groups[i] == groups[pick])) {
        const Box<T> other = load_box<T>(boxes + 4 * i);
        const T score = left[i] * decay(iou(box, area_box, other, area(other, offset), offset), settings);
        left[i] = score >= min_score ? score : gone;
      }
    }
    __syncthreads();
  }
}

Tensor soft_nms_cuda(const Tensor& boxes_in, const Tensor& scores_in, const std::optional<Tensor>& groups_in,
                     double iou_threshold, double sigma, double min_score, int64_t method, int64_t offset) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in);
  const std::optional<Tensor> groups = groups_in ? std::make_optional(contiguous(*groups_in)) : std::nullopt;
  const int64_t n = scores.size(0);
  Tensor taken = torch::stable::new_empty(scores, {n});
  if (n == 0) return taken;
  torch::stable::fill_(taken, std::numeric_limits<double>::quiet_NaN());
  const Launcher launch(boxes);
  const Decay settings{iou_threshold, sigma, min_score, method, offset};
  dispatch_floating(boxes.scalar_type(), "soft_nms", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor left = torch::stable::new_empty(boxes, {n}, accumulate_dtype<T>());
    launch(soft_nms_kernel<T, S>, dim3(1), kBlock, data<S>(boxes), data<S>(scores),
           groups ? data<int64_t>(*groups) : nullptr, n, settings, mutable_data<T>(left), mutable_data<S>(taken));
  });
  return taken;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("soft_nms", TORCH_BOX(&soft_nms_cuda)); }

}  // namespace ops
