// Pooling of regions whose weights are a product of weights along y and x, and its transpose.
//
// One task computes eight channels of one image for all its regions, on a channels-last copy that stays in cache; every
// pixel is read once for a region. In the backward pass a task owns its part of the gradient, so the result does not
// depend on the number of threads.
#pragma once

#include <utility>

#include "common/roi.h"
#include "cpu/channel_block.h"

namespace ops {

// The weight of a row or column of pixels in a row or column of bins.
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
void add_tap(std::vector<Tap<T>>& taps, int pixel, int bin, T weight) {
  if (weight == T(0)) return;
  for (auto tap = taps.rbegin(); tap != taps.rend() && tap->bin == bin && tap->pixel >= pixel; ++tap)
    if (tap->pixel == pixel) {
      tap->weight += weight;
      return;
    }
  taps.push_back({pixel, bin, weight});
}

// The average of the samples of a bin, or, if `slope`, its derivative by their position, as taps of bin `target`.
template <typename T>
void add_samples(std::vector<Tap<T>>& taps, const RoiAxis<T>& axis, int bin, int length, bool slope, int target) {
  for (int i = 0; i < axis.samples; ++i) {
    const T at = sample_position(axis, bin, i);
    const auto s = slope ? bilinear_slope(at, length) : bilinear(at, length);
    add_tap(taps, s.low, target, s.weight_low / T(axis.samples));
    add_tap(taps, s.high, target, s.weight_high / T(axis.samples));
  }
}

// A region from the taps of its two axes, each by bin and then pixel.
template <typename T>
Region<T> make_region(std::vector<Tap<T>> rows, std::vector<Tap<T>> columns) {
  std::stable_sort(rows.begin(), rows.end(), [](const Tap<T>& a, const Tap<T>& b) { return a.pixel < b.pixel; });
  return {std::move(rows), std::move(columns)};
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

OPS_VECTORIZED inline void pool(const Region<float>& r, const Block<const float>& m, int64_t w, float* line,
                                float* bins) {
  pool_body(r, m, w, line, bins);
}

OPS_VECTORIZED inline void pool(const Region<double>& r, const Block<const double>& m, int64_t w, double* line,
                                double* bins) {
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

OPS_VECTORIZED inline void unpool(const Region<float>& r, const Block<float>& m, int64_t w, float* line,
                                  const float* bins) {
  unpool_body(r, m, w, line, bins);
}

OPS_VECTORIZED inline void unpool(const Region<double>& r, const Block<double>& m, int64_t w, double* line,
                                  const double* bins) {
  unpool_body(r, m, w, line, bins);
}

// What to pool: of each roi `parts` regions, whose bins follow each other, `width` bins in a row.
template <typename T>
struct Pooling {
  std::vector<Region<T>> regions;  // all of a roi, then those of the next
  int64_t parts, bins, width;      // bins of a part

  int64_t roi_bins() const { return parts * bins; }
};

// Fills `regions` by f(roi) -> the parts of a roi, in parallel.
template <typename T, typename F>
Pooling<T> make_pooling(int64_t rois, int64_t parts, int64_t bins, int64_t width, const F& f) {
  Pooling<T> pooling{std::vector<Region<T>>(rois * parts), parts, bins, width};
  torch::stable::parallel_for(0, rois, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * parts; i < end * parts; ++i) pooling.regions[i] = f(i / parts, i % parts);
  });
  return pooling;
}

// Pools one roi into `bins`; `line` is scratch for a row of bins.
template <typename T>
void pool_roi(const Pooling<T>& p, int64_t roi, const Block<const T>& map, std::vector<T>& line, std::vector<T>& bins) {
  std::fill(bins.begin(), bins.end(), T(0));
  for (int64_t part = 0; part < p.parts; ++part) {
    std::fill(line.begin(), line.end(), T(0));
    pool(p.regions[roi * p.parts + part], map, p.width, line.data(), bins.data() + part * p.bins * kLanes);
  }
}

// out (rois, channels, bins) = what `p` makes of the features x.
template <typename S>
void pool_regions(const Tensor& x, const std::vector<std::vector<int64_t>>& lists, const Pooling<Accumulate<S>>& p,
                  Tensor& out) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    if (lists[image].empty()) return;
    const auto map = read_block<T, S>(x, image, channel, scratch);
    std::vector<T> line(p.width * kLanes), bins(p.roi_bins() * kLanes);
    for (int64_t roi : lists[image]) {
      pool_roi(p, roi, map, line, bins);
      write_planes(bins.data(), p.roi_bins(), std::min(kLanes, shape.channels - channel),
                   result + (roi * shape.channels + channel) * p.roi_bins());
    }
  });
}

// out (the features' shape) = the gradient of x from that of the bins.
template <typename S>
void unpool_regions(const Tensor& grad, const std::vector<std::vector<int64_t>>& lists, const Pooling<Accumulate<S>>& p,
                    const MapShape& shape, Tensor& out) {
  using T = Accumulate<S>;
  const S* upstream = data<S>(grad);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    const int64_t lanes = std::min(kLanes, shape.channels - channel), area = shape.height * shape.width;
    std::fill(scratch.begin(), scratch.end(), T(0));
    const Block<T> map{scratch.data(), shape.width * kLanes, kLanes};
    std::vector<T> line(p.width * kLanes), bins(p.roi_bins() * kLanes);
    for (int64_t roi : lists[image]) {
      read_planes(upstream + (roi * shape.channels + channel) * p.roi_bins(), p.roi_bins(), lanes, bins.data());
      for (int64_t part = 0; part < p.parts; ++part)
        unpool(p.regions[roi * p.parts + part], map, p.width, line.data(), bins.data() + part * p.bins * kLanes);
    }
    write_planes(scratch.data(), area, lanes, result + (image * shape.channels + channel) * area);
  });
}

// Of each pooling (rois, bins): the sum over channels of the gradient of a bin times what the pooling makes of it.
// Pooling with the derivatives of weights by some coordinate, that is the gradient of the coordinate.
template <typename S>
std::vector<std::vector<Accumulate<S>>> pooled_dot(const Tensor& x, const Tensor& grad,
                                                   const std::vector<std::vector<int64_t>>& lists,
                                                   const std::vector<Pooling<Accumulate<S>>>& poolings) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  const S* upstream = data<S>(grad);
  const int64_t roi_bins = poolings[0].roi_bins(), count = grad.size(0) * roi_bins;
  std::vector<std::vector<T>> partial(poolings.size(), std::vector<T>(shape.blocks() * count));
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    if (lists[image].empty()) return;
    const auto map = read_block<T, S>(x, image, channel, scratch);
    const int64_t lanes = std::min(kLanes, shape.channels - channel);
    std::vector<T> line(poolings[0].width * kLanes), bins(roi_bins * kLanes), weights(roi_bins * kLanes);
    for (int64_t roi : lists[image]) {
      read_planes(upstream + (roi * shape.channels + channel) * roi_bins, roi_bins, lanes, weights.data());
      for (size_t k = 0; k < poolings.size(); ++k) {
        pool_roi(poolings[k], roi, map, line, bins);
        T* sums = partial[k].data() + channel / kLanes * count + roi * roi_bins;
        for (int64_t i = 0; i < roi_bins * kLanes; ++i) sums[i / kLanes] += bins[i] * weights[i];
      }
    }
  });
  for (auto& sums : partial) {
    for (int64_t i = count; i < shape.blocks() * count; ++i) sums[i % count] += sums[i];
    sums.resize(count);
  }
  return partial;
}

}  // namespace ops
