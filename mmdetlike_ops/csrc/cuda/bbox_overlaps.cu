// Overlaps of axis-aligned boxes, all pairs or aligned: one thread a pair.
#include "common/box.h"
#include "cuda/launch.h"

namespace ops {
namespace {

template <typename T, typename S>
__global__ void overlaps_kernel(const S* a, const S* b, int64_t count, int64_t columns, int mode, bool aligned,
                                T offset, S* out) {
  for_each_index(count, [&](int64_t i) {
    const Box<T> first = load_box<T>(a + 4 * (i / columns));
    const Box<T> second = load_box<T>(b + 4 * (aligned ? i : i % columns));
    out[i] = static_cast<S>(overlap(first, area(first, offset), second, area(second, offset), mode, offset));
  });
}

Tensor bbox_overlaps_cuda(const Tensor& a_in, const Tensor& b_in, int64_t mode, bool aligned, int64_t offset) {
  const Tensor a = contiguous(a_in), b = contiguous(b_in);
  const int64_t n = a.size(0), m = b.size(0), columns = aligned ? 1 : m;
  Tensor out = aligned ? torch::stable::new_empty(a, {n}) : torch::stable::new_empty(a, {n, m});
  const Launcher launch(a);
  dispatch_floating(a.scalar_type(), "bbox_overlaps", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(n * columns, overlaps_kernel<T, S>, data<S>(a), data<S>(b), n * columns, columns, mode, aligned,
                       T(offset), mutable_data<S>(out));
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("bbox_overlaps", TORCH_BOX(&bbox_overlaps_cuda)); }

}  // namespace ops
