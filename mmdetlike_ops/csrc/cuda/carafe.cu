// CARAFE, content-aware reassembly of features. Every thread gathers what it writes, so results never differ.
#include "cuda/launch.h"

namespace ops {
namespace {

constexpr int kTogether = 8;  // channels of a thread, which share a load of the mask

struct Shape {
  int64_t images, channels;
  int height, width, kernel, groups, scale;

  __host__ __device__ int64_t group_channels() const { return channels / groups; }
  __host__ __device__ int taps() const { return kernel * kernel; }
  __host__ __device__ int64_t area() const { return static_cast<int64_t>(height) * width; }
  __host__ __device__ int64_t out_width() const { return static_cast<int64_t>(width) * scale; }
  __host__ __device__ int64_t out_area() const { return area() * scale * scale; }
  __host__ __device__ int64_t blocks() const { return (group_channels() + kTogether - 1) / kTogether; }
};

// Calls f(tap, pixel of the features) for the taps of output pixel (y, x) that lie on the map.
template <typename F>
__device__ __forceinline__ void for_each_tap(const Shape& s, int y, int x, const F& f) {
  const int top = y / s.scale - s.kernel / 2, left = x / s.scale - s.kernel / 2;
  for (int i = 0; i < s.kernel; ++i)
    for (int j = 0; j < s.kernel; ++j)
      if (top + i >= 0 && top + i < s.height && left + j >= 0 && left + j < s.width)
        f(i * s.kernel + j, static_cast<int64_t>(top + i) * s.width + left + j);
}

// One thread an output pixel of kTogether channels of a group.
template <typename T, typename S>
__global__ void forward_kernel(const S* features, const S* masks, Shape s, int64_t count, S* out) {
  for_each_index(count, [&](int64_t i) {
    const int64_t pixel = i % s.out_area(), block = i / s.out_area() % s.blocks();
    const int64_t group = i / s.out_area() / s.blocks();  // among the groups of all images
    const int64_t first = group * s.group_channels() + block * kTogether;
    const int64_t channels = min(static_cast<int64_t>(kTogether), s.group_channels() - block * kTogether);
    const S *mask = masks + group * s.taps() * s.out_area() + pixel, *from = features + first * s.area();
    T sum[kTogether] = {};
    for_each_tap(s, static_cast<int>(pixel / s.out_width()), static_cast<int>(pixel % s.out_width()),
                 [&](int tap, int64_t source) {
                   const T weight = static_cast<T>(mask[tap * s.out_area()]);
#pragma unroll
                   for (int c = 0; c < kTogether; ++c)
                     if (c < channels) sum[c] += weight * static_cast<T>(from[c * s.area() + source]);
                 });
#pragma unroll
    for (int c = 0; c < kTogether; ++c)
      if (c < channels) out[(first + c) * s.out_area() + pixel] = static_cast<S>(sum[c]);
  });
}

// One thread an element of the masks.
template <typename T, typename S>
__global__ void masks_kernel(const S* grad, const S* features, Shape s, int64_t count, S* out) {
  for_each_index(count, [&](int64_t i) {
    const int64_t pixel = i % s.out_area(), group = i / s.out_area() / s.taps();
    const int tap = static_cast<int>(i / s.out_area() % s.taps());
    const int y = static_cast<int>(pixel / s.out_width()) / s.scale + tap / s.kernel - s.kernel / 2;
    const int x = static_cast<int>(pixel % s.out_width()) / s.scale + tap % s.kernel - s.kernel / 2;
    T sum = 0;
    if (y >= 0 && y < s.height && x >= 0 && x < s.width) {
      const S *upstream = grad + group * s.group_channels() * s.out_area() + pixel,
              *from = features + group * s.group_channels() * s.area() + static_cast<int64_t>(y) * s.width + x;
      for (int64_t c = 0; c < s.group_channels(); ++c)
        sum += static_cast<T>(upstream[c * s.out_area()]) * static_cast<T>(from[c * s.area()]);
    }
    out[i] = static_cast<S>(sum);
  });
}

// The sum over the output pixels inside a pixel of the features of upstream * mask.
template <typename T, typename S>
__device__ __forceinline__ T sum_inside(const S* upstream, const S* mask, const Shape& s, int y, int x) {
  T sum = 0;
  for (int dy = 0; dy < s.scale; ++dy)
    for (int dx = 0; dx < s.scale; ++dx) {
      const int64_t at =
          (static_cast<int64_t>(y) * s.scale + dy) * s.out_width() + static_cast<int64_t>(x) * s.scale + dx;
      sum += static_cast<T>(upstream[at]) * static_cast<T>(mask[at]);
    }
  return sum;
}

// One thread an element of the features.
template <typename T, typename S>
__global__ void features_kernel(const S* grad, const S* masks, Shape s, int64_t count, S* out) {
  for_each_index(count, [&](int64_t i) {
    const int64_t plane = i / s.area(), group = plane / s.group_channels();
    const int y = static_cast<int>(i % s.area() / s.width), x = static_cast<int>(i % s.width);
    const S *upstream = grad + plane * s.out_area(), *mask = masks + group * s.taps() * s.out_area();
    T sum = 0;
    for (int ky = 0; ky < s.kernel; ++ky)
      for (int kx = 0; kx < s.kernel; ++kx) {
        const int from_y = y - ky + s.kernel / 2, from_x = x - kx + s.kernel / 2;
        if (from_y >= 0 && from_y < s.height && from_x >= 0 && from_x < s.width)
          sum += sum_inside<T>(upstream, mask + (ky * s.kernel + kx) * s.out_area(), s, from_y, from_x);
      }
    out[i] = static_cast<S>(sum);
  });
}

Shape shape_of(const Tensor& features, int64_t kernel, int64_t groups, int64_t scale) {
  return {features.size(0),
          features.size(1),
          static_cast<int>(features.size(2)),
          static_cast<int>(features.size(3)),
          static_cast<int>(kernel),
          static_cast<int>(groups),
          static_cast<int>(scale)};
}

Tensor carafe_cuda(const Tensor& features_in, const Tensor& masks_in, int64_t kernel, int64_t groups, int64_t scale) {
  const Launcher launch(features_in);
  const Tensor features = contiguous(features_in), masks = contiguous(masks_in);
  const Shape s = shape_of(features, kernel, groups, scale);
  Tensor out = torch::stable::new_empty(features, {s.images, s.channels, s.height * scale, s.width * scale});
  const int64_t count = s.images * groups * s.blocks() * s.out_area();
  dispatch_floating(features.scalar_type(), "carafe", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(count, forward_kernel<Accumulate<S>, S>, data<S>(features), data<S>(masks), s, count,
                       mutable_data<S>(out));
  });
  return out;
}

std::tuple<Tensor, Tensor> carafe_backward_cuda(const Tensor& grad_in, const Tensor& features_in,
                                                const Tensor& masks_in, int64_t kernel, int64_t groups, int64_t scale) {
  const Launcher launch(features_in);
  const Tensor grad = contiguous(grad_in), features = contiguous(features_in), masks = contiguous(masks_in);
  const Shape s = shape_of(features, kernel, groups, scale);
  Tensor grad_features = torch::stable::new_empty(features, features.sizes());
  Tensor grad_masks = torch::stable::new_empty(masks, masks.sizes());
  dispatch_floating(features.scalar_type(), "carafe_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(features.numel(), features_kernel<T, S>, data<S>(grad), data<S>(masks), s, features.numel(),
                       mutable_data<S>(grad_features));
    launch.elementwise(masks.numel(), masks_kernel<T, S>, data<S>(grad), data<S>(features), s, masks.numel(),
                       mutable_data<S>(grad_masks));
  });
  return {grad_features, grad_masks};
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("carafe", TORCH_BOX(&carafe_cuda));
  m.impl("carafe_backward", TORCH_BOX(&carafe_backward_cuda));
}

}  // namespace ops
