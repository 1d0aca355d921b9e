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

template <typename T>
OPS_INLINE void larger_row_body(const T* x, const T* before, int64_t count, T* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = takes_over(x[i], before[i]) ? x[i] : before[i];
}

OPS_VECTORIZED void larger_row(const float* x, const float* before, int64_t count, float* out) {
  larger_row_body(x, before, count, out);
}

OPS_VECTORIZED void larger_row(const double* x, const double* before, int64_t count, double* out) {
  larger_row_body(x, before, count, out);
}

// Adds the upstream gradient to `waiting`, and moves that to `out` where x was the largest.
template <typename T>
OPS_INLINE void settle_row_body(const T* upstream, const T* x, const T* largest, int64_t count, T* waiting, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    const T sum = waiting[i] + upstream[i];
    const bool wins = is_winner(x[i], largest[i]);
    out[i] = wins ? sum : T(0);
    waiting[i] = wins ? T(0) : sum;
  }
}

OPS_VECTORIZED void settle_row(const float* upstream, const float* x, const float* largest, int64_t count,
                               float* waiting, float* out) {
  settle_row_body(upstream, x, largest, count, waiting, out);
}

OPS_VECTORIZED void settle_row(const double* upstream, const double* x, const double* largest, int64_t count,
                               double* waiting, double* out) {
  settle_row_body(upstream, x, largest, count, waiting, out);
}

template <typename T>
void pool_plane(const T* x, const Scan& scan, T* out) {
  std::copy_n(x + scan.at(0), scan.inner, out + scan.at(0));
  for (int64_t i = 1; i < scan.length; ++i)
    larger_row(x + scan.at(i), out + scan.at(i - 1), scan.inner, out + scan.at(i));
}

template <typename T>
void pool_line(const T* x, const Scan& scan, T* out) {
  T largest = x[scan.at(0)];
  for (int64_t i = 0; i < scan.length; ++i) {
    const T value = x[scan.at(i)];
    if (takes_over(value, largest)) largest = value;
    out[scan.at(i)] = largest;
  }
}

template <typename T>
void settle_plane(const T* upstream, const T* x, const T* largest, const Scan& scan, T* out) {
  std::vector<T> waiting(scan.inner);
  for (int64_t i = scan.length - 1; i >= 0; --i) {
    const int64_t at = scan.at(i);
    settle_row(upstream + at, x + at, largest + at, scan.inner, waiting.data(), out + at);
  }
}

template <typename T>
void settle_line(const T* upstream, const T* x, const T* largest, const Scan& scan, T* out) {
  T waiting = 0;
  for (int64_t i = scan.length - 1; i >= 0; --i) {
    const int64_t at = scan.at(i);
    waiting += upstream[at];
    const bool wins = is_winner(x[at], largest[at]);
    out[at] = wins ? waiting : T(0);
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

template <typename T>
void forward(const Tensor& x, const Scan& scan, Tensor& out) {
  const auto pool = scan.inner == 1 ? pool_line<T> : pool_plane<T>;
  for_each_part(scan, [&](int64_t at) { pool(data<T>(x) + at, scan, mutable_data<T>(out) + at); });
}

template <typename T>
void backward(const Tensor& grad, const Tensor& x, const Tensor& largest, const Scan& scan, Tensor& out) {
  const auto settle = scan.inner == 1 ? settle_line<T> : settle_plane<T>;
  for_each_part(scan, [&](int64_t at) {
    settle(data<T>(grad) + at, data<T>(x) + at, data<T>(largest) + at, scan, mutable_data<T>(out) + at);
  });
}

Tensor corner_pool_cpu(const Tensor& x_in, int64_t dim, bool reverse) {
  const Tensor x = as_accumulate(x_in);
  const Scan scan = scan_of(x, dim, reverse);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  x.scalar_type() == ScalarType::Double ? forward<double>(x, scan, out) : forward<float>(x, scan, out);
  return torch::stable::to(out, x_in.scalar_type());
}

Tensor corner_pool_backward_cpu(const Tensor& grad_in, const Tensor& x_in, const Tensor& out_in, int64_t dim,
                                bool reverse) {
  const Tensor grad = as_accumulate(grad_in), x = as_accumulate(x_in), largest = as_accumulate(out_in);
  const Scan scan = scan_of(x, dim, reverse);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  x.scalar_type() == ScalarType::Double ? backward<double>(grad, x, largest, scan, out)
                                        : backward<float>(grad, x, largest, scan, out);
  return torch::stable::to(out, x_in.scalar_type());
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
