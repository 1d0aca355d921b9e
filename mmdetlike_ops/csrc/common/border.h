// Where BorderAlign samples, the same on both devices.
#pragma once

#include "common/roi.h"

namespace ops {

// Sample i of 0 .. `pool_size` of a border (0 top, 1 left, both from the upper left corner; 2 bottom, 3 right, from the
// lower right one) of a box xyxy.
template <typename T>
OPS_HOST_DEVICE MapPoint<T> border_sample(const T* box, int border, int i, int pool_size, int height, int width) {
  const T along = T(i) / T(pool_size) * T(border < 2 ? 1 : -1);
  const T* corner = box + (border < 2 ? 0 : 2);
  const bool horizontal = border % 2 == 0;
  const T x = corner[0] + (horizontal ? along * (box[2] - box[0]) : T(0));
  const T y = corner[1] + (horizontal ? T(0) : along * (box[3] - box[1]));
  return {bilinear(y, height), bilinear(x, width)};
}

}  // namespace ops
