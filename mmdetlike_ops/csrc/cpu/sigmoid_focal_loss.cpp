// Sigmoid focal loss of logits against class indices, forward and backward in one pass each.
#include <algorithm>
#include <vector>

#include "common/focal.h"
#include "common/op.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

// The whole row as negatives: out = factor * loss, or factor * derivative.
template <typename T>
OPS_INLINE void negative_row_body(const T* x, int64_t n, T gamma, T factor, bool derivative, T* out) {
  if (derivative)
    for (int64_t i = 0; i < n; ++i) out[i] = factor * focal_negative(x[i], gamma).derivative;
  else
    for (int64_t i = 0; i < n; ++i) out[i] = factor * focal_negative(x[i], gamma).loss;
}

OPS_VECTORIZED void negative_row(const float* x, int64_t n, float gamma, float factor, bool derivative, float* out) {
  negative_row_body(x, n, gamma, factor, derivative, out);
}

OPS_VECTORIZED void negative_row(const double* x, int64_t n, double gamma, double factor, bool derivative,
                                 double* out) {
  negative_row_body(x, n, gamma, factor, derivative, out);
}

template <typename S>
struct Problem {
  using T = Accumulate<S>;
  const S* logits;
  const int64_t* labels;
  const S* upstream;  // null for the loss, else the gradient is wanted
  S* result;
  int64_t classes;
  T gamma, alpha;

  // `x` and `values` are scratch for `count` rows.
  void rows(int64_t first_row, int64_t count, std::vector<T>& x, std::vector<T>& values) const {
    const int64_t first = first_row * classes, n = count * classes;
    for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(logits[first + i]);
    negative_row(x.data(), n, gamma, T(1) - alpha, upstream != nullptr, values.data());
    for (int64_t row = 0; row < count; ++row) positive(labels[first_row + row], row * classes, x, values);
    for (int64_t i = 0; i < n; ++i)
      result[first + i] = static_cast<S>(upstream ? values[i] * static_cast<T>(upstream[first + i]) : values[i]);
  }

  void positive(int64_t label, int64_t row_start, const std::vector<T>& x, std::vector<T>& values) const {
    if (label < 0 || label >= classes) return;
    const auto f = focal_negative(-x[row_start + label], gamma);
    values[row_start + label] = upstream ? -alpha * f.derivative : alpha * f.loss;
  }
};

Tensor run(const Tensor* grad, const Tensor& input_in, const Tensor& target_in, double gamma, double alpha) {
  const Tensor input = contiguous(input_in), target = contiguous(target_in);
  const std::optional<Tensor> upstream = grad ? std::make_optional(contiguous(*grad)) : std::nullopt;
  Tensor out = torch::stable::new_empty(input, {input.size(0), input.size(1)});
  dispatch_floating(input.scalar_type(), "sigmoid_focal_loss", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const int64_t classes = input.size(1), chunk = 1 + 1024 / (classes + 1);
    const Problem<S> problem{data<S>(input),
                             data<int64_t>(target),
                             upstream ? data<S>(*upstream) : nullptr,
                             mutable_data<S>(out),
                             classes,
                             T(gamma),
                             T(alpha)};
    torch::stable::parallel_for(0, input.size(0), 4 * chunk, [&](int64_t begin, int64_t end) {
      std::vector<T> x(chunk * classes), values(chunk * classes);
      for (int64_t row = begin; row < end; row += chunk) problem.rows(row, std::min(chunk, end - row), x, values);
    });
  });
  return out;
}

Tensor sigmoid_focal_loss_cpu(const Tensor& input, const Tensor& target, double gamma, double alpha) {
  return run(nullptr, input, target, gamma, alpha);
}

Tensor sigmoid_focal_loss_backward_cpu(const Tensor& grad, const Tensor& input, const Tensor& target, double gamma,
                                       double alpha) {
  return run(&grad, input, target, gamma, alpha);
}

}  // namespace

OPS_REGISTER(m) {
  m.def("sigmoid_focal_loss(Tensor input, Tensor target, float gamma, float alpha) -> Tensor");
  m.def("sigmoid_focal_loss_backward(Tensor grad, Tensor input, Tensor target, float gamma, float alpha) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&sigmoid_focal_loss_cpu));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&sigmoid_focal_loss_backward_cpu));
}

}  // namespace ops
