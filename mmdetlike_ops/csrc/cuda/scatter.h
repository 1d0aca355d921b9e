// The gradient of features from that of bins: many bins add to one pixel.
//
// Fast: one thread an output, which adds atomically, so that the last bits differ from run to run. Deterministic: one
// thread a row of pixels, which walks the bins in order and adds what falls into its row.
#pragma once

#include "common/roi.h"
#include "cuda/feature_map.h"

namespace ops {

template <typename T>
struct AtomicSum {
  const FeatureMap<T>& map;
  int64_t image, channel;

  __device__ void operator()(int y, int x, T value) const { atomicAdd(&map.at(image, channel, y, x), value); }
};

template <typename T>
struct RowSum {
  const FeatureMap<T>& map;
  int64_t image, channel;
  int row;

  __device__ void operator()(int y, int x, T value) const {
    if (y == row) map.at(image, channel, y, x) += value;
  }
};

// A problem has the `map` that sums, the `shape` of the bins, image(roi), and scatter(output, add), which calls
// add(y, x, value) for what an output gives to pixels.
template <typename P>
__global__ void scatter_kernel(P problem) {
  for_each_index(problem.shape.numel(), [&](int64_t i) {
    const auto o = output_index(i, problem.shape, false);
    const int64_t image = problem.image(o.roi);
    if (image >= 0) problem.scatter(o, AtomicSum<typename P::Sum>{problem.map, image, o.channel});
  });
}

template <typename P>
__global__ void scatter_rows_kernel(P problem) {
  const auto& map = problem.map;
  const auto& shape = problem.shape;
  const int64_t bins = static_cast<int64_t>(shape.bins_y) * shape.bins_x;
  for_each_index(map.images * map.height * map.channels, [&](int64_t i) {
    const int64_t channel = i % map.channels, image = i / map.channels / map.height;
    const RowSum<typename P::Sum> add{map, image, channel, static_cast<int>(i / map.channels % map.height)};
    for (int64_t roi = 0; roi < shape.rois; ++roi) {
      if (problem.image(roi) != image) continue;
      const int64_t first = (roi * shape.channels + channel) * bins;
      for (int bin = 0; bin < bins; ++bin)
        problem.scatter(OutputIndex{roi, channel, first + bin, bin / shape.bins_x, bin % shape.bins_x}, add);
    }
  });
}

template <typename P>
void scatter(const Launcher& launch, const P& problem, bool deterministic) {
  const auto& map = problem.map;
  if (deterministic)
    launch.elementwise(map.images * map.height * map.channels, scatter_rows_kernel<P>, problem);
  else
    launch.elementwise(problem.shape.numel(), scatter_kernel<P>, problem);
}

// `add` the gradient of a bilinear sample to its four pixels.
template <typename T, typename Add>
__device__ __forceinline__ void add_sample(const Add& add, const Sample<T>& y, const Sample<T>& x, T grad) {
  add(y.low, x.low, grad * y.weight_low * x.weight_low);
  add(y.low, x.high, grad * y.weight_low * x.weight_high);
  add(y.high, x.low, grad * y.weight_high * x.weight_low);
  add(y.high, x.high, grad * y.weight_high * x.weight_high);
}

}  // namespace ops
