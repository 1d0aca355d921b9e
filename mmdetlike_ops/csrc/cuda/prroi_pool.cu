// Precise RoI pooling, forward and backward: one thread an output, one block the corners of a region.
#include "common/prroi.h"
#include "cuda/reduce.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

template <typename S>
struct Problem {
  using T = Accumulate<S>;
  using Sum = T;

  const T* rois;
  OutputShape shape;
  T scale;

  // Calls f(y, x, spans of the bin) for the pixels that reach into a bin.
  template <typename F>
  __device__ void for_each_pixel(const OutputIndex& o, int height, int width, const F& f) const {
    const T* roi = rois + 5 * o.roi;
    const auto span_y = bin_span(roi[2], roi[4], scale, shape.bins_y, o.y);
    const auto span_x = bin_span(roi[1], roi[3], scale, shape.bins_x, o.x);
    const auto ys = span_y.pixels(height), xs = span_x.pixels(width);
    for (int y = ys.begin; y < ys.end; ++y)
      for (int x = xs.begin; x < xs.end; ++x) f(y, x, span_y, span_x);
  }
};

template <typename S>
__global__ void forward_kernel(FeatureMap<const S> map, Problem<S> p, bool channels_last, S* out) {
  using T = Accumulate<S>;
  for_each_index(p.shape.numel(), [&](int64_t i) {
    const auto o = output_index(i, p.shape, channels_last);
    const int64_t image = image_of(p.rois + 5 * o.roi, map.images);
    T value = 0;
    if (image >= 0)
      p.for_each_pixel(o, map.height, map.width, [&](int y, int x, const Span<T>& span_y, const Span<T>& span_x) {
        value += span_y.weight(y) * span_x.weight(x) * static_cast<T>(map.at(image, o.channel, y, x));
      });
    out[o.flat] = static_cast<S>(value);
  });
}

template <typename S>
struct Backward : Problem<S> {
  using T = Accumulate<S>;

  const S* grad;
  FeatureMap<T> map;

  Backward(const Problem<S>& problem, const S* grad, const FeatureMap<T>& map)
      : Problem<S>(problem), grad(grad), map(map) {}

  __device__ int64_t image(int64_t roi) const { return image_of(this->rois + 5 * roi, map.images); }

  template <typename Add>
  __device__ void scatter(const OutputIndex& o, const Add& add) const {
    const T upstream = static_cast<T>(grad[o.flat]);
    this->for_each_pixel(o, map.height, map.width, [&](int y, int x, const Span<T>& span_y, const Span<T>& span_x) {
      add(y, x, upstream * span_y.weight(y) * span_x.weight(x));
    });
  }
};

// One block a region; its threads share the outputs.
template <typename S>
__global__ void rois_gradient_kernel(FeatureMap<const S> map, Problem<S> p, const S* grad, Accumulate<S>* out) {
  using T = Accumulate<S>;
  const int64_t roi = blockIdx.x, image = image_of(p.rois + 5 * roi, map.images);
  const OutputShape one{1, p.shape.channels, p.shape.bins_y, p.shape.bins_x};
  T sums[4] = {T(0), T(0), T(0), T(0)};
  for (int64_t i = threadIdx.x; image >= 0 && i < one.numel(); i += blockDim.x) {
    auto o = output_index(i, one, false);
    o.roi = roi;
    const T upstream = static_cast<T>(grad[roi * one.numel() + i]);
    p.for_each_pixel(o, map.height, map.width, [&](int y, int x, const Span<T>& span_y, const Span<T>& span_x) {
      const T value = upstream * static_cast<T>(map.at(image, o.channel, y, x));
      const T weight_y = span_y.weight(y), weight_x = span_x.weight(x);
      sums[0] += value * weight_y * span_weight(span_x, x, o.x, one.bins_x, By::kFirst);
      sums[1] += value * weight_x * span_weight(span_y, y, o.y, one.bins_y, By::kFirst);
      sums[2] += value * weight_y * span_weight(span_x, x, o.x, one.bins_x, By::kSecond);
      sums[3] += value * weight_x * span_weight(span_y, y, o.y, one.bins_y, By::kSecond);
    });
  }
  for (int k = 0; k < 4; ++k) {
    const T sum = block_sum(sums[k]);
    if (threadIdx.x == 0) out[5 * roi + 1 + k] = sum * p.scale;
  }
  if (threadIdx.x == 0) out[5 * roi] = T(0);
}

Tensor prroi_pool_cuda(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x, double scale) {
  const Tensor rois = contiguous(rois_in);
  const OutputShape shape{rois.size(0), x.size(1), static_cast<int>(bins_y), static_cast<int>(bins_x)};
  Tensor out = torch::stable::new_empty(x, {shape.rois, shape.channels, bins_y, bins_x});
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "prroi_pool", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(shape.numel(), forward_kernel<S>, read_map<S>(x), Problem<S>{data<T>(rois), shape, T(scale)},
                       x.stride(1) == 1, mutable_data<S>(out));
  });
  return out;
}

std::tuple<Tensor, Tensor> prroi_pool_backward_cuda(const Tensor& grad_in, const Tensor& x, const Tensor& rois_in,
                                                    double scale, bool with_rois, bool deterministic) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const OutputShape shape{grad.size(0), grad.size(1), static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  Tensor grad_x = grad, grad_rois = torch::stable::new_empty(rois, {with_rois ? shape.rois : 0, 5});
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "prroi_pool_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const Problem<S> problem{data<T>(rois), shape, T(scale)};
    Tensor sums = torch::stable::new_zeros(grad, {x.size(0), x.size(1), x.size(2), x.size(3)}, accumulate_dtype<T>());
    scatter(launch, Backward<S>(problem, data<S>(grad), write_map<T>(sums)), deterministic);
    grad_x = cast<S>(launch, sums, grad);
    if (with_rois && shape.rois > 0)
      launch(rois_gradient_kernel<S>, dim3(static_cast<unsigned>(shape.rois)), kReduceThreads, read_map<S>(x), problem,
             data<S>(grad), mutable_data<T>(grad_rois));
  });
  return {grad_x, grad_rois};
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("prroi_pool", TORCH_BOX(&prroi_pool_cuda));
  m.impl("prroi_pool_backward", TORCH_BOX(&prroi_pool_backward_cuda));
}

}  // namespace ops
