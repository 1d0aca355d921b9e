// Deformable convolution, with and without modulation, forward and backward.
//
// Features are read channels last, so that a corner of a sampling point is one run of memory. The forward pass goes by
// tiles of pixels: for each tap it samples the columns of the tile, which stay in cache, and adds their product with
// the tap's weights to the output. The backward pass goes tap by tap over a slab of one image: gradients of the
// columns, of offsets and of the mask by tiles of pixels, then those of features and weights by blocks of channels.
// Each element is computed by one task in a fixed order, so results do not depend on the number of threads.
#include <algorithm>

#include "cpu/deform_sample.h"
#include "cpu/matrix.h"

namespace ops {
namespace {

constexpr int64_t kTile = 256, kSlab = 4096;  // pixels
constexpr int64_t kChannelBlock = 64;

template <typename T>
struct Problem {
  Sampling<T> sampling;
  const T* x;       // (images, height, width, channels)
  const T* weight;  // (out_channels, taps, group_channels)

  const DeformShape& shape() const { return sampling.shape; }
  const T* map(int64_t image) const { return x + image * shape().area() * shape().channels; }

  // (group_outputs, group_channels)
  Matrix<const T> tap_weight(int64_t group, int tap) const {
    const int64_t n = shape().group_channels(), row = n * shape().taps();
    return {weight + group * shape().group_outputs() * row + tap * n, shape().group_outputs(), n, row, 1};
  }
};

// Pixels [begin, begin + count) of the output of one image.
struct Tile {
  int64_t image, begin, count;
};

// The points of a tap, (count, deform_groups).
template <typename T>
void locate(const Sampling<T>& sampling, const Tile& tile, int tap, DeformPoint<T>* points) {
  const int64_t groups = sampling.shape.deform_groups;
  for (int64_t d = 0; d < groups; ++d) {
    const int64_t plane = sampling.plane(tile.image, d, tap);
    for (int64_t i = 0; i < tile.count; ++i) points[i * groups + d] = sampling.point(plane, tap, tile.begin + i);
  }
}

// Pixels (rows) by channels of one image of a tensor (images, channels, height, width), in either dense layout.
template <typename T>
Matrix<T> pixel_matrix(T* data, const Tensor& x, int64_t image) {
  const int64_t channels = x.size(1), area = x.size(2) * x.size(3);
  T* start = data + image * channels * area;
  return is_channels_last(x) ? Matrix<T>{start, area, channels, channels, 1}
                             : Matrix<T>{start, area, channels, 1, area};
}

template <typename T>
void fill_with_bias(const Matrix<T>& out, const T* bias) {
  for (int64_t i = 0; i < out.rows * out.columns; ++i) {
    const bool last = out.column == 1;
    const int64_t pixel = last ? i / out.columns : i % out.rows, channel = last ? i % out.columns : i / out.rows;
    out.data[pixel * out.row + channel * out.column] = bias[channel];
  }
}

template <typename T>
struct Scratch {
  std::vector<DeformPoint<T>> points;
  Buffer<T> columns;
  std::vector<T> zeros;

  Scratch(const DeformShape& s, int64_t count)
      : points(count * s.deform_groups), columns(count * s.channels), zeros(s.deform_channels()) {}

  DeformRun<T> run(const DeformShape& s, const T* map, int64_t count) const {
    return {map, zeros.data(), points.data(), count, s.deform_groups, s.deform_channels()};
  }
};

template <typename T>
void forward_tile(const Problem<T>& p, const Tile& tile, const T* bias, const Matrix<T>& out, Scratch<T>& scratch) {
  const DeformShape& s = p.shape();
  if (bias) fill_with_bias(out, bias);
  const Matrix<const T> columns{scratch.columns.data(), tile.count, s.channels, s.channels, 1};
  for (int tap = 0; tap < s.taps(); ++tap) {
    locate(p.sampling, tile, tap, scratch.points.data());
    sample(scratch.run(s, p.map(tile.image), tile.count), scratch.columns.data());
    for (int64_t g = 0; g < s.groups; ++g)
      multiply(columns.block(0, tile.count, g * s.group_channels(), s.group_channels()),
               p.tap_weight(g, tap).transposed(), bias || tap > 0,
               out.block(0, tile.count, g * s.group_outputs(), s.group_outputs()));
  }
}

template <typename T>
void forward(const Problem<T>& p, const T* bias, Tensor& out) {
  const DeformShape& s = p.shape();
  T* result = mutable_data<T>(out);
  const int64_t tiles = (s.out_area() + kTile - 1) / kTile;
  torch::stable::parallel_for(0, s.images * tiles, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(s, std::min(kTile, s.out_area()));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % tiles * kTile;
      const Tile tile{i / tiles, first, std::min(kTile, s.out_area() - first)};
      const auto image = pixel_matrix(result, out, tile.image);
      forward_tile(p, tile, bias, image.block(first, tile.count, 0, s.out_channels), scratch);
    }
  });
}

