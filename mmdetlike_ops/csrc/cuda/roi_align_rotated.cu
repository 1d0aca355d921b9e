// RoIAlign of rotated regions, forward and backward: one thread an output.
#include "common/rotated_roi.h"
#include "cuda/bilinear.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

template <typename T, typename S>
__global__ void forward_kernel(FeatureMap<const S> map, const T* rois, OutputShape shape, int64_t count,
                               RotatedSettings s, bool channels_last, S* out) {
  for_each_index(count, [&](int64_t i) {
    const auto o = output_index(i, shape, channels_last);
    const T* roi = rois + 6 * o.roi;
    const int64_t image = image_of(roi, map.images);
    const auto region = rotated_region(roi, s);
    T sum = 0;
    if (image >= 0)
      for_each_rotated_sample(region, o.y, o.x, map.height, map.width,
                              [&](const auto& y, const auto& x) { sum += interpolate(map, image, o.channel, y, x); });
    out[o.flat] = static_cast<S>(sum / region.samples());
  });
}

template <typename S>
struct Backward {
  using Sum = Accumulate<S>;

  const S* grad;
  const Sum* rois;
  OutputShape shape;
  RotatedSettings s;
  FeatureMap<Sum> map;

  __device__ int64_t image(int64_t roi) const { return image_of(rois + 6 * roi, map.images); }

  template <typename Add>
  __device__ void scatter(const OutputIndex& o, const Add& add) const {
    const auto region = rotated_region(rois + 6 * o.roi, s);
    const Sum share = static_cast<Sum>(grad[o.flat]) / region.samples();
    for_each_rotated_sample(region, o.y, o.x, map.height, map.width,
                            [&](const auto& y, const auto& x) { add_sample(add, y, x, share); });
  }
};

RotatedSettings settings_of(const OutputShape& shape, double scale, int64_t ratio, bool aligned, bool clockwise) {
  return {shape.bins_y, shape.bins_x, scale, static_cast<int>(ratio), aligned, clockwise};
}

Tensor roi_align_rotated_cuda(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x, double scale,
                              int64_t sampling_ratio, bool aligned, bool clockwise) {
  const Tensor rois = contiguous(rois_in);
  const OutputShape shape{rois.size(0), x.size(1), static_cast<int>(bins_y), static_cast<int>(bins_x)};
  Tensor out = torch::stable::new_empty(x, {shape.rois, shape.channels, bins_y, bins_x});
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "roi_align_rotated", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(shape.numel(), forward_kernel<T, S>, read_map<S>(x), data<T>(rois), shape, shape.numel(),
                       settings_of(shape, scale, sampling_ratio, aligned, clockwise), x.stride(1) == 1,
                       mutable_data<S>(out));
  });
  return out;
}

Tensor roi_align_rotated_backward_cuda(const Tensor& grad_in, const Tensor& rois_in, int64_t images, int64_t height,
                                       int64_t width, double scale, int64_t sampling_ratio, bool aligned,
                                       bool clockwise, bool deterministic) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const OutputShape shape{grad.size(0), grad.size(1), static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  const auto s = settings_of(shape, scale, sampling_ratio, aligned, clockwise);
  const Launcher launch(grad);
  Tensor out = grad;
  dispatch_floating(grad.scalar_type(), "roi_align_rotated_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sums = torch::stable::new_zeros(grad, {images, shape.channels, height, width}, accumulate_dtype<T>());
    scatter(launch, Backward<S>{data<S>(grad), data<T>(rois), shape, s, write_map<T>(sums)}, deterministic);
    out = cast<S>(launch, sums, grad);
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("roi_align_rotated", TORCH_BOX(&roi_align_rotated_cuda));
  m.impl("roi_align_rotated_backward", TORCH_BOX(&roi_align_rotated_backward_cuda));
}

}  // namespace ops
