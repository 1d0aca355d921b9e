// Sigmoid focal loss of logits against class indices: one thread a logit.
#include "common/focal.h"
#include "cuda/launch.h"

namespace ops {
namespace {

// The loss, or, given the upstream gradient, the gradient.
template <typename T, typename S>
__global__ void focal_kernel(const S* input, const int64_t* target, const S* upstream, int64_t count, int64_t classes,
                             T gamma, T alpha, S* out) {
  for_each_index(count, [&](int64_t i) {
    const bool positive = target[i / classes] == i % classes;
    const T x = static_cast<T>(input[i]);
    const auto f = focal_negative(positive ? -x : x, gamma);
    const T factor = positive ? alpha : T(1) - alpha;
    const T slope = positive ? -f.derivative : f.derivative;
    out[i] = static_cast<S>(upstream ? factor * slope * static_cast<T>(upstream[i]) : factor * f.loss);
  });
}

Tensor run(const Tensor* grad, const Tensor& input_in, const Tensor& target_in, double gamma, double alpha) {
  const Tensor input = contiguous(input_in), target = contiguous(target_in);
  const std::optional<Tensor> upstream = grad ? std::make_optional(contiguous(*grad)) : std::nullopt;
  Tensor out = torch::stable::new_empty(input, {input.size(0), input.size(1)});
  const Launcher launch(input);
  dispatch_floating(input.scalar_type(), "sigmoid_focal_loss", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(input.numel(), focal_kernel<T, S>, data<S>(input), data<int64_t>(target),
                       upstream ? data<S>(*upstream) : nullptr, input.numel(), input.size(1), T(gamma), T(alpha),
                       mutable_data<S>(out));
  });
  return out;
}

Tensor sigmoid_focal_loss_cuda(const Tensor& input, const Tensor& target, double gamma, double alpha) {
  return run(nullptr, input, target, gamma, alpha);
}

Tensor sigmoid_focal_loss_backward_cuda(const Tensor& grad, const Tensor& input, const Tensor& target, double gamma,
                                        double alpha) {
  return run(&grad, input, target, gamma, alpha);
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&sigmoid_focal_loss_cuda));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&sigmoid_focal_loss_backward_cuda));
}

}  // namespace ops