// The gradients of the points of a tap; dots (count, deform_groups, 4).
template <typename T>
void store_gradients(const Sampling<T>& sampling, const Tile& tile, int tap, const DeformPoint<T>* points,
                     const T* dots, const SamplingGradients<T>& grads) {
  const int64_t groups = sampling.shape.deform_groups;
  for (int64_t d = 0; d < groups; ++d) {
    const int64_t plane = sampling.plane(tile.image, d, tap);
    for (int64_t i = 0; i < tile.count; ++i) {
      const int64_t at = i * groups + d;
      grads.store(sampling.shape, plane, tile.begin + i, points[at], dots + 4 * at);
    }
  }
}

template <typename T>
struct Gradients {
  SamplingGradients<T> sampling;
  T* weight;  // in the layout of Problem
};

// What the backward pass keeps of a slab of pixels for one tap, and of the gradient of one image.
template <typename T>
struct Slab {
  Scratch<T> forward;  // points and columns
  Buffer<T> columns;   // gradients
  std::vector<T> map;  // (channel blocks, area, channels of the block)

  explicit Slab(const DeformShape& s, int64_t pixels)
      : forward(s, pixels), columns(pixels * s.channels), map(s.area() * s.channels) {}
};

template <typename T>
class Backward {
 public:
  Backward(const Problem<T>& problem, const Gradients<T>& grads)
      : p_(problem), s_(p_.shape()), grads_(grads), pixels_(std::min(kSlab, s_.out_area())), slab_(s_, pixels_) {}

  // grad_out (out_area, out_channels), grad_x (area, channels)
  void image(int64_t image, const Matrix<const T>& grad_out, const Matrix<T>& grad_x) {
    std::fill(slab_.map.begin(), slab_.map.end(), T(0));
    for (int64_t begin = 0; begin < s_.out_area(); begin += pixels_) {
      const Tile tile{image, begin, std::min(pixels_, s_.out_area() - begin)};
      const auto upstream = grad_out.block(begin, tile.count, 0, s_.out_channels);
      for (int tap = 0; tap < s_.taps(); ++tap) {
        pixel_pass(tile, tap, upstream);
        channel_pass(tile, tap, upstream);
      }
    }
    for_each_block([&](int64_t, const ChannelRange& block) { write_map(block, grad_x); });
  }

 private:
  void pixel_pass(const Tile& slab, int tap, const Matrix<const T>& upstream) {
    torch::stable::parallel_for(0, (slab.count + kTile - 1) / kTile, 1, [&](int64_t begin, int64_t end) {
      std::vector<T> dots(4 * kTile * s_.deform_groups);
      for (int64_t i = begin; i < end; ++i) column_tile(slab, i * kTile, tap, upstream, dots.data());
    });
  }

  // The columns of a tile, their gradients, and the gradients of its offsets and mask.
  void column_tile(const Tile& slab, int64_t first, int tap, const Matrix<const T>& upstream, T* dots) {
    const Tile tile{slab.image, slab.begin + first, std::min(kTile, slab.count - first)};
    const Matrix<T> columns = column_matrix(slab_.columns.data()).block(first, tile.count, 0, s_.channels);
    for (int64_t g = 0; g < s_.groups; ++g)
      multiply(upstream.block(first, tile.count, g * s_.group_outputs(), s_.group_outputs()), p_.tap_weight(g, tap),
               false, columns.block(0, tile.count, g * s_.group_channels(), s_.group_channels()));
    DeformPoint<T>* points = slab_.forward.points.data() + first * s_.deform_groups;
    locate(p_.sampling, tile, tap, points);
    DeformRun<T> run = slab_.forward.run(s_, p_.map(tile.image), tile.count);
    run.points = points;
    sample(run, slab_.forward.columns.data() + first * s_.channels);
    dot(run, columns.data, dots);
    store_gradients(p_.sampling, tile, tap, points, dots, grads_.sampling);
  }

