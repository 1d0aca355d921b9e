// Eight channels of one image with the channels last: what region operators compute on.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/op.h"
#include "cpu/vectorize.h"

namespace ops {

constexpr int64_t kLanes = 8;

template <typename T>
struct LaneTypes;
template <>
struct LaneTypes<float> {
  typedef float type __attribute__((vector_size(32)));
  typedef int32_t index __attribute__((vector_size(32)));
};
template <>
struct LaneTypes<double> {
  typedef double type __attribute__((vector_size(64)));
  typedef int64_t index __attribute__((vector_size(64)));
};
template <typename T>
using Lanes = typename LaneTypes<T>::type;

template <typename T>
OPS_INLINE void load(Lanes<T>& v, const T* p) {
  std::memcpy(&v, p, sizeof(v));
}

template <typename T>
OPS_INLINE void store(T* p, const Lanes<T>& v) {
  std::memcpy(p, &v, sizeof(v));
}

// Of each lane, the largest value seen and the index it came with; -1 before the first.
template <typename T>
struct LaneMax {
  Lanes<T> best = {};
  typename LaneTypes<T>::index which = typename LaneTypes<T>::index{} - 1;
  bool first = true;

  OPS_INLINE void see(const T* values, int32_t index) {
    using Index = typename LaneTypes<T>::index;
    Lanes<T> value;
    load(value, values);
    if (first) {
      best = value, which = Index{} + index, first = false;
      return;
    }
    const auto wins = value > best;
    best = wins ? value : best;
    which = wins ? Index{} + index : which;
  }

  OPS_INLINE void finish(T* values, int32_t* indices) const {
    store(values, best);
    for (int64_t c = 0; c < kLanes; ++c) indices[c] = static_cast<int32_t>(which[c]);
  }
};

// Pixel (y, x) of a block: kLanes channels at data + y * row + x * column.
template <typename T>
struct Block {
  T* data;
  int64_t row, column;
};

struct MapShape {
  int64_t images, channels, height, width;

  explicit MapShape(const Tensor& x) : images(x.size(0)), channels(x.size(1)), height(x.size(2)), width(x.size(3)) {}
  MapShape(int64_t n, int64_t c, int64_t h, int64_t w) : images(n), channels(c), height(h), width(w) {}

  int64_t blocks() const { return (channels + kLanes - 1) / kLanes; }
  int64_t block_numel() const { return height * width * kLanes; }
};

// Copies one row of pixels to channels last.
template <typename T, typename S>
void read_row(const S* from, int64_t plane, int64_t column, int64_t lanes, int64_t width, T* to) {
  if (plane == 1 && lanes == kLanes)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < kLanes; ++c) to[x * kLanes + c] = static_cast<T>(from[x * column + c]);
  else
    for (int64_t c = 0; c < lanes; ++c)
      for (int64_t x = 0; x < width; ++x) to[x * kLanes + c] = static_cast<T>(from[c * plane + x * column]);
}

// Reads channels [channel, channel + kLanes) of an image with any strides into `scratch`.
template <typename T, typename S>
Block<const T> read_block(const Tensor& x, int64_t image, int64_t channel, std::vector<T>& scratch) {
  const int64_t lanes = std::min(kLanes, x.size(1) - channel), width = x.size(3);
  const S* source = data<S>(x) + image * x.stride(0) + channel * x.stride(1);
  if (lanes < kLanes) std::fill(scratch.begin(), scratch.end(), T(0));
  for (int64_t y = 0; y < x.size(2); ++y)
    read_row(source + y * x.stride(2), x.stride(1), x.stride(3), lanes, width, scratch.data() + y * width * kLanes);
  return {scratch.data(), width * kLanes, kLanes};
}

// Writes pixels (channels last, kLanes apart) to `lanes` contiguous planes.
template <typename T, typename S>
void write_planes(const T* pixels, int64_t count, int64_t lanes, S* planes) {
  for (int64_t c = 0; c < lanes; ++c)
    for (int64_t i = 0; i < count; ++i) planes[c * count + i] = static_cast<S>(pixels[i * kLanes + c]);
}

template <typename T, typename S>
void read_planes(const S* planes, int64_t count, int64_t lanes, T* pixels) {
  for (int64_t c = 0; c < lanes; ++c)
    for (int64_t i = 0; i < count; ++i) pixels[i * kLanes + c] = static_cast<T>(planes[c * count + i]);
}

// The regions of each image, from the first column of `rois`.
template <typename T>
std::vector<std::vector<int64_t>> rois_by_image(const Tensor& rois, int64_t images, const char* op) {
  std::vector<std::vector<int64_t>> lists(images);
  const T* table = data<T>(rois);
  for (int64_t i = 0; i < rois.size(0); ++i) {
    const T image = table[i * rois.size(1)];
    STD_TORCH_CHECK(image >= 0 && image < T(images), op, ": roi ", i, " belongs to image ", image,
                    ", the batch of x has ", images);
    lists[static_cast<int64_t>(image)].push_back(i);
  }
  return lists;
}

// Calls f(image, first channel, scratch of one block) for every block, in parallel.
template <typename T, typename F>
void for_each_block(const MapShape& shape, const F& f) {
  torch::stable::parallel_for(0, shape.images * shape.blocks(), 1, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(shape.block_numel());
    for (int64_t i = begin; i < end; ++i) f(i / shape.blocks(), i % shape.blocks() * kLanes, scratch);
  });
}

}  // namespace ops
