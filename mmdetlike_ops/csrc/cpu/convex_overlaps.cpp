// Overlaps of rotated boxes, quadrilaterals and point sets, all pairs or aligned.
#include <vector>

#include "common/convex.h"
#include "common/op.h"

namespace ops {
namespace {

template <typename T, int N, typename S>
std::vector<Convex<T, N>> load_all(const Tensor& rows) {
  std::vector<Convex<T, N>> all(rows.size(0));
  const int64_t columns = rows.size(1);
  const S* p = data<S>(rows);
  for (size_t i = 0; i < all.size(); ++i)
    if constexpr (N == 4)
      all[i] = load_quad<T>(p + i * columns, columns);
    else
      all[i] = load_hull<T, N>(p + i * columns);
  return all;
}

template <typename S, int N>
void overlaps(const Tensor& a, const Tensor& b, bool over_first, bool aligned, Tensor& out) {
  using T = Accumulate<S>;
  const auto first = load_all<T, N, S>(a);
  const auto second = load_all<T, 4, S>(b);
  const int64_t columns = aligned ? 1 : b.size(0);
  S* result = mutable_data<S>(out);
  torch::stable::parallel_for(0, a.size(0), 1 + 2048 / (columns + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < columns; ++j)
        result[i * columns + j] = static_cast<S>(overlap(first[i], second[aligned ? i : j], over_first));
  });
}

Tensor convex_overlaps_cpu(const Tensor& a_in, const Tensor& b_in, bool over_first, bool aligned) {
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

OPS_REGISTER(m) { m.def("convex_overlaps(Tensor a, Tensor b, bool over_first, bool aligned) -> Tensor"); }

OPS_IMPLEMENT(CPU, m) { m.impl("convex_overlaps", TORCH_BOX(&convex_overlaps_cpu)); }

}  // namespace ops
