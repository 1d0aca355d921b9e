// Deformable convolution, with and without modulation, forward and backward.
//
// Features are channels last; one warp takes a tap of a pixel, its lanes neighbouring channels. Columns of as many
// images as fit the budget, and at most im2col_step, are multiplied at a time.
#include "common/deform.h"
#include "cuda/batched_matrix.h"

namespace ops {
namespace {

constexpr int64_t kColumnBytes = int64_t{1} << 28;  // of a column buffer, unless one image needs more
constexpr int kWarp = 32;

template <typename T, typename S>
struct Problem {
  Sampling<T> sampling;
  const S* x;  // (images, height, width, channels)
};

// Images [first, first + count).
struct Chunk {
  int64_t first, count;
};

// One tap of an output pixel: `row` counts the pixels of a chunk.
struct Tap {
  int64_t row, image, pixel;
  int tap;

  // Of `channel` in columns (groups, rows, taps, group_channels).
  __device__ int64_t column(const DeformShape& s, int64_t rows, int64_t channel) const {
    const int64_t n = s.group_channels(), group = channel / n;
    return ((group * rows + row) * s.taps() + tap) * n + (channel - group * n);
  }
};

// Calls f(tap, lane) for the taps of this thread's warp.
template <typename F>
__device__ __forceinline__ void for_each_tap(const DeformShape& s, const Chunk& chunk, const F& f) {
  for_each_index(chunk.count * s.out_area() * s.taps() * kWarp, [&](int64_t i) {
    const int64_t at = i / kWarp, row = at / s.taps();
    f(Tap{row, chunk.first + row / s.out_area(), row % s.out_area(), static_cast<int>(at % s.taps())},
      static_cast<int>(i % kWarp));
  });
}

template <typename T, typename S>
struct Corner4 {
  const S* at[4];  // channels of each corner, null outside the map

  __device__ Corner4(const Problem<T, S>& p, int64_t image, const DeformCorners<T>& c) {
    const DeformShape& s = p.sampling.shape;
    for (int k = 0; k < 4; ++k) at[k] = c.pixel[k] < 0 ? nullptr : p.x + (image * s.area() + c.pixel[k]) * s.channels;
  }