  void channel_pass(const Tile& slab, int tap, const Matrix<const T>& upstream) {
    const DeformRun<T> run = slab_.forward.run(s_, p_.map(slab.image), slab.count);
    const Matrix<const T> columns = column_matrix<const T>(slab_.forward.columns.data());
    for_each_block([&](int64_t g, const ChannelRange& block) {
      scatter(run, slab_.columns.data(), block, slab_.map.data() + block.first * s_.area());
      const auto grad = upstream.block(0, slab.count, g * s_.group_outputs(), s_.group_outputs());
      multiply(grad.transposed(), columns.block(0, slab.count, block.first, block.count), true,
               weight_matrix(g, tap, block));
    });
  }

  // Calls f(group, channels) in parallel for blocks that share all channels.
  template <typename F>
  void for_each_block(const F& f) const {
    const int64_t n = s_.group_channels(), blocks = (n + kChannelBlock - 1) / kChannelBlock;
    torch::stable::parallel_for(0, s_.groups * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % blocks * kChannelBlock;
        f(i / blocks, ChannelRange{i / blocks * n + first, std::min(kChannelBlock, n - first)});
      }
    });
  }

  template <typename V>
  Matrix<V> column_matrix(V* data) const {
    return {data, pixels_, s_.channels, s_.channels, 1};
  }

  Matrix<T> weight_matrix(int64_t group, int tap, const ChannelRange& block) const {
    const Matrix<const T> all = p_.tap_weight(group, tap);
    const int64_t column = block.first - group * s_.group_channels();
    return {grads_.weight + (all.data - p_.weight) + column, all.rows, block.count, all.row, 1};
  }

  void write_map(const ChannelRange& block, const Matrix<T>& out) const {
    constexpr int64_t kStep = 64;
    const T* from = slab_.map.data() + block.first * s_.area();
    T* to = out.data + block.first * out.column;
    for (int64_t first = 0; first < s_.area(); first += kStep)
      for (int64_t c = 0; c < block.count; ++c)
        for (int64_t i = first; i < std::min(first + kStep, s_.area()); ++i)
          to[i * out.row + c * out.column] = from[i * block.count + c];
  }

  const Problem<T>& p_;
  const DeformShape& s_;
  const Gradients<T> grads_;
  const int64_t pixels_;
  Slab<T> slab_;
};

template <typename T>
void backward(const Problem<T>& p, const Gradients<T>& grads, const Tensor& upstream, Tensor& grad_x) {
  const T* grad = data<T>(upstream);
  T* result = mutable_data<T>(grad_x);
  Backward<T> pass(p, grads);
  for (int64_t image = 0; image < p.shape().images; ++image)
    pass.image(image, pixel_matrix(grad, upstream, image), pixel_matrix(result, grad_x, image));
}

using torch::headeronly::MemoryFormat;

// `x` in the arithmetic type T, dense.
template <typename T>
Tensor prepare(const Tensor& x, MemoryFormat format = MemoryFormat::Contiguous) {
  constexpr ScalarType dtype = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
  return contiguous(x.scalar_type() == dtype ? x : torch::stable::to(x, dtype), format);
}

template <typename T>
std::optional<Tensor> prepare(const std::optional<Tensor>& x) {
  return x ? std::make_optional(prepare<T>(*x)) : std::nullopt;
}

template <typename T>
const T* data_or_null(const std::optional<Tensor>& x) {
  return x ? data<T>(*x) : nullptr;
}

