// RoIAlign, forward and backward.
//
// Averaging is separable: the bilinear weights of all samples of a bin are a product of weights along y and x, merged
// once for each region. The largest sample is searched eight channels of one image at a time.
#include <array>

#include "cpu/bilinear.h"
#include "cpu/separable_pool.h"

namespace ops {
namespace {

struct Settings {
  int64_t bins_y, bins_x;
  double scale;
  int64_t sampling_ratio;
  bool max, aligned;

  int64_t bins() const { return bins_y * bins_x; }
};

template <typename T>
std::array<RoiAxis<T>, 2> region_axes(const T* roi, const Settings& s) {
  const int ratio = static_cast<int>(s.sampling_ratio);
  return {roi_axis<T>(roi[2], roi[4], T(s.scale), static_cast<int>(s.bins_y), ratio, s.aligned),
          roi_axis<T>(roi[1], roi[3], T(s.scale), static_cast<int>(s.bins_x), ratio, s.aligned)};
}

// The averaging weights of each bin along one axis.
template <typename T>
std::vector<Tap<T>> axis_taps(const RoiAxis<T>& axis, int64_t bins, int64_t length) {
  std::vector<Tap<T>> taps;
  for (int bin = 0; bin < bins; ++bin) add_samples(taps, axis, bin, static_cast<int>(length), false, bin);
  return taps;
}

template <typename T>
Pooling<T> average_pooling(const Tensor& rois, const MapShape& shape, const Settings& s) {
  const T* table = data<T>(rois);
  return make_pooling<T>(rois.size(0), 1, s.bins(), s.bins_x, [&](int64_t roi, int64_t) {
    const auto axes = region_axes(table + 5 * roi, s);
    return make_region(axis_taps(axes[0], s.bins_y, shape.height), axis_taps(axes[1], s.bins_x, shape.width));
  });
}

// Of one bin: the largest sample of each lane, and which it was; -1 for a bin without samples.
template <typename T>
OPS_INLINE void max_bin_body(const Block<const T>& map, const std::vector<Sample<T>>& ys,
                             const std::vector<Sample<T>>& xs, T* best, int32_t* which) {
  LaneMax<T> running;
  int32_t index = 0;
  T value[kLanes];
  for (const auto& y : ys)
    for (const auto& x : xs) {
      interpolate(map, y, x, value);
      running.see(value, index++);
    }
  running.finish(best, which);
}

OPS_VECTORIZED void max_bin(const Block<const float>& map, const std::vector<Sample<float>>& ys,
                            const std::vector<Sample<float>>& xs, float* best, int32_t* which) {
  max_bin_body(map, ys, xs, best, which);
}

OPS_VECTORIZED void max_bin(const Block<const double>& map, const std::vector<Sample<double>>& ys,
                            const std::vector<Sample<double>>& xs, double* best, int32_t* which) {
  max_bin_body(map, ys, xs, best, which);
}

template <typename T>
std::vector<Sample<T>> bin_samples(const RoiAxis<T>& axis, int64_t bin, int64_t length) {
  std::vector<Sample<T>> samples(axis.samples);
  for (int i = 0; i < axis.samples; ++i)
    samples[i] = sample_at(axis, static_cast<int>(bin), i, static_cast<int>(length));
  return samples;
}

// Calls f(bin, samples along y, samples along x) for each bin of a region.
template <typename T, typename F>
void for_each_bin(const T* roi, const MapShape& shape, const Settings& s, const F& f) {
  const auto axes = region_axes(roi, s);
  std::vector<std::vector<Sample<T>>> columns(s.bins_x);
  for (int64_t px = 0; px < s.bins_x; ++px) columns[px] = bin_samples(axes[1], px, shape.width);
  for (int64_t py = 0; py < s.bins_y; ++py) {
    const auto rows = bin_samples(axes[0], py, shape.height);
    for (int64_t px = 0; px < s.bins_x; ++px) f(py * s.bins_x + px, rows, columns[px]);
  }
}

template <typename S>
void forward_max(const Tensor& x, const Tensor& rois, const Settings& s, Tensor& out, Tensor& argmax) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_align");
  const T* table = data<T>(rois);
  S* result = mutable_data<S>(out);
  int32_t* winners = mutable_data<int32_t>(argmax);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    if (lists[image].empty()) return;
    const auto map = read_block<T, S>(x, image, channel, scratch);
    const int64_t lanes = std::min(kLanes, shape.channels - channel);
    std::vector<T> best(s.bins() * kLanes);
    std::vector<int32_t> which(s.bins() * kLanes);
    for (int64_t roi : lists[image]) {
      for_each_bin(table + 5 * roi, shape, s, [&](int64_t bin, const auto& ys, const auto& xs) {
        max_bin(map, ys, xs, best.data() + bin * kLanes, which.data() + bin * kLanes);
      });
      const int64_t at = (roi * shape.channels + channel) * s.bins();
      write_planes(best.data(), s.bins(), lanes, result + at);
      write_planes(which.data(), s.bins(), lanes, winners + at);
    }
  });
}

