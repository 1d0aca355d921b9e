// Where the pixels of an image lie in a mask that is stretched over a box, the same on both devices.
#pragma once

#include <cmath>

#include "common/box.h"

namespace ops {

// Between source pixels `low` and `low` + 1, of which -1 and the one past the end are zero.
struct PasteTap {
  int low;
  double weight;  // of `low` + 1
};

struct PasteRange {
  int64_t begin, end;
};

// One axis of a mask of `size` pixels stretched from `from` to `to`.
struct PasteAxis {
  double from, to, scale;
  int size;

  OPS_HOST_DEVICE PasteAxis(double from, double to, int64_t size)
      : from(from), to(to), scale(size / (to - from)), size(static_cast<int>(size)) {}

  OPS_HOST_DEVICE bool valid() const { return to > from && std::isfinite(to - from) && std::isfinite(scale); }

  OPS_HOST_DEVICE PasteTap at(int64_t pixel) const {
    const double s = smaller(larger((pixel + 0.5 - from) * scale - 0.5, -1.0), static_cast<double>(size));
    const int low = static_cast<int>(smaller(std::floor(s), size - 1.0));
    return {low, s - low};
  }

  // The pixels, of `length`, that are not surely zero: the mask reaches half a source pixel beyond the box.
  OPS_HOST_DEVICE PasteRange reach(int64_t length) const {
    const double margin = 0.5 / scale + 1, end = static_cast<double>(length);
    return {static_cast<int64_t>(smaller(larger(std::floor(from - margin), 0.0), end)),
            static_cast<int64_t>(smaller(larger(std::ceil(to + margin), 0.0), end))};
  }
};

template <typename T>
OPS_HOST_DEVICE T blend(T a, T b, T weight) {
  return a + weight * (b - a);
}

// Whether a probability reaches the threshold; below 0, the probability itself, in 255 steps.
template <typename T>
OPS_HOST_DEVICE unsigned char paste_value(T probability, T threshold) {
  if (threshold >= T(0)) return probability >= threshold;
  return static_cast<unsigned char>(static_cast<int>(smaller(larger(probability * T(255), T(0)), T(255))));
}

}  // namespace ops
