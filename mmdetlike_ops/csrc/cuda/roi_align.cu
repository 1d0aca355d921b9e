// RoIAlign, forward and backward: one thread an output.
#include "cuda/bilinear.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

struct Settings {
  double scale;
  int64_t sampling_ratio;
  bool max, aligned;
};

template <typename T>
__device__ __forceinline__ RoiAxis<T> axis_of(T from, T to, int bins, const Settings& s) {
  return roi_axis<T>(from, to, T(s.scale), bins, static_cast<int>(s.sampling_ratio), s.aligned);
}

template <typename T, typename S>
__global__ void forward_kernel(FeatureMap<const S> map, const T* rois, OutputShape shape, int64_t count, Settings s,
                               bool channels_last, S* out, int32_t* argmax) {
  for_each_index(count, [&](int64_t i) {
    const auto o = output_index(i, shape, channels_last);
    const T* roi = rois + 5 * o.roi;
    const int64_t image = image_of(roi, map.images);
    const auto axis_y = axis_of(roi[2], roi[4], shape.bins_y, s), axis_x = axis_of(roi[1], roi[3], shape.bins_x, s);
    T value = 0;
    int32_t winner = -1;
    if (image >= 0)
      for_each_sample(axis_y, axis_x, o, map.height, map.width, [&](int sample, const auto& y, const auto& x) {
        const T v = interpolate(map, image, o.channel, y, x);
        if (!s.max) value += v;
        if (s.max && (sample == 0 || v > value)) value = v, winner = sample;
      });
    const T samples = static_cast<T>(axis_y.samples) * static_cast<T>(axis_x.samples);
    out[o.flat] = static_cast<S>(s.max || !(samples > T(0)) ? value : value / samples);
    if (s.max) argmax[o.flat] = winner;
  });
}

template <typename S>
struct Backward {
  using Sum = Accumulate<S>;

  const S* grad;
  const Sum* rois;
  const int32_t* argmax;
  OutputShape shape;
  Settings s;
  FeatureMap<Sum> map;

  __device__ int64_t image(int64_t roi) const { return image_of(rois + 5 * roi, map.images); }

  template <typename Add>
  __device__ void scatter(const OutputIndex& o, const Add& add) const {
    const Sum* roi = rois + 5 * o.roi;
    const auto axis_y = axis_of(roi[2], roi[4], shape.bins_y, s), axis_x = axis_of(roi[1], roi[3], shape.bins_x, s);
    if (axis_y.samples == 0 || axis_x.samples == 0) return;
    const Sum upstream = static_cast<Sum>(grad[o.flat]);
    if (s.max) {
      const int winner = argmax[o.flat];
      add_sample(add, sample_at(axis_y, o.y, winner / axis_x.samples, map.height),
                 sample_at(axis_x, o.x, winner % axis_x.samples, map.width), upstream);
      return;
    }
    const Sum share = upstream / (static_cast<Sum>(axis_y.samples) * static_cast<Sum>(axis_x.samples));
    for_each_sample(axis_y, axis_x, o, map.height, map.width,
                    [&](int, const auto& y, const auto& x) { add_sample(add, y, x, share); });
  }
};

std::tuple<Tensor, Tensor> roi_align_cuda(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x,
                                          double scale, int64_t sampling_ratio, bool max, bool aligned) {
  const Tensor rois = contiguous(rois_in);
  const OutputShape shape{rois.size(0), x.size(1), static_cast<int>(bins_y), static_cast<int>(bins_x)};
  Tensor out = torch::stable::new_empty(x, {shape.rois, shape.channels, bins_y, bins_x});
  Tensor argmax = torch::stable::new_empty(x, {max ? shape.rois : 0, shape.channels, bins_y, bins_x}, ScalarType::Int);
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "roi_align", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(shape.numel(), forward_kernel<T, S>, read_map<S>(x), data<T>(rois), shape, shape.numel(),
                       Settings{scale, sampling_ratio, max, aligned}, x.stride(1) == 1, mutable_data<S>(out),
                       mutable_data<int32_t>(argmax));
  });
  return {out, argmax};
}

Tensor roi_align_backward_cuda(const Tensor& grad_in, const Tensor& rois_in, const Tensor& argmax, int64_t images,
                               int64_t height, int64_t width, double scale, int64_t sampling_ratio, bool max,
                               bool aligned, bool deterministic) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const OutputShape shape{grad.size(0), grad.size(1), static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  const Launcher launch(grad);
  Tensor out = grad;
  dispatch_floating(grad.scalar_type(), "roi_align_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sums = torch::stable::new_zeros(grad, {images, shape.channels, height, width}, accumulate_dtype<T>());
    scatter(launch,
            Backward<S>{data<S>(grad), data<T>(rois), data<int32_t>(argmax), shape,
                        Settings{scale, sampling_ratio, max, aligned}, write_map<T>(sums)},
            deterministic);
    out = cast<S>(launch, sums, grad);
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align_cuda));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward_cuda));
}

}  // namespace ops
