// Overlaps of rotated boxes, quadrilaterals and point sets, all pairs or aligned: one thread a pair.
#include "common/convex.h"
#include "cuda/launch.h"

namespace ops {
namespace {

template <typename T, int N, typename S>
__global__ void load_kernel(const S* rows, int64_t count, int64_t columns, Convex<T, N>* all) {
  for_each_index(count, [&](int64_t i) {
    if constexpr (N == 4)
      all[i] = load_quad<T>(rows + i * columns, columns);
    else
      all[i] = load_hull<T, N>(rows + i * columns);
  });
}

template <typename T, int N, typename S>
__global__ void overlaps_kernel(const Convex<T, N>* a, const Quad<T>* b, int64_t count, int64_t columns,
                                bool over_first, bool aligned, S* out) {
  for_each_index(count, [&](int64_t i) {
    out[i] = static_cast<S>(overlap(a[i / columns], b[aligned ? i : i % columns], over_first));
  });
}

template <typename T, int N, typename S>
Tensor load_all(const Launcher& launch, const Tensor& rows) {
  const int64_t n = rows.size(0), bytes = n * static_cast<int64_t>(sizeof(Convex<T, N>));
  Tensor all = torch::stable::new_empty(rows, {bytes}, ScalarType::Byte);
  launch.elementwise(n, load_kernel<T, N, S>, data<S>(rows), n, rows.size(1), mutable_data<Convex<T, N>>(all));
  return all;
}

template <typename S, int N>
void overlaps(const Tensor& a, const Tensor& b, bool over_first, bool aligned, Tensor& out) {
  using T = Accumulate<S>;
  const Launcher launch(a);
  const Tensor first = load_all<T, N, S>(launch, a), second = load_all<T, 4, S>(launch, b);
  const int64_t columns = aligned ? 1 : b.size(0);
  launch.elementwise(out.numel(), overlaps_kernel<T, N, S>, data<Convex<T, N>>(first), data<Quad<T>>(second),
                     out.numel(), columns, over_first, aligned, mutable_data<S>(out));
}

Tensor convex_overlaps_cuda(const Tensor& a_in, const Tensor& b_in, bool over_first, bool aligned) {
  const Tensor a = contiguous(a_in), b = contiguous(b_in);
  Tensor out = aligned ? torch::stable::new_empty(a, {a.size(0)}) : torch::stable::new_empty(a, {a.size(0), b.size(0)});
  dispatch_floating(a.scalar_type(), "convex_overlaps", [&](auto tag) {
    using S = typename decltype(tag)::type;
    a.size(1) == 2 * kPointSet ? overlaps<S, kPointSet>(a, b, over_first, aligned, out)
                               : overlaps<S, 4>(a, b, over_first, aligned, out);
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("convex_overlaps", TORCH_BOX(&convex_overlaps_cuda)); }

}  // namespace ops
