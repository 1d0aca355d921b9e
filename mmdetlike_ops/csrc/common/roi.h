// What a bin of a region covers along one axis, the same on both devices.
#pragma once

#include <cmath>

#include "common/box.h"

namespace ops {

constexpr int kMaxSamples = 4096;  // of a bin along one axis: bounds the work that an absurd box can ask for

template <typename T>
struct RoiAxis {
  T start, bin_size;
  int samples;  // of each bin
};

// A sample point between two pixels; without weight outside the map.
template <typename T>
struct Sample {
  int low, high;
  T weight_low, weight_high;

  OPS_HOST_DEVICE bool inside() const { return weight_low + weight_high > T(0); }
};

template <typename T>
struct MapPoint {
  Sample<T> y, x;
};

template <typename T>
OPS_HOST_DEVICE RoiAxis<T> divide_axis(T start, T size, int bins, int sampling_ratio) {
  int samples = sampling_ratio;
  if (samples <= 0) {
    const T wanted = std::ceil(size / T(bins));
    samples = wanted > T(0) ? static_cast<int>(wanted < T(kMaxSamples) ? wanted : T(kMaxSamples)) : 0;
  }
  return {start, size / T(bins), samples};
}

template <typename T>
OPS_HOST_DEVICE RoiAxis<T> roi_axis(T from, T to, T scale, int bins, int sampling_ratio, bool aligned) {
  const T start = from * scale - (aligned ? T(0.5) : T(0));
  T size = to * scale - (aligned ? T(0.5) : T(0)) - start;
  if (!aligned && !(size > T(1))) size = T(1);
  return divide_axis(start, size, bins, sampling_ratio);
}

template <typename T>
OPS_HOST_DEVICE T sample_position(const RoiAxis<T>& axis, int bin, int i) {
  return axis.start + T(bin) * axis.bin_size + (T(i) + T(0.5)) * axis.bin_size / T(axis.samples);
}

template <typename T>
OPS_HOST_DEVICE Sample<T> bilinear(T at, int length) {
  if (!(at >= T(-1) && at <= T(length))) return {0, 0, T(0), T(0)};
  at = at > T(0) ? at : T(0);
  const int low = static_cast<int>(at);
  if (low >= length - 1) return {length - 1, length - 1, T(1), T(0)};
  const T fraction = at - T(low);
  return {low, low + 1, T(1) - fraction, fraction};
}

template <typename T>
OPS_HOST_DEVICE Sample<T> sample_at(const RoiAxis<T>& axis, int bin, int i, int length) {
  return bilinear(sample_position(axis, bin, i), length);
}

// The derivative of the weights of bilinear by the position; between the pixels of the border and beyond, a sample
// does not change.
template <typename T>
OPS_HOST_DEVICE Sample<T> bilinear_slope(T at, int length) {
  const auto s = bilinear(at, length);
  const bool flat = s.low == s.high || !(at > T(0));
  return {s.low, s.high, T(flat ? 0 : -1), T(flat ? 0 : 1)};
}

// The axis of a bin that is moved by `offset` in units of `gamma` times the size of the region.
template <typename T>
OPS_HOST_DEVICE RoiAxis<T> shifted_axis(const RoiAxis<T>& axis, int bins, T gamma, T offset) {
  return {axis.start + gamma * (axis.bin_size * T(bins)) * offset, axis.bin_size, axis.samples};
}

struct PixelRange {
  int begin, end;
};

// The pixels that a RoIPool bin touches; the last pixel of a region belongs to it.
template <typename T>
OPS_HOST_DEVICE PixelRange pixel_range(T from, T to, T scale, int bins, int bin, int length) {
  const T start = from * scale, bin_size = ((to + T(1)) * scale - start) / T(bins);
  if (!(bin_size > T(0))) return {0, 0};
  const T begin = std::floor(start + T(bin) * bin_size), end = std::ceil(start + T(bin + 1) * bin_size);
  const T low = smaller(larger(begin, T(0)), T(length)), high = smaller(larger(end, T(0)), T(length));
  return {static_cast<int>(low), static_cast<int>(high)};
}

}  // namespace ops
