// CornerPool: the largest value so far along an axis, forward and backward.
//
// The tensor is seen as (outer, length, inner) with the axis in the middle. Where `inner` is not 1, whole rows are
// compared at once.
#include <algorithm>
#include <vector>

#include "common/scan.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

template <typename S>
OPS_INLINE void larger_row_body(const S* x, const S* before, int64_t count, S* out) {
  using T = Accumulate<S>;
  for (int64_t i = 0; i < count; ++i) {
    const T value = static_cast<T>(x[i]), largest = static_cast<T>(before[i]);
    out[i] = static_cast<S>(takes_over(value, largest) ? value : largest);
  }
}

// Adds the upstream gradient to `waiting`, and moves that to `out` where x was the largest.
template <typename S, typename T>
OPS_INLINE void settle_row_body(const S* upstream, const S* x, const S* largest, int64_t count, T* waiting, S* out) {
  for (int64_t i = 0; i < count; ++i) {
    const T sum = waiting[i] + static_cast<T>(upstream[i]);
    const bool wins = is_winner(static_cast<T>(x[i]), static_cast<T>(largest[i]));
    out[i] = static_cast<S>(wins ? sum : T(0));
    waiting[i] = wins ? T(0) : sum;
  }
}

#define ROWS_OF(S)                                                                               \
  OPS_VECTORIZED void larger_row(const S* x, const S* before, int64_t count, S* out) {           \
    larger_row_body(x, before, count, out);                                                      \
  }                                                                                              \
  OPS_VECTORIZED void settle_row(const S* upstream, const S* x, const S* largest, int64_t count, \
                                 Accumulate<S>* waiting, S* out) {                               \
    settle_row_body(upstream, x, largest, count, waiting, out);                                  \
  }

ROWS_OF(float)
ROWS_OF(double)
ROWS_OF(Half)
ROWS_OF(BFloat16)
#undef ROWS_OF

template <typename S>
void pool_plane(const S* x, const Scan& scan, S* out) {
  std::copy_n(x + scan.at(0), scan.inner, out + scan.at(0));
  for (int64_t i = 1; i < scan.length; ++i)
    larger_row(x + scan.at(i), out + scan.at(i - 1), scan.inner, out + scan.at(i));
}

template <typename S>
void pool_line(const S* x, const Scan& scan, S* out) {
  using T = Accumulate<S>;
  S largest = x[scan.at(0)];
  for (int64_t i = 0; i < scan.length; ++i) {
    const S value = x[scan.at(i)];
    if (takes_over(static_cast<T>(value), static_cast<T>(largest))) largest = value;
    out[scan.at(i)] = largest;
  }
}

template <typename S>
void settle_plane(const S* upstream, const S* x, const S* largest, const Scan& scan, S* out) {
  std::vector<Accumulate<S>> waiting(scan.inner);
  for (int64_t i = scan.length - 1; i >= 0; --i) {
    const int64_t at = scan.at(i);
    settle_row(upstream + at, x + at, largest + at, scan.inner, waiting.data(), out + at);
  }
}

template <typename S>
void settle_line(const S* upstream, const S* x, const S* largest, const Scan& scan, S* out) {
  using T = Accumulate<S>;
  T waiting = 0;
  for (int64_t i = scan.length - 1; i >= 0; --i) {
    const int64_t at = scan.at(i);
    waiting += static_cast<T>(upstream[at]);
    const bool wins = is_winner(static_cast<T>(x[at]), static_cast<T>(largest[at]));
    out[at] = static_cast<S>(wins ? waiting : T(0));
    if (wins) waiting = 0;
  }
}

// Calls f(offset of a part) in parallel.
template <typename F>
void for_each_part(const Scan& scan, const F& f) {
  const int64_t part = scan.length * scan.inner;
  if (part == 0) return;
  torch::stable::parallel_for(0, scan.outer, 1 + 16384 / part, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i * part);
  });
}

template <typename S>
void forward(const Tensor& x, const Scan& scan, Tensor& out) {
  const auto pool = scan.inner == 1 ? pool_line<S> : pool_plane<S>;
  for_each_part(scan, [&](int64_t at) { pool(data<S>(x) + at, scan, mutable_data<S>(out) + at); });
}

template <typename S>
void backward(const Tensor& grad, const Tensor& x, const Tensor& largest, const Scan& scan, Tensor& out) {
  const auto settle = scan.inner == 1 ? settle_line<S> : settle_plane<S>;
  for_each_part(scan, [&](int64_t at) {
    settle(data<S>(grad) + at, data<S>(x) + at, data<S>(largest) + at, scan, mutable_data<S>(out) + at);
  });
}

Tensor corner_pool_cpu(const Tensor& x_in, int64_t dim, bool reverse) {
  const Tensor x = contiguous(x_in);
  const Scan scan = scan_of(x, dim, reverse);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  dispatch_floating(x.scalar_type(), "corner_pool",
                    [&](auto tag) { forward<typename decltype(tag)::type>(x, scan, out); });
  return out;
}

Tensor corner_pool_backward_cpu(const Tensor& grad_in, const Tensor& x_in, const Tensor& out_in, int64_t dim,
                                bool reverse) {
  const Tensor grad = contiguous(grad_in), x = contiguous(x_in), largest = contiguous(out_in);
  const Scan scan = scan_of(x, dim, reverse);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  dispatch_floating(x.scalar_type(), "corner_pool_backward",
                    [&](auto tag) { backward<typename decltype(tag)::type>(grad, x, largest, scan, out); });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def("corner_pool(Tensor x, int dim, bool reverse) -> Tensor");
  m.def("corner_pool_backward(Tensor grad, Tensor x, Tensor out, int dim, bool reverse) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("corner_pool", TORCH_BOX(&corner_pool_cpu));
  m.impl("corner_pool_backward", TORCH_BOX(&corner_pool_backward_cpu));
}

}  // namespace ops
