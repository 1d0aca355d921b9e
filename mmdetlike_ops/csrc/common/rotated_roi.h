// The samples of the bins of a rotated region, the same on both devices.
#pragma once

#include "common/roi.h"

namespace ops {

struct RotatedSettings {
  int bins_y, bins_x;
  double scale;
  int sampling_ratio;
  bool aligned, clockwise;

  OPS_HOST_DEVICE int bins() const { return bins_y * bins_x; }
};

// The axes run through the centre of the region, turned by an angle from x to y.
template <typename T>
struct RotatedRegion {
  RoiAxis<T> y, x;
  T center_y, center_x, cosine, sine;

  // By which the samples of a bin are averaged.
  OPS_HOST_DEVICE T samples() const { return larger(T(y.samples) * T(x.samples), T(1)); }
};

// From image, centre x and y, width, height and angle.
template <typename T>
OPS_HOST_DEVICE RotatedRegion<T> rotated_region(const T* roi, const RotatedSettings& s) {
  const T scale = static_cast<T>(s.scale), shift = s.aligned ? T(0.5) : T(0), angle = s.clockwise ? roi[5] : -roi[5];
  T w = roi[3] * scale, h = roi[4] * scale;
  if (!s.aligned) w = w > T(1) ? w : T(1), h = h > T(1) ? h : T(1);
  return {divide_axis(T(-0.5) * h, h, s.bins_y, s.sampling_ratio),
          divide_axis(T(-0.5) * w, w, s.bins_x, s.sampling_ratio),
          roi[2] * scale - shift,
          roi[1] * scale - shift,
          std::cos(angle),
          std::sin(angle)};
}

struct SampleRange {
  int begin, end;
};

// Holds every i of 0 .. count - 1 for which from + i * step is within [-1, length]: spares the many samples that a
// region far larger than the map has outside it.
template <typename T>
OPS_HOST_DEVICE SampleRange samples_within(T from, T step, int count, int length) {
  if (!(from - from == T(0))) return {0, 0};
  if (step == T(0)) return {0, from >= T(-1) && from <= T(length) ? count : 0};
  const T a = (T(-1) - from) / step, b = (T(length) - from) / step;
  const T low = smaller(a, b) - T(1), high = larger(a, b) + T(2);
  return {low > T(0) ? static_cast<int>(smaller(low, T(count))) : 0,
          high > T(0) ? static_cast<int>(smaller(high, T(count))) : 0};
}

// Calls f(y, x) with the samples of a bin that lie on the map.
template <typename T, typename F>
OPS_HOST_DEVICE void for_each_rotated_sample(const RotatedRegion<T>& r, int bin_y, int bin_x, int height, int width,
                                             const F& f) {
  const T first = sample_position(r.x, bin_x, 0), step = r.x.bin_size / T(r.x.samples);
  for (int iy = 0; iy < r.y.samples; ++iy) {
    const T v = sample_position(r.y, bin_y, iy), left = r.center_x - v * r.sine, top = r.center_y + v * r.cosine;
    const auto in_x = samples_within(left + first * r.cosine, step * r.cosine, r.x.samples, width);
    const auto in_y = samples_within(top + first * r.sine, step * r.sine, r.x.samples, height);
    const int end = smaller(in_x.end, in_y.end);
    for (int ix = larger(in_x.begin, in_y.begin); ix < end; ++ix) {
      const T u = sample_position(r.x, bin_x, ix);
      const auto y = bilinear(top + u * r.sine, height), x = bilinear(left + u * r.cosine, width);
      if (y.inside() && x.inside()) f(y, x);
    }
  }
}

}  // namespace ops
