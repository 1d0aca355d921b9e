// RoIAlign, forward and backward: one thread an output.
#include "common/roi.h"
#include "cuda/feature_map.h"

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
__device__ __forceinline__ T interpolate(const FeatureMap<const S>& map, int64_t image, int64_t channel,
                                         const Sample<T>& y, const Sample<T>& x) {
  const T a = static_cast<T>(map.at(image, channel, y.low, x.low));
  const T b = static_cast<T>(map.at(image, channel, y.low, x.high));
  const T c = static_cast<T>(map.at(image, channel, y.high, x.low));
  const T d = static_cast<T>(map.at(image, channel, y.high, x.high));
  return y.weight_low * (x.weight_low * a + x.weight_high * b) + y.weight_high * (x.weight_low * c + x.weight_high * d);
}

// Calls f(index of the sample, y, x) for the samples of a bin.
template <typename T, typename F>
__device__ __forceinline__ void for_each_sample(const RoiAxis<T>& axis_y, const RoiAxis<T>& axis_x,
                                                const OutputIndex& o, int height, int width, const F& f) {
  for (int iy = 0; iy < axis_y.samples; ++iy) {
    const auto y = sample_at(axis_y, o.y, iy, height);
    for (int ix = 0; ix < axis_x.samples; ++ix) f(iy * axis_x.samples + ix, y, sample_at(axis_x, o.x, ix, width));
  }
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

template <typename T>
__device__ __forceinline__ void scatter(const FeatureMap<T>& map, int64_t image, int64_t channel, const Sample<T>& y,
                                        const Sample<T>& x, T grad) {
  atomicAdd(&map.at(image, channel, y.low, x.low), grad * y.weight_low * x.weight_low);
  atomicAdd(&map.at(image, channel, y.low, x.high), grad * y.weight_low * x.weight_high);
  atomicAdd(&map.at(image, channel, y.high, x.low), grad * y.weight_high * x.weight_low);
  atomicAdd(&map.at(image, channel, y.high, x.high), grad * y.weight_high * x.weight_high);
}

template <typename T, typename S>
__global__ void backward_kernel(const S* grad, const T* rois, const int32_t* argmax, OutputShape shape, int64_t count,
                                Settings s, FeatureMap<T> map) {
  for_each_index(count, [&](int64_t i) {
    const auto o = output_index(i, shape, false);
    const T* roi = rois + 5 * o.roi;
    const int64_t image = image_of(roi, map.images);
    if (image < 0) return;
    const auto axis_y = axis_of(roi[2], roi[4], shape.bins_y, s), axis_x = axis_of(roi[1], roi[3], shape.bins_x, s);
    if (axis_y.samples == 0 || axis_x.samples == 0) return;
    const T upstream = static_cast<T>(grad[o.flat]);
    if (s.max) {
      const int winner = argmax[o.flat];
      scatter(map, image, o.channel, sample_at(axis_y, o.y, winner / axis_x.samples, map.height),
              sample_at(axis_x, o.x, winner % axis_x.samples, map.width), upstream);
      return;
    }
    const T share = upstream / (static_cast<T>(axis_y.samples) * static_cast<T>(axis_x.samples));
    for_each_sample(axis_y, axis_x, o, map.height, map.width,
                    [&](int, const auto& y, const auto& x) { scatter(map, image, o.channel, y, x, share); });
  });
}

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

// Sums by atomic additions, so that the last bits differ from run to run.
Tensor roi_align_backward_cuda(const Tensor& grad_in, const Tensor& rois_in, const Tensor& argmax, int64_t images,
                               int64_t height, int64_t width, double scale, int64_t sampling_ratio, bool max,
                               bool aligned) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const OutputShape shape{grad.size(0), grad.size(1), static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  const Launcher launch(grad);
  Tensor out = grad;
  dispatch_floating(grad.scalar_type(), "roi_align_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sums = torch::stable::new_zeros(grad, {images, shape.channels, height, width}, accumulate_dtype<T>());
    launch.elementwise(shape.numel(), backward_kernel<T, S>, data<S>(grad), data<T>(rois), data<int32_t>(argmax), shape,
                       shape.numel(), Settings{scale, sampling_ratio, max, aligned}, write_map<T>(sums));
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