  __device__ T read(int k, int64_t channel) const { return at[k] ? static_cast<T>(at[k][channel]) : T(0); }
};

template <typename T, typename S>
__global__ void columns_kernel(Problem<T, S> p, Chunk chunk, S* columns) {
  const DeformShape& s = p.sampling.shape;
  for_each_tap(s, chunk, [&](const Tap& t, int lane) {
    for (int64_t d = 0; d < s.deform_groups; ++d) {
      const auto point = p.sampling.point(p.sampling.plane(t.image, d, t.tap), t.tap, t.pixel);
      const Corner4<T, S> corners(p, t.image, point.corners);
      const int64_t end = (d + 1) * s.deform_channels();
      for (int64_t c = d * s.deform_channels() + lane; c < end; c += kWarp) {
        const T top = point.weight(0) * corners.read(0, c) + point.weight(1) * corners.read(1, c);
        const T bottom = point.weight(2) * corners.read(2, c) + point.weight(3) * corners.read(3, c);
        columns[t.column(s, chunk.count * s.out_area(), c)] = static_cast<S>(top + bottom);
      }
    }
  });
}

// out (images, out_channels, out_area) in either layout = products (groups, rows, group_outputs) + bias
template <typename S>
__global__ void output_kernel(const S* products, const S* bias, DeformShape s, Chunk chunk, bool channels_last,
                              S* out) {
  using T = Accumulate<S>;
  const int64_t per_image = s.out_channels * s.out_area(), n = s.group_outputs();
  for_each_index(chunk.count * per_image, [&](int64_t i) {
    const int64_t image = i / per_image, rest = i % per_image;
    const int64_t channel = channels_last ? rest % s.out_channels : rest / s.out_area();
    const int64_t row = image * s.out_area() + (channels_last ? rest / s.out_channels : rest % s.out_area());
    const S product = products[(channel / n * chunk.count * s.out_area() + row) * n + channel % n];
    out[chunk.first * per_image + i] =
        bias ? static_cast<S>(static_cast<T>(product) + static_cast<T>(bias[channel])) : product;
  });
}

template <typename T>
__device__ __forceinline__ T sum_over_warp(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_down_sync(0xffffffff, value, step);
  return value;
}

// Gradients of offsets and masks and, unless grad_x is null, by atomic additions, of the features.
template <typename T, typename S>
__global__ void points_kernel(Problem<T, S> p, Chunk chunk, const S* grad_columns, SamplingGradients<T> grads,
                              T* grad_x) {
  const DeformShape& s = p.sampling.shape;
  for_each_tap(s, chunk, [&](const Tap& t, int lane) {
    for (int64_t d = 0; d < s.deform_groups; ++d) {
      const int64_t plane = p.sampling.plane(t.image, d, t.tap);
      const auto point = p.sampling.point(plane, t.tap, t.pixel);
      const Corner4<T, S> corners(p, t.image, point.corners);
      const int64_t end = (d + 1) * s.deform_channels();
      T dots[4] = {};
      for (int64_t c = d * s.deform_channels() + lane; c < end; c += kWarp) {
        const T grad = static_cast<T>(grad_columns[t.column(s, chunk.count * s.out_area(), c)]);
        for (int k = 0; k < 4; ++k) {
          dots[k] += grad * corners.read(k, c);
          if (grad_x && corners.at[k]) atomicAdd(grad_x + (corners.at[k] - p.x) + c, point.weight(k) * grad);
        }
      }
      for (int k = 0; k < 4; ++k) dots[k] = sum_over_warp(dots[k]);
      if (lane == 0) grads.store(s, plane, t.pixel, point, dots);
    }
  });
}

// The deterministic gradient of the features: a thread adds up one channel of one image.
template <typename T, typename S>
__global__ void features_kernel(Problem<T, S> p, Chunk chunk, const S* grad_columns, T* grad_x) {
  const DeformShape& s = p.sampling.shape;
  for_each_index(chunk.count * s.channels, [&](int64_t i) {
    const int64_t image = chunk.first + i / s.channels, c = i % s.channels, d = c / s.deform_channels();
    T* map = grad_x + image * s.area() * s.channels + c;
    for (int64_t pixel = 0; pixel < s.out_area(); ++pixel)
      for (int tap = 0; tap < s.taps(); ++tap) {
        const auto point = p.sampling.point(p.sampling.plane(image, d, tap), tap, pixel);
        const Tap t{(image - chunk.first) * s.out_area() + pixel, image, pixel, tap};
        const T grad = static_cast<T>(grad_columns[t.column(s, chunk.count * s.out_area(), c)]);
        for (int k = 0; k < 4; ++k)
          if (point.corners.pixel[k] >= 0) map[point.corners.pixel[k] * s.channels] += point.weight(k) * grad;
      }
  });
}

template <typename T, typename S>
__global__ void add_kernel(const S* from, int64_t count, T* to) {
  for_each_index(count, [&](int64_t i) { to[i] += static_cast<T>(from[i]); });
}

using torch::headeronly::MemoryFormat;

Tensor channels_last(const Tensor& x) { return contiguous(x, MemoryFormat::ChannelsLast); }

MemoryFormat layout_of(const Tensor& x) {
  return is_channels_last(x) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

Tensor empty_in(MemoryFormat format, const Tensor& like, ScalarType dtype) {
  return torch::stable::empty(like.sizes(), dtype, std::nullopt, like.device(), std::nullopt, format);
}

Tensor as_dtype(const Tensor& x, ScalarType dtype) {
  return x.scalar_type() == dtype ? x : torch::stable::to(x, dtype);
}

// The tensors of a call, dense, offsets and masks in the arithmetic type, and the column buffer.
template <typename S>
class Pass {
 public:
  using T = Accumulate<S>;

  Pass(const DeformShape& shape, const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask,
       const Tensor& weight, int64_t im2col_step)
      : s(shape),
        x_(channels_last(x)),
        offset_(contiguous(as_dtype(offset, accumulate_dtype<T>()))),
        mask_(mask ? std::make_optional(contiguous(as_dtype(*mask, accumulate_dtype<T>()))) : std::nullopt),
        weight_(channels_last(weight)),
        images_(images_at_a_time(im2col_step)),
        columns_(torch::stable::new_empty(x_, {images_ * s.out_area() * s.taps() * s.channels})) {}

  // Calls f for chunks of images.
  template <typename F>
  void for_each_chunk(const F& f) const {
    for (int64_t i = 0; i < s.images; i += images_) f(Chunk{i, std::min(images_, s.images - i)});
  }

  Problem<T, S> problem() const { return {{s, data<T>(offset_), mask_ ? data<T>(*mask_) : nullptr}, data<S>(x_)}; }

  int64_t rows(const Chunk& chunk) const { return chunk.count * s.out_area(); }
  int64_t taps_of(const Chunk& chunk) const { return rows(chunk) * s.taps() * kWarp; }
  int64_t depth() const { return s.taps() * s.group_channels(); }
  S* columns() { return mutable_data<S>(columns_); }

  // (groups, rows, depth)
  Tensor column_view(const Chunk& chunk) const {
    return batch_view(data<S>(columns_), {s.groups, rows(chunk), depth()}, {rows(chunk) * depth(), depth(), 1}, x_);
  }

  // (groups, group_outputs, depth)
  Tensor weight_view() const {
    const int64_t n = s.group_outputs();
    return batch_view(data<S>(weight_), {s.groups, n, depth()}, {n * depth(), depth(), 1}, x_);
  }

  // (groups, rows, group_outputs) of a tensor (images, out_area, out_channels)
  Tensor output_view(const Tensor& out, const Chunk& chunk) const {
    const int64_t n = s.group_outputs(), first = chunk.first * s.out_area() * s.out_channels;
    return batch_view(data<S>(out) + first, {s.groups, rows(chunk), n}, {n, s.out_channels, 1}, x_);
  }

  const DeformShape s;

 private:
  int64_t images_at_a_time(int64_t im2col_step) const {
    const int64_t bytes = s.out_area() * s.taps() * s.channels * static_cast<int64_t>(sizeof(S));
    const int64_t fitting = std::max<int64_t>(kColumnBytes / std::max<int64_t>(bytes, 1), 1);
    return std::max<int64_t>(std::min({fitting, im2col_step, s.images}), 1);
  }

  const Tensor x_, offset_;
  const std::optional<Tensor> mask_;
  const Tensor weight_;
  const int64_t images_;
  Tensor columns_;
};

using torch::stable::transpose;

template <typename S>
void forward(const Launcher& launch, Pass<S>& pass, const S* bias, Tensor& out) {
  using T = Accumulate<S>;
  const DeformShape& s = pass.s;
  pass.for_each_chunk([&](const Chunk& chunk) {
    launch.elementwise(pass.taps_of(chunk), columns_kernel<T, S>, pass.problem(), chunk, pass.columns());
    const Tensor products = torch::stable::new_empty(out, {s.groups, pass.rows(chunk), s.group_outputs()});
    multiply(pass.column_view(chunk), transpose(pass.weight_view(), 1, 2), products);
    launch.elementwise(pass.rows(chunk) * s.out_channels, output_kernel<S>, data<S>(products), bias, s, chunk,
                       is_channels_last(out), mutable_data<S>(out));
  });
}

// Gradients in the arithmetic type, features and weights channels last.
template <typename T>
struct Gradients {
  T* x;
  SamplingGradients<T> sampling;
  T* weight;
};

// grad (images, out_area, out_channels)
template <typename S>
void backward(const Launcher& launch, Pass<S>& pass, const Tensor& grad, const Gradients<Accumulate<S>>& grads,
              bool deterministic) {
  using T = Accumulate<S>;
  const DeformShape& s = pass.s;
  const Tensor products = torch::stable::new_empty(grad, {s.groups, s.group_outputs(), pass.depth()});
  pass.for_each_chunk([&](const Chunk& chunk) {
    const Tensor upstream = pass.output_view(grad, chunk);
    multiply(upstream, pass.weight_view(), pass.column_view(chunk));
    launch.elementwise(pass.taps_of(chunk), points_kernel<T, S>, pass.problem(), chunk, pass.columns(), grads.sampling,
                       deterministic ? nullptr : grads.x);
    if (deterministic)
      launch.elementwise(chunk.count * s.channels, features_kernel<T, S>, pass.problem(), chunk, pass.columns(),
                         grads.x);
    launch.elementwise(pass.taps_of(chunk), columns_kernel<T, S>, pass.problem(), chunk, pass.columns());
    multiply(transpose(upstream, 1, 2), pass.column_view(chunk), products);
    launch.elementwise(products.numel(), add_kernel<T, S>, data<S>(products), products.numel(), grads.weight);
  });
}

using Pair = std::vector<int64_t>;

Tensor deform_conv2d_cuda(const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask,
                          const Tensor& weight, const std::optional<Tensor>& bias_in, const Pair& stride,
                          const Pair& padding, const Pair& dilation, int64_t groups, int64_t deform_groups,
                          int64_t im2col_step) {
  const auto shape = deform_shape(x, offset, weight, stride, padding, dilation, groups, deform_groups);
  const auto bias = bias_in ? std::make_optional(contiguous(*bias_in)) : std::nullopt;
  const Launcher launch(x);
  const std::vector<int64_t> sizes{shape.images, shape.out_channels, offset.size(2), offset.size(3)};
  Tensor out = torch::stable::empty(sizes, x.scalar_type(), std::nullopt, x.device(), std::nullopt, layout_of(x));
  dispatch_floating(x.scalar_type(), "deform_conv2d", [&](auto tag) {
    using S = typename decltype(tag)::type;
    Pass<S> pass(shape, x, offset, mask, weight, im2col_step);
    forward<S>(launch, pass, bias ? data<S>(*bias) : nullptr, out);
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward_cuda(
    const Tensor& grad, const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
    const Pair& stride, const Pair& padding, const Pair& dilation, int64_t groups, int64_t deform_groups,
    int64_t im2col_step, bool deterministic) {
  const auto shape = deform_shape(x, offset, weight, stride, padding, dilation, groups, deform_groups);
  const Launcher launch(x);
  const ScalarType dtype = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const auto zeros = [&](const Tensor& like) {
    Tensor sums = empty_in(MemoryFormat::ChannelsLast, like, dtype);
    return torch::stable::zero_(sums);
  };
  Tensor grad_x = zeros(x), grad_weight = zeros(weight);
  Tensor grad_offset = torch::stable::new_empty(offset, offset.sizes(), dtype);
  Tensor grad_mask = mask ? torch::stable::new_empty(*mask, mask->sizes(), dtype) : torch::stable::new_empty(x, {0});
  dispatch_floating(x.scalar_type(), "deform_conv2d_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Pass<S> pass(shape, x, offset, mask, weight, im2col_step);
    const SamplingGradients<T> sampling{mutable_data<T>(grad_offset), mask ? mutable_data<T>(grad_mask) : nullptr};
    backward<S>(launch, pass, channels_last(grad), {mutable_data<T>(grad_x), sampling, mutable_data<T>(grad_weight)},
                deterministic);
  });
  return {contiguous(as_dtype(grad_x, x.scalar_type()), layout_of(x)), as_dtype(grad_offset, offset.scalar_type()),
          as_dtype(grad_mask, mask ? mask->scalar_type() : x.scalar_type()),
          as_dtype(grad_weight, weight.scalar_type())};
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d_cuda));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward_cuda));
}

}  // namespace ops
