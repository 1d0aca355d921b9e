// CARAFE, content-aware reassembly of features, forward and backward.
//
// The features are first widened: each pixel of a row repeated `scale` times, the row padded with zeros. There a tap of
// the kernel is a shift along the row, the same for all output pixels, so every loop runs over neighbouring pixels. A
// task owns rows of the output or of the masks' gradient, or channels of the features' gradient, so that threads don't
// change the result.
#include "cpu/channel_block.h"

namespace ops {
namespace {

struct Shape {
  int64_t images, channels, height, width, kernel, groups, scale;

  int64_t group_channels() const { return channels / groups; }
  int64_t taps() const { return kernel * kernel; }
  int64_t out_height() const { return height * scale; }
  int64_t out_width() const { return width * scale; }
  int64_t out_area() const { return out_height() * out_width(); }
  int64_t pad() const { return kernel / 2 * scale; }
  int64_t wide_width() const { return out_width() + 2 * pad(); }
  int64_t wide_area() const { return height * wide_width(); }
  int64_t mask_plane(int64_t image, int64_t group) const { return (image * groups + group) * taps() * out_area(); }

  // The row of the features under row y of the output and row i of the kernel; -1 outside.
  int64_t source(int64_t y, int64_t i) const {
    const int64_t row = y / scale + i - kernel / 2;
    return row < height ? row : -1;
  }
};

// A row of the output in one group: tap t of the masks at mask + t * out_area, channel c at + c * wide_area or
// out_area.
template <typename T>
struct Row {
  const T *mask, *wide;
  T* out;
  int64_t y;
};

// The widened features (n, c, h, wide width).
template <typename T>
std::vector<T> widen(const Tensor& features, const Shape& s) {
  const int64_t rows = s.images * s.channels * s.height;
  std::vector<T> wide(rows * s.wide_width());
  torch::stable::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = data<T>(features) + i * s.width;
      T* to = wide.data() + i * s.wide_width() + s.pad();
      for (int64_t x = 0; x < s.width; ++x) std::fill_n(to + x * s.scale, s.scale, from[x]);
    }
  });
  return wide;
}

template <typename V, typename T>
OPS_INLINE void load_pixels(V& v, const T* p) {
  std::memcpy(&v, p, sizeof(V));
}

// Output pixels of N channels from x on, as many as a V holds.
template <int N, typename V, typename T>
OPS_INLINE void reassemble_pixels(const Row<T>& row, const Shape& s, int64_t x) {
  V sum[N] = {};
  for (int64_t i = 0; i < s.kernel; ++i) {
    const int64_t source = s.source(row.y, i);
    if (source < 0) continue;
    const T* wide = row.wide + source * s.wide_width() + x;
    const T* mask = row.mask + i * s.kernel * s.out_area() + x;
    for (int64_t j = 0; j < s.kernel; ++j, wide += s.scale, mask += s.out_area()) {
      V weight, value;
      load_pixels(weight, mask);
      for (int n = 0; n < N; ++n) {
        load_pixels(value, wide + n * s.wide_area());
        sum[n] += weight * value;
      }
    }
  }
  for (int n = 0; n < N; ++n) std::memcpy(row.out + n * s.out_area() + x, &sum[n], sizeof(V));
}

template <int N, typename T>
OPS_INLINE void reassemble_channels(const Row<T>& row, const Shape& s) {
  int64_t x = 0;
  for (; x + kLanes <= s.out_width(); x += kLanes) reassemble_pixels<N, Lanes<T>>(row, s, x);
  for (; x < s.out_width(); ++x) reassemble_pixels<N, T>(row, s, x);
}

template <typename T>
OPS_INLINE void reassemble_body(Row<T> row, const Shape& s) {
  int64_t c = s.group_channels();
  for (; c >= 4; c -= 4, row.wide += 4 * s.wide_area(), row.out += 4 * s.out_area()) reassemble_channels<4>(row, s);
  for (; c > 0; --c, row.wide += s.wide_area(), row.out += s.out_area()) reassemble_channels<1>(row, s);
}

OPS_VECTORIZED void reassemble(const Row<float>& row, const Shape& s) { reassemble_body(row, s); }

OPS_VECTORIZED void reassemble(const Row<double>& row, const Shape& s) { reassemble_body(row, s); }

