// Deformable RoI pooling, forward and backward: one thread an output, one block an offset.
#include "cuda/bilinear.h"
#include "cuda/reduce.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

template <typename T>
struct Axes {
  RoiAxis<T> y, x;

  __device__ T samples() const { return T(y.samples) * T(x.samples); }
};

template <typename S>
struct Problem {
  using T = Accumulate<S>;
  using Sum = T;

  const T *rois, *offsets;  // offsets (rois, 2, bins): along x, along y
  OutputShape shape;
  T scale, gamma;
  int sampling_ratio;

  __device__ Axes<T> unmoved(int64_t roi) const {
    const T* box = rois + 5 * roi;
    return {roi_axis<T>(box[2], box[4], scale, shape.bins_y, sampling_ratio, true),
            roi_axis<T>(box[1], box[3], scale, shape.bins_x, sampling_ratio, true)};
  }

  // Of a bin, moved by its offset.
  __device__ Axes<T> axes(int64_t roi, int y, int x) const {
    const int bins = shape.bins_y * shape.bins_x;
    const T* offset = offsets + 2 * roi * bins + y * shape.bins_x + x;
    const auto a = unmoved(roi);
    return {shifted_axis(a.y, shape.bins_y, gamma, offset[bins]), shifted_axis(a.x, shape.bins_x, gamma, offset[0])};
  }
};

template <typename S>
__global__ void forward_kernel(FeatureMap<const S> map, Problem<S> p, bool channels_last, S* out) {
  using T = Accumulate<S>;
  for_each_index(p.shape.numel(), [&](int64_t i) {
    const auto o = output_index(i, p.shape, channels_last);
    const int64_t image = image_of(p.rois + 5 * o.roi, map.images);
    const auto axes = p.axes(o.roi, o.y, o.x);
    T value = 0;
    if (image >= 0)
      for_each_sample(axes.y, axes.x, o, map.height, map.width,
                      [&](int, const auto& y, const auto& x) { value += interpolate(map, image, o.channel, y, x); });
    out[o.flat] = static_cast<S>(axes.samples() > T(0) ? value / axes.samples() : value);
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
    const auto axes = this->axes(o.roi, o.y, o.x);
    if (!(axes.samples() > T(0))) return;
    const T share = static_cast<T>(grad[o.flat]) / axes.samples();
    for_each_sample(axes.y, axes.x, o, map.height, map.width,
                    [&](int, const auto& y, const auto& x) { add_sample(add, y, x, share); });
  }
};

template <typename T>
struct Shift {
  T y, x;
};

// The derivative of one output by the place of its bin.
template <typename S, typename T>
__device__ Shift<T> derivative(const FeatureMap<const S>& map, int64_t image, const OutputIndex& o,
                               const Axes<T>& axes) {
  Shift<T> sum{T(0), T(0)};
  for (int iy = 0; iy < axes.y.samples; ++iy) {
    const T at_y = sample_position(axes.y, o.y, iy);
    const auto y = bilinear(at_y, map.height), slope_y = bilinear_slope(at_y, map.height);
    for (int ix = 0; ix < axes.x.samples; ++ix) {
      const T at_x = sample_position(axes.x, o.x, ix);
      sum.y += interpolate(map, image, o.channel, slope_y, bilinear(at_x, map.width));
      sum.x += interpolate(map, image, o.channel, y, bilinear_slope(at_x, map.width));
    }
  }
  return sum;
}

// One block a bin of a region; its threads share the channels.
template <typename S>
__global__ void offset_gradient_kernel(FeatureMap<const S> map, Problem<S> p, const S* grad, Accumulate<S>* out) {
  using T = Accumulate<S>;
  const int bins = p.shape.bins_y * p.shape.bins_x, bin = static_cast<int>(blockIdx.x % bins);
  const int64_t roi = blockIdx.x / bins, image = image_of(p.rois + 5 * roi, map.images);
  const int y = bin / p.shape.bins_x, x = bin % p.shape.bins_x;
  const auto axes = p.axes(roi, y, x), unmoved = p.unmoved(roi);
  Shift<T> sum{T(0), T(0)};
  for (int64_t c = threadIdx.x; image >= 0 && c < p.shape.channels; c += blockDim.x) {
    const OutputIndex o{roi, c, (roi * p.shape.channels + c) * bins + bin, y, x};
    const auto d = derivative(map, image, o, axes);
    sum.y += static_cast<T>(grad[o.flat]) * d.y;
    sum.x += static_cast<T>(grad[o.flat]) * d.x;
  }
  sum = {block_sum(sum.y), block_sum(sum.x)};
  if (threadIdx.x != 0) return;
  const T share = axes.samples() > T(0) ? p.gamma / axes.samples() : T(0);
  out[2 * roi * bins + bin] = sum.x * share * (unmoved.x.bin_size * T(p.shape.bins_x));
  out[(2 * roi + 1) * bins + bin] = sum.y * share * (unmoved.y.bin_size * T(p.shape.bins_y));
}

template <typename S>
Problem<S> make_problem(const Tensor& x, const Tensor& rois, const Tensor& offset, double scale, int64_t sampling_ratio,
                        double gamma) {
  using T = Accumulate<S>;
  return {data<T>(rois),
          data<T>(offset),
          OutputShape{rois.size(0), x.size(1), static_cast<int>(offset.size(2)), static_cast<int>(offset.size(3))},
          T(scale),
          T(gamma),
          static_cast<int>(sampling_ratio)};
}

Tensor deform_roi_pool_cuda(const Tensor& x, const Tensor& rois_in, const Tensor& offset_in, double scale,
                            int64_t sampling_ratio, double gamma) {
  const Tensor rois = contiguous(rois_in), offset = contiguous(offset_in);
  Tensor out = torch::stable::new_empty(x, {rois.size(0), x.size(1), offset.size(2), offset.size(3)});
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "deform_roi_pool", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(out.numel(), forward_kernel<S>, read_map<S>(x),
                       make_problem<S>(x, rois, offset, scale, sampling_ratio, gamma), x.stride(1) == 1,
                       mutable_data<S>(out));
  });
  return out;
}

std::tuple<Tensor, Tensor> deform_roi_pool_backward_cuda(const Tensor& grad_in, const Tensor& x, const Tensor& rois_in,
                                                         const Tensor& offset_in, double scale, int64_t sampling_ratio,
                                                         double gamma, bool deterministic) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in), offset = contiguous(offset_in);
  Tensor grad_x = grad;
  Tensor grad_offset = torch::stable::new_empty(offset, {offset.size(0), 2, offset.size(2), offset.size(3)});
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "deform_roi_pool_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const auto problem = make_problem<S>(x, rois, offset, scale, sampling_ratio, gamma);
    Tensor sums = torch::stable::new_zeros(grad, {x.size(0), x.size(1), x.size(2), x.size(3)}, accumulate_dtype<T>());
    scatter(launch, Backward<S>(problem, data<S>(grad), write_map<T>(sums)), deterministic);
    grad_x = cast<S>(launch, sums, grad);
    const int64_t blocks = grad_offset.numel() / 2;
    if (blocks > 0)
      launch(offset_gradient_kernel<S>, dim3(static_cast<unsigned>(blocks)), kReduceThreads, read_map<S>(x), problem,
             data<S>(grad), mutable_data<T>(grad_offset));
  });
  return {grad_x, grad_offset};
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("deform_roi_pool", TORCH_BOX(&deform_roi_pool_cuda));
  m.impl("deform_roi_pool_backward", TORCH_BOX(&deform_roi_pool_backward_cuda));
}

}  // namespace ops
