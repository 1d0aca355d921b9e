// The mean of the bilinear surface over a bin, along one axis: weights of pixels and their derivatives.
#pragma once

#include "common/roi.h"

namespace ops {

// A bin, in pixels of the map; pixels lie at whole coordinates.
template <typename T>
struct Span {
  T from, to;

  // The pixels whose value reaches into the bin; none of a bin without length.
  OPS_HOST_DEVICE PixelRange pixels(int length) const {
    if (!(to > from)) return {0, 0};
    const T low = smaller(larger(std::floor(from), T(0)), T(length));
    const T high = smaller(larger(std::ceil(to) + T(1), T(0)), T(length));
    return {static_cast<int>(low), static_cast<int>(high)};
  }

  // Between pixels the surface is linear, so that a pixel weighs the integral of a hat over the bin.
  OPS_HOST_DEVICE T weight(int pixel) const {
    const T a = from - T(pixel), b = to - T(pixel);
    const T rise_from = larger(a, T(-1)), rise_to = smaller(b, T(0));
    const T fall_from = larger(a, T(0)), fall_to = smaller(b, T(1));
    T integral = 0;
    if (rise_to > rise_from) integral += (rise_to - rise_from) * (T(1) + (rise_from + rise_to) / T(2));
    if (fall_to > fall_from) integral += (fall_to - fall_from) * (T(1) - (fall_from + fall_to) / T(2));
    return integral / (to - from);
  }

  OPS_HOST_DEVICE static T hat(T distance) { return larger(T(1) - larger(distance, -distance), T(0)); }

  // The derivative of `weight`, where `from` moves by `d_from` and `to` by `d_to`.
  OPS_HOST_DEVICE T slope(int pixel, T d_from, T d_to) const {
    const T mean = weight(pixel);
    return ((mean - hat(from - T(pixel))) * d_from + (hat(to - T(pixel)) - mean) * d_to) / (to - from);
  }
};

template <typename T>
OPS_HOST_DEVICE Span<T> bin_span(T from, T to, T scale, int bins, int bin) {
  const T start = from * scale, bin_size = larger(to * scale - start, T(0)) / T(bins);
  return {start + T(bin) * bin_size, start + T(bin + 1) * bin_size};
}

// What is wanted of a bin along an axis: the weights, or their derivative by the first or the second corner of the
// region, in pixels of the map.
enum class By { kNothing, kFirst, kSecond };

template <typename T>
OPS_HOST_DEVICE T span_weight(const Span<T>& span, int pixel, int bin, int bins, By by) {
  if (by == By::kNothing) return span.weight(pixel);
  const T d_from = T(bin) / T(bins), d_to = T(bin + 1) / T(bins);
  return by == By::kSecond ? span.slope(pixel, d_from, d_to) : span.slope(pixel, T(1) - d_from, T(1) - d_to);
}

}  // namespace ops
