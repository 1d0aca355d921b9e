// What region operators know of a feature map, and how a thread finds its output.
#pragma once

#include "cuda/launch.h"

namespace ops {

// Features (images, channels, height, width) with any strides.
template <typename S>
struct FeatureMap {
  S* data;
  int64_t images, channels;
  int height, width;
  int64_t image_stride, channel_stride, row_stride, column_stride;

  __device__ S& at(int64_t image, int64_t channel, int y, int x) const {
    return data[image * image_stride + channel * channel_stride + y * row_stride + x * column_stride];
  }
};

template <typename S>
FeatureMap<const S> read_map(const Tensor& x) {
  return {
      ops::data<S>(x), x.size(0),   x.size(1),  static_cast<int>(x.size(2)), static_cast<int>(x.size(3)), x.stride(0),
      x.stride(1),     x.stride(2), x.stride(3)};
}

template <typename T>
FeatureMap<T> write_map(Tensor& x) {
  return {mutable_data<T>(x),
          x.size(0),
          x.size(1),
          static_cast<int>(x.size(2)),
          static_cast<int>(x.size(3)),
          x.stride(0),
          x.stride(1),
          x.stride(2),
          x.stride(3)};
}

struct OutputShape {
  int64_t rois, channels;
  int bins_y, bins_x;

  __host__ __device__ int64_t numel() const { return rois * channels * bins_y * bins_x; }
};

struct OutputIndex {
  int64_t roi, channel, flat;  // `flat` in (rois, channels, bins_y, bins_x)
  int y, x;
};

// Neighbouring threads read neighbouring features: the next channel of a channels-last map, else the next bin.
__device__ __forceinline__ OutputIndex output_index(int64_t i, const OutputShape& shape, bool channels_last) {
  const int64_t bins = static_cast<int64_t>(shape.bins_y) * shape.bins_x;
  const int64_t per_roi = bins * shape.channels, roi = i / per_roi, rest = i % per_roi;
  const int64_t channel = channels_last ? rest % shape.channels : rest / bins;
  const int64_t bin = channels_last ? rest / shape.channels : rest % bins;
  return {roi, channel, roi * per_roi + channel * bins + bin, static_cast<int>(bin / shape.bins_x),
          static_cast<int>(bin % shape.bins_x)};
}

// The image a region belongs to; -1 if the batch has no such image.
template <typename T>
__device__ __forceinline__ int64_t image_of(const T* roi, int64_t images) {
  return roi[0] >= T(0) && roi[0] < T(images) ? static_cast<int64_t>(roi[0]) : -1;
}

}  // namespace ops
