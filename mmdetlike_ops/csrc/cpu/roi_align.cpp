// RoIAlign, forward and backward.
//
// One task computes eight channels of one image for all its regions, on a channels-last copy that stays in cache.
// Averaging is separable: the bilinear weights of all samples of a bin are a product of weights along y and x, merged
// once for each region, so every pixel is read once. In the backward pass the task owns its part of the gradient, so
// the result does not depend on the number of threads.
#include <array>

#include "common/roi.h"
#include "cpu/channel_block.h"

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
struct Tap {
  int pixel, bin;
  T weight;
};

template <typename T>
struct Region {
  std::vector<Tap<T>> rows, columns;  // rows by pixel, columns by bin and pixel
};

template <typename T>
std::array<RoiAxis<T>, 2> region_axes(const T* roi, const Settings& s) {
  const int ratio = static_cast<int>(s.sampling_ratio);
  return {roi_axis<T>(roi[2], roi[4], T(s.scale), static_cast<int>(s.bins_y), ratio, s.aligned),
          roi_axis<T>(roi[1], roi[3], T(s.scale), static_cast<int>(s.bins_x), ratio, s.aligned)};
}

template <typename T>
void add_tap(std::vector<Tap<T>>& taps, int pixel, int bin, T weight) {
  if (weight == T(0)) return;
  for (auto tap = taps.rbegin(); tap != taps.rend() && tap->bin == bin && tap->pixel >= pixel; ++tap)
    if (tap->pixel == pixel) {
      tap->weight += weight;
      return;
    }
  taps.push_back({pixel, bin, weight});
}

// The averaging weights of each bin along one axis.
template <typename T>
std::vector<Tap<T>> axis_taps(const RoiAxis<T>& axis, int64_t bins, int64_t length) {
  std::vector<Tap<T>> taps;
  for (int bin = 0; bin < bins; ++bin)
    for (int i = 0; i < axis.samples; ++i) {
      const auto s = sample_at(axis, bin, i, static_cast<int>(length));
      add_tap(taps, s.low, bin, s.weight_low / T(axis.samples));
      add_tap(taps, s.high, bin, s.weight_high / T(axis.samples));
    }
  return taps;
}

template <typename T>
Region<T> average_region(const T* roi, const MapShape& shape, const Settings& s) {
  const auto axes = region_axes(roi, s);
  Region<T> region{axis_taps(axes[0], s.bins_y, shape.height), axis_taps(axes[1], s.bins_x, shape.width)};
  std::stable_sort(region.rows.begin(), region.rows.end(),
                   [](const Tap<T>& a, const Tap<T>& b) { return a.pixel < b.pixel; });
  return region;
}

// line[bin] = sum over the bin's columns of weight * pixel
template <typename T>
OPS_INLINE void gather_line(const std::vector<Tap<T>>& columns, const T* pixels, int64_t step, T* line) {
  const Tap<T>*tap = columns.data(), *end = tap + columns.size();
  while (tap != end) {
    const int bin = tap->bin;
    Lanes<T> sum = {};
    for (; tap != end && tap->bin == bin; ++tap) {
      Lanes<T> pixel;
      load(pixel, pixels + tap->pixel * step);
      sum += tap->weight * pixel;
    }
    store(line + bin * kLanes, sum);
  }
}

template <typename T>
OPS_INLINE void add_scaled(T* to, const T* from, T weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    Lanes<T> a, b;
    load(a, to + i * kLanes);
    load(b, from + i * kLanes);
    a += weight * b;
    store(to + i * kLanes, a);
  }
}

// bins, zeroed, receive the averages; line is a zeroed row of bins.
template <typename T>
OPS_INLINE void pool_body(const Region<T>& region, const Block<const T>& map, int64_t width, T* line, T* bins) {
  int row = -1;
  for (const Tap<T>& tap : region.rows) {
    if (tap.pixel != row) gather_line(region.columns, map.data + tap.pixel * map.row, map.column, line);
    row = tap.pixel;
    add_scaled(bins + tap.bin * width * kLanes, line, tap.weight, width);
  }
}

OPS_VECTORIZED void pool(const Region<float>& r, const Block<const float>& m, int64_t w, float* line, float* bins) {
  pool_body(r, m, w, line, bins);
}

OPS_VECTORIZED void pool(const Region<double>& r, const Block<const double>& m, int64_t w, double* line, double* bins) {
  pool_body(r, m, w, line, bins);
}

template <typename T>
OPS_INLINE void scatter_line(const std::vector<Tap<T>>& columns, const T* line, T* pixels) {
  for (const Tap<T>& tap : columns) add_scaled(pixels + tap.pixel * kLanes, line + tap.bin * kLanes, tap.weight, 1);
}

