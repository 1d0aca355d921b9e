// How a mask around each pixel maps to all pairs of pixels, the same on both devices.
#pragma once

#include "common/box.h"
#include "common/op.h"

namespace ops {

struct PsaShape {
  int64_t images, height, width, mask_height, mask_width;
  bool collect;

  OPS_HOST_DEVICE int64_t area() const { return height * width; }
  OPS_HOST_DEVICE int64_t taps() const { return mask_height * mask_width; }

  // Where the mask of pixel (y, x) sees pixel (row, column), in the masks (taps, h, w) of an image.
  OPS_HOST_DEVICE int64_t source(int64_t y, int64_t x, int64_t row, int64_t column) const {
    const int64_t my = row - y + (mask_height - 1) / 2, mx = column - x + (mask_width - 1) / 2;
    return (my * mask_width + mx) * area() + y * width + x;
  }

  // Where it goes, in the attention (h * w, h, w) of an image.
  OPS_HOST_DEVICE int64_t target(int64_t y, int64_t x, int64_t row, int64_t column) const {
    const int64_t own = y * width + x, seen = row * width + column;
    return collect ? seen * area() + own : own * area() + seen;
  }
};

}  // namespace ops
