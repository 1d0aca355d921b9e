// CornerPool: one thread a line.
#include "common/scan.h"
#include "cuda/launch.h"

namespace ops {
namespace {

__device__ __forceinline__ int64_t line_start(int64_t line, const Scan& s) {
  return line / s.inner * s.length * s.inner + line % s.inner;
}

template <typename T, typename S>
__global__ void forward_kernel(const S* x, Scan s, int64_t lines, S* out) {
  for_each_index(lines, [&](int64_t line) {
    const int64_t start = line_start(line, s);
    S largest = x[start + s.at(0)];
    for (int64_t i = 0; i < s.length; ++i) {
      const S value = x[start + s.at(i)];
      if (takes_over(static_cast<T>(value), static_cast<T>(largest))) largest = value;
      out[start + s.at(i)] = largest;
    }
  });
}

template <typename T, typename S>
__global__ void backward_kernel(const S* grad, const S* x, const S* largest, Scan s, int64_t lines, S* out) {
  for_each_index(lines, [&](int64_t line) {
    const int64_t start = line_start(line, s);
    T waiting = 0;
    for (int64_t i = s.length - 1; i >= 0; --i) {
      const int64_t at = start + s.at(i);
      waiting += static_cast<T>(grad[at]);
      const bool wins = is_winner(static_cast<T>(x[at]), static_cast<T>(largest[at]));
      out[at] = static_cast<S>(wins ? waiting : T(0));
      if (wins) waiting = 0;
    }
  });
}

Tensor corner_pool_cuda(const Tensor& x_in, int64_t dim, bool reverse) {
  const Launcher launch(x_in);
  const Tensor x = contiguous(x_in);
  const Scan scan = scan_of(x, dim, reverse);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  const int64_t lines = scan.length > 0 ? scan.outer * scan.inner : 0;
  dispatch_floating(x.scalar_type(), "corner_pool", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(lines, forward_kernel<Accumulate<S>, S>, data<S>(x), scan, lines, mutable_data<S>(out));
  });
  return out;
}

Tensor corner_pool_backward_cuda(const Tensor& grad_in, const Tensor& x_in, const Tensor& out_in, int64_t dim,
                                 bool reverse) {
  const Launcher launch(x_in);
  const Tensor grad = contiguous(grad_in), x = contiguous(x_in), largest = contiguous(out_in);
  const Scan scan = scan_of(x, dim, reverse);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  const int64_t lines = scan.length > 0 ? scan.outer * scan.inner : 0;
  dispatch_floating(x.scalar_type(), "corner_pool_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(lines, backward_kernel<Accumulate<S>, S>, data<S>(grad), data<S>(x), data<S>(largest), scan,
                       lines, mutable_data<S>(out));
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("corner_pool", TORCH_BOX(&corner_pool_cuda));
  m.impl("corner_pool_backward", TORCH_BOX(&corner_pool_backward_cuda));
}

}  // namespace ops
