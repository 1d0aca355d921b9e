// How soft-NMS lowers a score, the same on both devices.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/box.h"

namespace ops {

enum Method : int64_t { kNaive = 0, kLinear = 1, kGaussian = 2 };

struct Decay {
  double iou_threshold, sigma, min_score;
  int64_t method, offset;
};

template <typename T>
OPS_HOST_DEVICE T decay(T overlap, const Decay& settings) {
  if (!(overlap > T(0))) return T(1);
  if (settings.method == kGaussian) return std::exp(-overlap * overlap / T(settings.sigma));
  if (overlap < T(settings.iou_threshold)) return T(1);
  return settings.method == kLinear ? T(1) - overlap : T(0);
}

}  // namespace ops