template <typename S>
void backward_max(const Tensor& grad, const Tensor& rois, const Tensor& argmax, const MapShape& shape,
                  const Settings& s, Tensor& out) {
  using T = Accumulate<S>;
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_align");
  const T* table = data<T>(rois);
  const S* upstream = data<S>(grad);
  const int32_t* winners = data<int32_t>(argmax);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    const int64_t lanes = std::min(kLanes, shape.channels - channel), area = shape.height * shape.width;
    std::fill(scratch.begin(), scratch.end(), T(0));
    const Block<T> map{scratch.data(), shape.width * kLanes, kLanes};
    for (int64_t roi : lists[image])
      for_each_bin(table + 5 * roi, shape, s, [&](int64_t bin, const auto& ys, const auto& xs) {
        if (ys.empty() || xs.empty()) return;
        for (int64_t c = 0; c < lanes; ++c) {
          const int64_t at = (roi * shape.channels + channel + c) * s.bins() + bin;
          scatter_sample(map, ys[winners[at] / xs.size()], xs[winners[at] % xs.size()], c,
                         static_cast<T>(upstream[at]));
        }
      });
    write_planes(scratch.data(), area, lanes, result + (image * shape.channels + channel) * area);
  });
}

std::tuple<Tensor, Tensor> roi_align_cpu(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x,
                                         double scale, int64_t sampling_ratio, bool max, bool aligned) {
  const Tensor rois = contiguous(rois_in);
  const Settings s{bins_y, bins_x, scale, sampling_ratio, max, aligned};
  Tensor out = torch::stable::new_empty(x, {rois.size(0), x.size(1), bins_y, bins_x});
  Tensor argmax = torch::stable::new_empty(x, {max ? rois.size(0) : 0, x.size(1), bins_y, bins_x}, ScalarType::Int);
  dispatch_floating(x.scalar_type(), "roi_align", [&](auto tag) {
    using S = typename decltype(tag)::type;
    if (max) return forward_max<S>(x, rois, s, out, argmax);
    using T = Accumulate<S>;
    const auto lists = rois_by_image<T>(rois, x.size(0), "roi_align");
    pool_regions<S>(x, lists, average_pooling<T>(rois, MapShape(x), s), out);
  });
  return {out, argmax};
}

Tensor roi_align_backward_cpu(const Tensor& grad_in, const Tensor& rois_in, const Tensor& argmax, int64_t images,
                              int64_t height, int64_t width, double scale, int64_t sampling_ratio, bool max,
                              bool aligned, bool /*deterministic: it always is*/) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const MapShape shape(images, grad.size(1), height, width);
  const Settings s{grad.size(2), grad.size(3), scale, sampling_ratio, max, aligned};
  Tensor out = torch::stable::new_empty(grad, {images, grad.size(1), height, width});
  dispatch_floating(grad.scalar_type(), "roi_align_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    if (max) return backward_max<S>(grad, rois, argmax, shape, s, out);
    using T = Accumulate<S>;
    const auto lists = rois_by_image<T>(rois, images, "roi_align");
    unpool_regions<S>(grad, lists, average_pooling<T>(rois, shape, s), shape, out);
  });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def(
      "roi_align(Tensor x, Tensor rois, SymInt bins_y, SymInt bins_x, float scale, int sampling_ratio, bool max, "
      "bool aligned) -> (Tensor, Tensor)");
  m.def(
      "roi_align_backward(Tensor grad, Tensor rois, Tensor argmax, SymInt images, SymInt height, SymInt width, "
      "float scale, int sampling_ratio, bool max, bool aligned, bool deterministic) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align_cpu));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward_cpu));
}

}  // namespace ops
