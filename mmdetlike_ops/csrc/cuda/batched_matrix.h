// Products of batches of matrices by PyTorch's BLAS, on memory that the caller holds.
#pragma once

#include <array>

#include "cuda/launch.h"

namespace ops {

// A view of memory of `like`'s device and dtype as (batch, rows, columns) with strides; one of the last two is 1.
template <typename S>
Tensor batch_view(const S* data, std::array<int64_t, 3> sizes, std::array<int64_t, 3> strides, const Tensor& like) {
  return torch::stable::from_blob(const_cast<S*>(data), sizes, strides, like.device(), like.scalar_type());
}

// out = a b. The overload with `out` writes to memory at hand, and autocast leaves it alone.
inline void multiply(const Tensor& a, const Tensor& b, const Tensor& out) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(a), torch::stable::detail::from(b),
                                    torch::stable::detail::from(out)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::bmm", "out", stack.data(), TORCH_ABI_VERSION));
  (void)torch::stable::detail::to<Tensor>(stack[0]);
}

}  // namespace ops
