// Bilinear samples of the bins of a region.
#pragma once

#include "common/roi.h"
#include "cuda/feature_map.h"

namespace ops {

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

}  // namespace ops