// Gradients of N neighbouring taps of a row of the kernel, for output pixels from x on, as many as a V holds.
template <int N, typename V, typename T>
OPS_INLINE void mask_gradient_pixels(const T* upstream, const T* wide, const Shape& s, T* out) {
  V sum[N] = {};
  for (int64_t c = 0; c < s.group_channels(); ++c, upstream += s.out_area(), wide += s.wide_area()) {
    V grad, value;
    load_pixels(grad, upstream);
    for (int n = 0; n < N; ++n) {
      load_pixels(value, wide + n * s.scale);
      sum[n] += grad * value;
    }
  }
  for (int n = 0; n < N; ++n) std::memcpy(out + n * s.out_area(), &sum[n], sizeof(V));
}

template <typename V, typename T>
OPS_INLINE void mask_gradient_taps(const T* upstream, const T* wide, const Shape& s, T* out) {
  int64_t j = 0;
  for (; j + 4 <= s.kernel; j += 4) mask_gradient_pixels<4, V>(upstream, wide + j * s.scale, s, out + j * s.out_area());
  for (; j < s.kernel; ++j) mask_gradient_pixels<1, V>(upstream, wide + j * s.scale, s, out + j * s.out_area());
}

// `upstream` and `out` point at a row of the output, `out` zeroed; `wide` at the first row.
template <typename T>
OPS_INLINE void mask_gradient_body(const T* upstream, const T* wide, int64_t y, const Shape& s, T* out) {
  for (int64_t i = 0; i < s.kernel; ++i) {
    const int64_t source = s.source(y, i);
    if (source < 0) continue;
    const T* from = wide + source * s.wide_width();
    T* to = out + i * s.kernel * s.out_area();
    int64_t x = 0;
    for (; x + kLanes <= s.out_width(); x += kLanes) mask_gradient_taps<Lanes<T>>(upstream + x, from + x, s, to + x);
    for (; x < s.out_width(); ++x) mask_gradient_taps<T>(upstream + x, from + x, s, to + x);
  }
}

OPS_VECTORIZED void mask_gradient(const float* upstream, const float* wide, int64_t y, const Shape& s, float* out) {
  mask_gradient_body(upstream, wide, y, s, out);
}

OPS_VECTORIZED void mask_gradient(const double* upstream, const double* wide, int64_t y, const Shape& s, double* out) {
  mask_gradient_body(upstream, wide, y, s, out);
}

// Adds row y of the products of masks and upstream gradient to `wide`, one channel of widened features.
template <typename T>
OPS_INLINE void scatter_row_body(const T* upstream, const T* mask, int64_t y, const Shape& s, T* wide) {
  const int64_t width = s.out_width();
  for (int64_t i = 0; i < s.kernel; ++i) {
    const int64_t source = s.source(y, i);
    if (source < 0) continue;
    for (int64_t j = 0; j < s.kernel; ++j) {
      T* to = wide + source * s.wide_width() + j * s.scale;
      const T* weight = mask + (i * s.kernel + j) * s.out_area();
#pragma GCC ivdep
      for (int64_t x = 0; x < width; ++x) to[x] += weight[x] * upstream[x];
    }
  }
}

OPS_VECTORIZED void scatter_row(const float* upstream, const float* mask, int64_t y, const Shape& s, float* wide) {
  scatter_row_body(upstream, mask, y, s, wide);
}

OPS_VECTORIZED void scatter_row(const double* upstream, const double* mask, int64_t y, const Shape& s, double* wide) {
  scatter_row_body(upstream, mask, y, s, wide);
}

// The transpose of `widen` for one channel.
template <typename T>
void narrow(const T* wide, const Shape& s, T* out) {
  for (int64_t y = 0; y < s.height; ++y)
    for (int64_t x = 0; x < s.width; ++x) {
      T sum = 0;
      for (int64_t k = 0; k < s.scale; ++k) sum += wide[y * s.wide_width() + s.pad() + x * s.scale + k];
      out[y * s.width + x] = sum;
    }
}

// Calls f(image, group, row y of the output) for each, in parallel.
template <typename F>
void for_each_row(const Shape& s, const F& f) {
  torch::stable::parallel_for(0, s.images * s.out_height(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t group = 0; group < s.groups; ++group) f(i / s.out_height(), group, i % s.out_height());
  });
}