MemoryFormat layout_of(const Tensor& x) {
  return is_channels_last(x) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

Tensor as_dtype_of(const Tensor& x, const Tensor& like) {
  return x.scalar_type() == like.scalar_type() ? x : torch::stable::to(x, like.scalar_type());
}

template <typename T>
Tensor empty(const Tensor& like, std::vector<int64_t> sizes, MemoryFormat format) {
  constexpr ScalarType dtype = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
  return torch::stable::empty(sizes, dtype, std::nullopt, like.device(), std::nullopt, format);
}

template <typename T>
struct Inputs {
  Tensor x, offset, weight;
  std::optional<Tensor> mask;

  Problem<T> problem(const DeformShape& shape) const {
    return {{shape, data<T>(offset), data_or_null<T>(mask)}, data<T>(x), data<T>(weight)};
  }
};

template <typename T>
Inputs<T> prepare_inputs(const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask,
                         const Tensor& weight) {
  return {prepare<T>(x, MemoryFormat::ChannelsLast), prepare<T>(offset), prepare<T>(weight, MemoryFormat::ChannelsLast),
          prepare<T>(mask)};
}

using Pair = std::vector<int64_t>;

// im2col_step bounds the columns that a device without caches keeps: here they are a tile.
Tensor deform_conv2d_cpu(const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
                         const std::optional<Tensor>& bias_in, const Pair& stride, const Pair& padding,
                         const Pair& dilation, int64_t groups, int64_t deform_groups, int64_t) {
  const auto shape = deform_shape(x, offset, weight, stride, padding, dilation, groups, deform_groups);
  std::optional<Tensor> out;
  dispatch_floating(x.scalar_type(), "deform_conv2d", [&](auto tag) {
    using T = Accumulate<typename decltype(tag)::type>;
    const auto inputs = prepare_inputs<T>(x, offset, mask, weight);
    const auto bias = prepare<T>(bias_in);
    out = empty<T>(x, {shape.images, shape.out_channels, offset.size(2), offset.size(3)}, layout_of(x));
    forward(inputs.problem(shape), data_or_null<T>(bias), *out);
  });
  return as_dtype_of(*out, x);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward_cpu(
    const Tensor& grad, const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
    const Pair& stride, const Pair& padding, const Pair& dilation, int64_t groups, int64_t deform_groups, int64_t,
    bool) {
  const auto shape = deform_shape(x, offset, weight, stride, padding, dilation, groups, deform_groups);
  std::optional<Tensor> grad_x, grad_offset, grad_mask, grad_weight;
  dispatch_floating(x.scalar_type(), "deform_conv2d_backward", [&](auto tag) {
    using T = Accumulate<typename decltype(tag)::type>;
    const auto inputs = prepare_inputs<T>(x, offset, mask, weight);
    const Tensor upstream = prepare<T>(grad, layout_of(grad));
    grad_x = empty<T>(x, {x.size(0), x.size(1), x.size(2), x.size(3)}, layout_of(x));
    grad_offset = torch::stable::empty_like(inputs.offset);
    grad_mask = inputs.mask ? torch::stable::empty_like(*inputs.mask) : torch::stable::new_empty(inputs.x, {0});
    grad_weight = torch::stable::empty_like(inputs.weight);
    torch::stable::zero_(*grad_weight);
    backward(inputs.problem(shape),
             Gradients<T>{{mutable_data<T>(*grad_offset), mask ? mutable_data<T>(*grad_mask) : nullptr},
                          mutable_data<T>(*grad_weight)},
             upstream, *grad_x);
  });
  return {as_dtype_of(*grad_x, x), as_dtype_of(*grad_offset, offset), as_dtype_of(*grad_mask, mask ? *mask : x),
          as_dtype_of(*grad_weight, weight)};
}

}  // namespace

OPS_REGISTER(m) {
  m.def(
      "deform_conv2d(Tensor x, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, int[] stride, int[] padding, "
      "int[] dilation, int groups, int deform_groups, int im2col_step) -> Tensor");
  m.def(
      "deform_conv2d_backward(Tensor grad, Tensor x, Tensor offset, Tensor? mask, Tensor weight, int[] stride, "
      "int[] padding, int[] dilation, int groups, int deform_groups, int im2col_step, bool deterministic) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d_cpu));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward_cpu));
}

}  // namespace ops
