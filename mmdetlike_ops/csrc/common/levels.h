// Levels of a pyramid laid one after the other, and bilinear sampling in one of them, the same on both devices.
#pragma once

#include <cmath>
#include <vector>

#include "common/box.h"
#include "common/op.h"

namespace ops {

struct Level {
  int height, width;
  int64_t start;  // of its first pixel among all pixels

  OPS_HOST_DEVICE bool fits(int64_t pixels) const {
    return height > 0 && width > 0 && start >= 0 && static_cast<int64_t>(height) * width <= pixels - start;
  }
};

// The two pixels around a point along one axis, their weights and the derivatives of those by the normalised
// coordinate. A pixel outside the map counts as 0: its index is that of the border, its weight and slope are 0.
template <typename T>
struct ZeroPaddedTap {
  int low, high;
  T weight_low, weight_high, slope_low, slope_high;
};

// `location` is normalised: the map spans 0 .. 1. Where it has no sense all weights are 0.
template <typename T>
OPS_HOST_DEVICE ZeroPaddedTap<T> zero_padded_tap(T location, int length) {
  const T wanted = location * T(length) - T(0.5);
  const bool inside = wanted > T(-1) && wanted < T(length);
  const T at = inside ? wanted : T(0), below = std::floor(at), fraction = at - below;
  const int low = static_cast<int>(below), high = low + 1;
  const bool has_low = inside && low >= 0, has_high = inside && high < length;
  return {low < 0 ? 0 : low,          high < length ? high : length - 1, has_low ? T(1) - fraction : T(0),
          has_high ? fraction : T(0), has_low ? T(-length) : T(0),       has_high ? T(length) : T(0)};
}

// Levels from CPU tensors `shapes` (l, 2) and `starts` (l,), int64 and contiguous, which must cover all `pixels`.
inline std::vector<Level> read_levels(const Tensor& shapes, const Tensor& starts, int64_t pixels, const char* op) {
  const int64_t *sizes = data<int64_t>(shapes), *start = data<int64_t>(starts);
  std::vector<Level> levels(shapes.size(0));
  int64_t sum = 0;
  STD_TORCH_CHECK(pixels < (int64_t{1} << 31), op, ": value has ", pixels, " pixels, less than 2^31 are expected");
  for (size_t i = 0; i < levels.size(); ++i) {
    const int64_t height = sizes[2 * i], width = sizes[2 * i + 1];
    STD_TORCH_CHECK(height > 0 && width > 0 && height <= pixels && width <= pixels, op, ": spatial_shapes[", i,
                    "] is (", height, ", ", width, "), a positive height and width within value's ", pixels,
                    " pixels are expected");
    STD_TORCH_CHECK(start[i] == sum, op, ": level_start_index[", i, "] is ", start[i], ", ", sum,
                    " is expected, the number of pixels of the levels before");
    levels[i] = {static_cast<int>(height), static_cast<int>(width), sum};
    sum += height * width;
  }
  STD_TORCH_CHECK(sum == pixels, op, ": spatial_shapes add up to ", sum, " pixels, value has ", pixels);
  return levels;
}

}  // namespace ops