template <typename T>
void forward(const Tensor& features, const Tensor& masks, const Shape& s, Tensor& out) {
  const auto wide = widen<T>(features, s);
  for_each_row(s, [&](int64_t image, int64_t group, int64_t y) {
    const int64_t plane = image * s.channels + group * s.group_channels();
    reassemble(
        Row<T>{data<T>(masks) + s.mask_plane(image, group) + y * s.out_width(), wide.data() + plane * s.wide_area(),
               mutable_data<T>(out) + plane * s.out_area() + y * s.out_width(), y},
        s);
  });
}

template <typename T>
void masks_backward(const Tensor& grad, const Tensor& features, const Shape& s, Tensor& out) {
  const auto wide = widen<T>(features, s);
  for_each_row(s, [&](int64_t image, int64_t group, int64_t y) {
    const int64_t plane = image * s.channels + group * s.group_channels();
    mask_gradient(data<T>(grad) + plane * s.out_area() + y * s.out_width(), wide.data() + plane * s.wide_area(), y, s,
                  mutable_data<T>(out) + s.mask_plane(image, group) + y * s.out_width());
  });
}

template <typename T>
void features_backward(const Tensor& grad, const Tensor& masks, const Shape& s, Tensor& out) {
  constexpr int64_t kTogether = 4;  // channels that read a row of the masks while it is in the cache
  const int64_t blocks = (s.group_channels() + kTogether - 1) / kTogether;
  torch::stable::parallel_for(0, s.images * s.groups * blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> wide(kTogether * s.wide_area());
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / blocks % s.groups, image = i / blocks / s.groups, first = i % blocks * kTogether;
      const int64_t count = std::min(kTogether, s.group_channels() - first);
      const int64_t plane = image * s.channels + group * s.group_channels() + first;
      std::fill(wide.begin(), wide.end(), T(0));
      for (int64_t y = 0; y < s.out_height(); ++y)
        for (int64_t c = 0; c < count; ++c)
          scatter_row(data<T>(grad) + (plane + c) * s.out_area() + y * s.out_width(),
                      data<T>(masks) + s.mask_plane(image, group) + y * s.out_width(), y, s,
                      wide.data() + c * s.wide_area());
      for (int64_t c = 0; c < count; ++c)
        narrow(wide.data() + c * s.wide_area(), s, mutable_data<T>(out) + (plane + c) * s.height * s.width);
    }
  });
}

Shape shape_of(const Tensor& features, int64_t kernel, int64_t groups, int64_t scale) {
  return {features.size(0), features.size(1), features.size(2), features.size(3), kernel, groups, scale};
}

Tensor carafe_cpu(const Tensor& features_in, const Tensor& masks_in, int64_t kernel, int64_t groups, int64_t scale) {
  const Tensor features = as_accumulate(features_in), masks = as_accumulate(masks_in);
  const Shape s = shape_of(features, kernel, groups, scale);
  Tensor out = torch::stable::new_empty(features, {s.images, s.channels, s.out_height(), s.out_width()});
  features.scalar_type() == ScalarType::Double ? forward<double>(features, masks, s, out)
                                               : forward<float>(features, masks, s, out);
  return torch::stable::to(out, features_in.scalar_type());
}

std::tuple<Tensor, Tensor> carafe_backward_cpu(const Tensor& grad_in, const Tensor& features_in, const Tensor& masks_in,
                                               int64_t kernel, int64_t groups, int64_t scale) {
  const Tensor grad = as_accumulate(grad_in), features = as_accumulate(features_in), masks = as_accumulate(masks_in);
  const Shape s = shape_of(features, kernel, groups, scale);
  Tensor grad_features = torch::stable::new_empty(features, features.sizes());
  Tensor grad_masks = torch::stable::new_zeros(masks, masks.sizes());
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    features_backward<T>(grad, masks, s, grad_features);
    masks_backward<T>(grad, features, s, grad_masks);
  };
  features.scalar_type() == ScalarType::Double ? run(Type<double>{}) : run(Type<float>{});
  return {torch::stable::to(grad_features, features_in.scalar_type()),
          torch::stable::to(grad_masks, masks_in.scalar_type())};
}

}  // namespace

OPS_REGISTER(m) {
  m.def("carafe(Tensor features, Tensor masks, int kernel, int groups, int scale) -> Tensor");
  m.def(
      "carafe_backward(Tensor grad, Tensor features, Tensor masks, int kernel, int groups, int scale) -> "
      "(Tensor, Tensor)");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("carafe", TORCH_BOX(&carafe_cpu));
  m.impl("carafe_backward", TORCH_BOX(&carafe_backward_cpu));
}

}  // namespace ops