// The transpose of pool_body: `bins` hold gradients, `map` receives them.
template <typename T>
OPS_INLINE void unpool_body(const Region<T>& region, const Block<T>& map, int64_t width, T* line, const T* bins) {
  for (size_t i = 0; i < region.rows.size();) {
    const int row = region.rows[i].pixel;
    std::fill(line, line + width * kLanes, T(0));
    for (; i < region.rows.size() && region.rows[i].pixel == row; ++i)
      add_scaled(line, bins + region.rows[i].bin * width * kLanes, region.rows[i].weight, width);
    scatter_line(region.columns, line, map.data + row * map.row);
  }
}

OPS_VECTORIZED void unpool(const Region<float>& r, const Block<float>& m, int64_t w, float* line, const float* bins) {
  unpool_body(r, m, w, line, bins);
}

OPS_VECTORIZED void unpool(const Region<double>& r, const Block<double>& m, int64_t w, double* line,
                           const double* bins) {
  unpool_body(r, m, w, line, bins);
}

template <typename T>
OPS_INLINE void interpolate(const Block<const T>& map, const Sample<T>& y, const Sample<T>& x, T* value) {
  const T *top = map.data + y.low * map.row, *bottom = map.data + y.high * map.row;
  Lanes<T> a, b, c, d;
  load(a, top + x.low * map.column);
  load(b, top + x.high * map.column);
  load(c, bottom + x.low * map.column);
  load(d, bottom + x.high * map.column);
  a = y.weight_low * (x.weight_low * a + x.weight_high * b) + y.weight_high * (x.weight_low * c + x.weight_high * d);
  store(value, a);
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

template <typename T>
std::vector<Region<T>> average_regions(const Tensor& rois, const MapShape& shape, const Settings& s) {
  std::vector<Region<T>> regions(rois.size(0));
  const T* table = data<T>(rois);
  torch::stable::parallel_for(0, rois.size(0), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) regions[i] = average_region(table + 5 * i, shape, s);
  });
  return regions;
}

template <typename S>
void forward_average(const Tensor& x, const Tensor& rois, const Settings& s, Tensor& out) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_align");
  const auto regions = average_regions<T>(rois, shape, s);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    if (lists[image].empty()) return;
    const auto map = read_block<T, S>(x, image, channel, scratch);
    std::vector<T> line(s.bins_x * kLanes), bins(s.bins() * kLanes);
    for (int64_t roi : lists[image]) {
      std::fill(bins.begin(), bins.end(), T(0));
      std::fill(line.begin(), line.end(), T(0));
      pool(regions[roi], map, s.bins_x, line.data(), bins.data());
      write_planes(bins.data(), s.bins(), std::min(kLanes, shape.channels - channel),
                   result + (roi * shape.channels + channel) * s.bins());
    }
  });
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
void backward_average(const Tensor& grad, const Tensor& rois, const MapShape& shape, const Settings& s, Tensor& out) {
  using T = Accumulate<S>;
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_align");
  const auto regions = average_regions<T>(rois, shape, s);
  const S* upstream = data<S>(grad);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    const int64_t lanes = std::min(kLanes, shape.channels - channel), area = shape.height * shape.width;
    std::fill(scratch.begin(), scratch.end(), T(0));
    const Block<T> map{scratch.data(), shape.width * kLanes, kLanes};
    std::vector<T> line(s.bins_x * kLanes), bins(s.bins() * kLanes);
    for (int64_t roi : lists[image]) {
      read_planes(upstream + (roi * shape.channels + channel) * s.bins(), s.bins(), lanes, bins.data());
      unpool(regions[roi], map, s.bins_x, line.data(), bins.data());
    }
    write_planes(scratch.data(), area, lanes, result + (image * shape.channels + channel) * area);
  });
}

template <typename T>
void scatter_sample(const Block<T>& map, const Sample<T>& y, const Sample<T>& x, int64_t lane, T grad) {
  T *top = map.data + y.low * map.row + lane, *bottom = map.data + y.high * map.row + lane;
  top[x.low * map.column] += grad * y.weight_low * x.weight_low;
  top[x.high * map.column] += grad * y.weight_low * x.weight_high;
  bottom[x.low * map.column] += grad * y.weight_high * x.weight_low;
  bottom[x.high * map.column] += grad * y.weight_high * x.weight_high;
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
    max ? forward_max<S>(x, rois, s, out, argmax) : forward_average<S>(x, rois, s, out);
  });
  return {out, argmax};
}

Tensor roi_align_backward_cpu(const Tensor& grad_in, const Tensor& rois_in, const Tensor& argmax, int64_t images,
                              int64_t height, int64_t width, double scale, int64_t sampling_ratio, bool max,
                              bool aligned) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const MapShape shape(images, grad.size(1), height, width);
  const Settings s{grad.size(2), grad.size(3), scale, sampling_ratio, max, aligned};
  Tensor out = torch::stable::new_empty(grad, {images, grad.size(1), height, width});
  dispatch_floating(grad.scalar_type(), "roi_align_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    max ? backward_max<S>(grad, rois, argmax, shape, s, out) : backward_average<S>(grad, rois, shape, s, out);
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
      "float scale, int sampling_ratio, bool max, bool aligned) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align_cpu));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward_cpu));
}

}  // namespace ops
