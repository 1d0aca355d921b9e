// A running maximum along one axis, the same on both devices.
#pragma once

#include "common/box.h"
#include "common/op.h"

namespace ops {

// A contiguous tensor as (outer, length, inner), passed through along `length`, from its end if `reverse`.
struct Scan {
  int64_t outer, length, inner;
  bool reverse;

  // Offset of step i within one of the `outer` parts.
  OPS_HOST_DEVICE int64_t at(int64_t i) const { return (reverse ? length - 1 - i : i) * inner; }
};

inline Scan scan_of(const Tensor& x, int64_t dim, bool reverse) {
  Scan scan{1, x.size(dim), 1, reverse};
  for (int64_t i = 0; i < x.dim(); ++i) (i < dim ? scan.outer : scan.inner) *= i == dim ? 1 : x.size(i);
  return scan;
}

// Among equal values the last one counts; once there is a NaN it stays.
template <typename T>
OPS_HOST_DEVICE bool takes_over(T value, T largest) {
  return value >= largest || value != value;
}

// Whether `value` is the one that `largest`, the maximum up to it, came from.
template <typename T>
OPS_HOST_DEVICE bool is_winner(T value, T largest) {
  return value == largest || value != value;
}

}  // namespace ops
