// Where rotated_feature_align samples a map for the box of a position, the same on both devices.
#pragma once

#include "common/roi.h"

namespace ops {

// Calls f(y, x) with the samples on the map: the centre of the box and, of 5 points, its corners. The first number of
// a box is read as y, the second as x, as networks were trained with.
template <typename T, typename F>
OPS_HOST_DEVICE void for_each_box_sample(const T* box, T scale, int points, int height, int width, const F& f) {
  const T center_y = box[0] * scale, center_x = box[1] * scale;
  const T half_w = T(0.5) * box[2] * scale, half_h = T(0.5) * box[3] * scale;
  const T cosine = std::cos(box[4]), sine = std::sin(box[4]);
  for (int i = 0; i < points; ++i) {
    const T along_w = i == 0 ? T(0) : (i == 1 || i == 4 ? half_w : -half_w);
    const T along_h = i == 0 ? T(0) : (i <= 2 ? half_h : -half_h);
    const auto y = bilinear(center_y + sine * along_w + cosine * along_h, height);
    const auto x = bilinear(center_x + cosine * along_w - sine * along_h, width);
    if (y.inside() && x.inside()) f(y, x);
  }
}

}  // namespace ops
