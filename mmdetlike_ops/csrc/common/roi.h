// What a bin of a region covers along one axis, for RoIAlign and RoIPool, the same on both devices.
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
};

template <typename T>
OPS_HOST_DEVICE RoiAxis<T> roi_axis(T from, T to, T scale, int bins, int sampling_ratio, bool aligned) {
  const T start = from * scale - (aligned ? T(0.5) : T(0));
  T size = to * scale - (aligned ? T(0.5) : T(0)) - start;
  if (!aligned && !(size > T(1))) size = T(1);
  int samples = sampling_ratio;
  if (samples <= 0) {
    const T wanted = std::ceil(size / T(bins));
    samples = wanted > T(0) ? static_cast<int>(wanted < T(kMaxSamples) ? wanted : T(kMaxSamples)) : 0;
  }
  return {start, size / T(bins), samples};
}

template <typename T>
OPS_HOST_DEVICE Sample<T> sample_at(const RoiAxis<T>& axis, int bin, int i, int length) {
  T at = axis.start + T(bin) * axis.bin_size + (T(i) + T(0.5)) * axis.bin_size / T(axis.samples);
  if (!(at >= T(-1) && at <= T(length))) return {0, 0, T(0), T(0)};
  at = at > T(0) ? at : T(0);
  const int low = static_cast<int>(at);
  if (low >= length - 1) return {length - 1, length - 1, T(1), T(0)};
  const T fraction = at - T(low);
  return {low, low + 1, T(1) - fraction, fraction};
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
