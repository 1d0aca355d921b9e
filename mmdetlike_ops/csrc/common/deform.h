// Geometry of deformable convolutions, the same on both devices.
#pragma once

#include <cmath>
#include <vector>

#include "common/box.h"
#include "common/op.h"

namespace ops {

// Which of the two dense layouts a tensor (n, c, h, w) has; outputs follow the input.
inline bool is_channels_last(const Tensor& x) { return x.size(1) > 1 && x.stride(1) == 1; }

// One axis of a convolution.
struct DeformAxis {
  int input, output, kernel, stride, padding, dilation;

  // Where a tap without offset reads.
  OPS_HOST_DEVICE int source(int out, int tap) const { return out * stride - padding + tap * dilation; }
};

struct DeformShape {
  int64_t images, channels, out_channels, groups, deform_groups;
  DeformAxis y, x;

  OPS_HOST_DEVICE int64_t area() const { return static_cast<int64_t>(y.input) * x.input; }
  OPS_HOST_DEVICE int64_t out_area() const { return static_cast<int64_t>(y.output) * x.output; }
  OPS_HOST_DEVICE int taps() const { return y.kernel * x.kernel; }
  OPS_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
  OPS_HOST_DEVICE int64_t group_outputs() const { return out_channels / groups; }
  OPS_HOST_DEVICE int64_t deform_channels() const { return channels / deform_groups; }
};

inline DeformShape deform_shape(const Tensor& x, const Tensor& offset, const Tensor& weight,
                                const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
                                const std::vector<int64_t>& dilation, int64_t groups, int64_t deform_groups) {
  STD_TORCH_CHECK(x.size(2) * x.size(3) < (int64_t{1} << 31), "deform_conv2d: a map of ", x.size(2), " x ", x.size(3),
                  " pixels is too large");
  for (int i = 0; i < 2; ++i)
    STD_TORCH_CHECK(x.size(2 + i) + 2 * padding[i] < (int64_t{1} << 31), "deform_conv2d: a padding of ", padding[i],
                    " is too large");
  const auto axis = [&](int i) {
    return DeformAxis{static_cast<int>(x.size(2 + i)),      static_cast<int>(offset.size(2 + i)),
                      static_cast<int>(weight.size(2 + i)), static_cast<int>(stride[i]),
                      static_cast<int>(padding[i]),         static_cast<int>(dilation[i])};
  };
  return {x.size(0), x.size(1), weight.size(0), groups, deform_groups, axis(0), axis(1)};
}

// The four pixels around a sampling point, row by row: top left, top right, bottom left, bottom right.
template <typename T>
struct DeformCorners {
  int pixel[4];  // y * width + x; -1 outside the map, where features count as 0
  T y, x;        // how far the point lies from the upper left pixel

  OPS_HOST_DEVICE T weight(int corner) const { return (corner < 2 ? T(1) - y : y) * (corner % 2 == 0 ? T(1) - x : x); }

  // The derivatives of the sampled value along y and x, given the features (or dot products with them) at the corners.
  OPS_HOST_DEVICE T slope_y(const T* at) const { return (T(1) - x) * (at[2] - at[0]) + x * (at[3] - at[1]); }
  OPS_HOST_DEVICE T slope_x(const T* at) const { return (T(1) - y) * (at[1] - at[0]) + y * (at[3] - at[2]); }
};

// A point that lies one pixel or more outside the map (or is no number) has no corners.
template <typename T>
OPS_HOST_DEVICE DeformCorners<T> corners_at(T y, T x, int height, int width) {
  if (!(y > T(-1) && x > T(-1) && y < T(height) && x < T(width))) return {{-1, -1, -1, -1}, T(0), T(0)};
  const T floor_y = std::floor(y), floor_x = std::floor(x);
  const int top = static_cast<int>(floor_y), left = static_cast<int>(floor_x), at = top * width + left;
  const bool up = top >= 0, down = top + 1 < height, west = left >= 0, east = left + 1 < width;
  return {{up && west ? at : -1, up && east ? at + 1 : -1, down && west ? at + width : -1,
           down && east ? at + width + 1 : -1},
          y - floor_y,
          x - floor_x};
}

template <typename T>
struct DeformPoint {
  DeformCorners<T> corners;
  T mask;

  OPS_HOST_DEVICE T weight(int corner) const { return corners.weight(corner) * mask; }
};

// Where each tap of each output pixel samples.
template <typename T>
struct Sampling {
  DeformShape shape;
  const T* offset;  // (images, deform_groups, taps, 2, out_area)
  const T* mask;    // (images, deform_groups, taps, out_area) or null

  OPS_HOST_DEVICE int64_t plane(int64_t image, int64_t deform_group, int tap) const {
    return ((image * shape.deform_groups + deform_group) * shape.taps() + tap) * shape.out_area();
  }

  // `plane` is that of the tap, `pixel` the output's.
  OPS_HOST_DEVICE DeformPoint<T> point(int64_t plane, int tap, int64_t pixel) const {
    const int out_y = static_cast<int>(pixel / shape.x.output), out_x = static_cast<int>(pixel % shape.x.output);
    const T* shift = offset + 2 * plane + pixel;
    const T y = T(shape.y.source(out_y, tap / shape.x.kernel)) + shift[0];
    const T x = T(shape.x.source(out_x, tap % shape.x.kernel)) + shift[shape.out_area()];
    return {corners_at(y, x, shape.y.input, shape.x.input), mask ? mask[plane + pixel] : T(1)};
  }
};

// The gradients of a point, in the layouts of Sampling.
template <typename T>
struct SamplingGradients {
  T *offset, *mask;  // mask may be null

  // dots[i]: the product of the gradient of the point's columns with the features of corner i
  OPS_HOST_DEVICE void store(const DeformShape& shape, int64_t plane, int64_t pixel, const DeformPoint<T>& point,
                             const T* dots) const {
    const DeformCorners<T>& at = point.corners;
    offset[2 * plane + pixel] = point.mask * at.slope_y(dots);
    offset[2 * plane + pixel + shape.out_area()] = point.mask * at.slope_x(dots);
    if (mask)
      mask[plane + pixel] =
          (at.weight(0) * dots[0] + at.weight(1) * dots[1]) + (at.weight(2) * dots[2] + at.weight(3) * dots[3]);
  }
};

}  // namespace ops
