// PSAMask: one thread an element of the masks, which has at most one place in the attention.
#include "common/psa.h"
#include "cuda/launch.h"

namespace ops {
namespace {

// Offset in the attention of all images of element i of the masks (images, taps, h, w); -1 if it sees no pixel.
__device__ __forceinline__ int64_t target_of(int64_t i, const PsaShape& s) {
  const int64_t x = i % s.width, y = i / s.width % s.height, tap = i / s.area() % s.taps();
  const int64_t row = y + tap / s.mask_width - (s.mask_height - 1) / 2;
  const int64_t column = x + tap % s.mask_width - (s.mask_width - 1) / 2;
  if (row < 0 || row >= s.height || column < 0 || column >= s.width) return -1;
  return i / s.area() / s.taps() * s.area() * s.area() + s.target(y, x, row, column);
}

template <typename S>
__global__ void forward_kernel(const S* x, PsaShape s, int64_t count, S* out) {
  for_each_index(count, [&](int64_t i) {
    const int64_t target = target_of(i, s);
    if (target >= 0) out[target] = x[i];
  });
}

template <typename S>
__global__ void backward_kernel(const S* grad, PsaShape s, int64_t count, S* out) {
  for_each_index(count, [&](int64_t i) {
    const int64_t target = target_of(i, s);
    out[i] = target >= 0 ? grad[target] : S(0);
  });
}

Tensor psa_mask_cuda(const Tensor& x_in, bool collect, int64_t mask_height, int64_t mask_width) {
  const Launcher launch(x_in);
  const Tensor x = contiguous(x_in);
  const PsaShape s{x.size(0), x.size(2), x.size(3), mask_height, mask_width, collect};
  Tensor out = torch::stable::new_zeros(x, {s.images, s.area(), s.height, s.width});
  dispatch_floating(x.scalar_type(), "psa_mask", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(x.numel(), forward_kernel<S>, data<S>(x), s, x.numel(), mutable_data<S>(out));
  });
  return out;
}

Tensor psa_mask_backward_cuda(const Tensor& grad_in, bool collect, int64_t mask_height, int64_t mask_width) {
  const Launcher launch(grad_in);
  const Tensor grad = contiguous(grad_in);
  const PsaShape s{grad.size(0), grad.size(2), grad.size(3), mask_height, mask_width, collect};
  Tensor out = torch::stable::new_empty(grad, {s.images, s.taps(), s.height, s.width});
  dispatch_floating(grad.scalar_type(), "psa_mask_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(out.numel(), backward_kernel<S>, data<S>(grad), s, out.numel(), mutable_data<S>(out));
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("psa_mask", TORCH_BOX(&psa_mask_cuda));
  m.impl("psa_mask_backward", TORCH_BOX(&psa_mask_backward_cuda));
}

}  // namespace ops
