// Multi-scale deformable attention, forward and backward.
//
// Forward: a task is a query of one image. The corners and weights of all samples of a head are computed first,
// vectorised over the samples, then the corners' channels, contiguous in memory, are summed in registers. Backward: a
// task is a level of a head of one image, whose part of every gradient belongs to it alone, so the result does not
// depend on the number of threads.
#include "common/levels.h"
#include "cpu/channel_block.h"

namespace ops {
namespace {

constexpr int64_t kWide = 4 * kLanes;  // channels summed in registers at a time

struct Shape {
  int64_t images, pixels, heads, channels, queries, levels, points;

  Shape(const Tensor& value, const Tensor& locations)
      : images(value.size(0)),
        pixels(value.size(1)),
        heads(value.size(2)),
        channels(value.size(3)),
        queries(locations.size(1)),
        levels(locations.size(3)),
        points(locations.size(4)) {}

  int64_t samples() const { return levels * points; }
  int64_t row() const { return heads * channels; }
};

// The four corners of each sample of a head: pixel index and weight.
template <typename T>
struct Corners {
  std::vector<int> pixel[4];
  std::vector<T> weight[4];

  explicit Corners(int64_t samples) {
    for (int k = 0; k < 4; ++k) pixel[k].resize(samples), weight[k].resize(samples);
  }
};

// Each level once per point, so that loops over samples are plain.
struct SampleLevels {
  std::vector<int> height, width, start;

  SampleLevels(const std::vector<Level>& levels, int64_t points) {
    for (const Level& level : levels)
      for (int64_t i = 0; i < points; ++i) {
        height.push_back(level.height), width.push_back(level.width);
        start.push_back(static_cast<int>(level.start));
      }
  }
};

template <typename T>
OPS_INLINE void locate(const T* locations, const T* attention, const SampleLevels& levels, Corners<T>& corners) {
  const int *height = levels.height.data(), *width = levels.width.data(), *start = levels.start.data();
  int *a = corners.pixel[0].data(), *b = corners.pixel[1].data(), *c = corners.pixel[2].data(),
      *d = corners.pixel[3].data();
  T *wa = corners.weight[0].data(), *wb = corners.weight[1].data(), *wc = corners.weight[2].data(),
    *wd = corners.weight[3].data();
  const int64_t count = static_cast<int64_t>(levels.start.size());
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const auto x = zero_padded_tap(locations[2 * i], width[i]), y = zero_padded_tap(locations[2 * i + 1], height[i]);
    const int top = start[i] + y.low * width[i], bottom = start[i] + y.high * width[i];
    const T upper = attention[i] * y.weight_low, lower = attention[i] * y.weight_high;
    a[i] = top + x.low, b[i] = top + x.high, c[i] = bottom + x.low, d[i] = bottom + x.high;
    wa[i] = upper * x.weight_low, wb[i] = upper * x.weight_high;
    wc[i] = lower * x.weight_low, wd[i] = lower * x.weight_high;
  }
}

// out[0 .. N * kLanes) = the weighted sum of the corners.
template <int N, typename T>
OPS_INLINE void sum_corners(const T* value, int64_t row, const Corners<T>& corners, T* out) {
  Lanes<T> sum[N] = {};
  const int64_t samples = static_cast<int64_t>(corners.pixel[0].size());
  for (int64_t i = 0; i < samples; ++i)
    for (int k = 0; k < 4; ++k) {
      const T weight = corners.weight[k][i];
      const T* pixel = value + corners.pixel[k][i] * row;
      for (int n = 0; n < N; ++n) {
        Lanes<T> lanes;
        load(lanes, pixel + n * kLanes);
        sum[n] += weight * lanes;
      }
    }
  for (int n = 0; n < N; ++n) store(out + n * kLanes, sum[n]);
}

template <typename T>
OPS_INLINE void attend_body(const T* value, const T* locations, const T* attention, const SampleLevels& levels,
                            const Shape& shape, Corners<T>& corners, T* out) {
  for (int64_t head = 0; head < shape.heads; ++head) {
    locate(locations + 2 * head * shape.samples(), attention + head * shape.samples(), levels, corners);
    const T* from = value + head * shape.channels;
    T* to = out + head * shape.channels;
    int64_t c = 0;
    for (; c + kWide <= shape.channels; c += kWide) sum_corners<4>(from + c, shape.row(), corners, to + c);
    for (; c + kLanes <= shape.channels; c += kLanes) sum_corners<1>(from + c, shape.row(), corners, to + c);
    for (; c < shape.channels; ++c) {
      T sum = 0;
      for (int64_t i = 0; i < shape.samples(); ++i)
        for (int k = 0; k < 4; ++k) sum += corners.weight[k][i] * from[corners.pixel[k][i] * shape.row() + c];
      to[c] = sum;
    }
  }
}

OPS_VECTORIZED void attend(const float* value, const float* locations, const float* attention,
                           const SampleLevels& levels, const Shape& shape, Corners<float>& corners, float* out) {
  attend_body(value, locations, attention, levels, shape, corners, out);
}

OPS_VECTORIZED void attend(const double* value, const double* locations, const double* attention,
                           const SampleLevels& levels, const Shape& shape, Corners<double>& corners, double* out) {
  attend_body(value, locations, attention, levels, shape, corners, out);
}

template <typename T>
void forward(const Tensor& value, const std::vector<Level>& levels, const Tensor& locations, const Tensor& attention,
             Tensor& out) {
  const Shape shape(value, locations);
  const SampleLevels sample_levels(levels, shape.points);
  const int64_t samples = shape.heads * shape.samples();
  torch::stable::parallel_for(0, shape.images * shape.queries, 16, [&](int64_t begin, int64_t end) {
    Corners<T> corners(shape.samples());
    for (int64_t i = begin; i < end; ++i)
      attend(data<T>(value) + i / shape.queries * shape.pixels * shape.row(), data<T>(locations) + 2 * i * samples,
             data<T>(attention) + i * samples, sample_levels, shape, corners, mutable_data<T>(out) + i * shape.row());
  });
}

// What the backward pass of one level of one head of an image reads and writes.
template <typename T>
struct Task {
  const T *upstream, *value, *locations, *attention;
  T *grad_value, *grad_locations, *grad_attention;
  Level level;
  int64_t row;  // from a pixel to the next, in value and grad_value
};

template <typename T>
OPS_INLINE T sum_lanes(const Lanes<T>& lanes) {
  Lanes<T> v = lanes;
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
  v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
  return v[0];
}

// grad[0 .. channels) += weight * upstream; returns the product of value and upstream.
template <typename T>
OPS_INLINE T spread(const T* upstream, const T* value, T weight, int64_t channels, T* grad) {
  Lanes<T> dot = {};
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Lanes<T> g, v, sum;
    load(g, upstream + c), load(v, value + c), load(sum, grad + c);
    dot += g * v;
    sum += weight * g;
    store(grad + c, sum);
  }
  T total = sum_lanes<T>(dot);
  for (; c < channels; ++c) {
    total += upstream[c] * value[c];
    grad[c] += weight * upstream[c];
  }
  return total;
}

template <typename T>
OPS_INLINE void sample_gradients(const Task<T>& task, const Shape& shape, const T* upstream, int64_t sample) {
  const auto x = zero_padded_tap(task.locations[2 * sample], task.level.width);
  const auto y = zero_padded_tap(task.locations[2 * sample + 1], task.level.height);
  const T weight = task.attention[sample];
  const auto corner = [&](int py, int px, T share) {
    const int64_t at = (static_cast<int64_t>(py) * task.level.width + px) * task.row;
    return spread(upstream, task.value + at, share * weight, shape.channels, task.grad_value + at);
  };
  const T a = corner(y.low, x.low, y.weight_low * x.weight_low),
          b = corner(y.low, x.high, y.weight_low * x.weight_high);
  const T c = corner(y.high, x.low, y.weight_high * x.weight_low);
  const T d = corner(y.high, x.high, y.weight_high * x.weight_high);
  const T top = x.weight_low * a + x.weight_high * b, bottom = x.weight_low * c + x.weight_high * d;
  task.grad_attention[sample] = y.weight_low * top + y.weight_high * bottom;
  task.grad_locations[2 * sample] = weight * (y.weight_low * (x.slope_low * a + x.slope_high * b) +
                                              y.weight_high * (x.slope_low * c + x.slope_high * d));
  task.grad_locations[2 * sample + 1] = weight * (y.slope_low * top + y.slope_high * bottom);
}

// Neighbouring queries are a row of all heads apart, which the hardware does not prefetch.
template <typename T>
OPS_INLINE void prefetch_query(const Task<T>& task, const Shape& shape, int64_t query) {
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t sample = query * shape.heads * shape.samples();
  __builtin_prefetch(task.locations + 2 * sample);
  __builtin_prefetch(task.attention + sample);
  __builtin_prefetch(task.grad_locations + 2 * sample, 1);
  __builtin_prefetch(task.grad_attention + sample, 1);
  for (int64_t c = 0; c < shape.channels; c += kLine) __builtin_prefetch(task.upstream + query * shape.row() + c);
}

template <typename T>
OPS_INLINE void level_gradients_body(const Task<T>& task, const Shape& shape) {
  constexpr int64_t kAhead = 6;
  for (int64_t query = 0; query < shape.queries; ++query) {
    prefetch_query(task, shape, std::min(query + kAhead, shape.queries - 1));
    const int64_t sample = query * shape.heads * shape.samples();
    for (int64_t point = 0; point < shape.points; ++point)
      sample_gradients(task, shape, task.upstream + query * shape.row(), sample + point);
  }
}

OPS_VECTORIZED void level_gradients(const Task<float>& task, const Shape& shape) { level_gradients_body(task, shape); }

OPS_VECTORIZED void level_gradients(const Task<double>& task, const Shape& shape) { level_gradients_body(task, shape); }

// The same on copies of the level's channels without those of the other heads between: a cache holds far more of them.
template <typename T>
void compact_level_gradients(Task<T> task, const Shape& shape, std::vector<T>& value, std::vector<T>& grad) {
  const int64_t pixels = static_cast<int64_t>(task.level.height) * task.level.width, channels = shape.channels;
  value.resize(pixels * channels), grad.assign(pixels * channels, T(0));
  for (int64_t i = 0; i < pixels; ++i) std::copy_n(task.value + i * task.row, channels, value.data() + i * channels);
  T* result = task.grad_value;
  const int64_t row = task.row;
  task.value = value.data(), task.grad_value = grad.data(), task.row = channels;
  level_gradients(task, shape);
  for (int64_t i = 0; i < pixels; ++i) std::copy_n(grad.data() + i * channels, channels, result + i * row);
}

// Gradients of value, locations and attention; the first one zeroed.
template <typename T>
void backward(const Tensor& grad, const Tensor& value, const std::vector<Level>& levels, const Tensor& locations,
              const Tensor& attention, Tensor (&grads)[3]) {
  const Shape shape(value, locations);
  torch::stable::parallel_for(0, shape.images * shape.heads * shape.levels, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> value_copy, grad_copy;
    for (int64_t i = begin; i < end; ++i) {
      const Level& level = levels[i % shape.levels];
      const int64_t head = i / shape.levels % shape.heads, image = i / shape.levels / shape.heads;
      const int64_t at = (image * shape.pixels + level.start) * shape.row() + head * shape.channels;
      const int64_t sample =
          ((image * shape.queries * shape.heads + head) * shape.levels + i % shape.levels) * shape.points;
      const Task<T> task{data<T>(grad) + image * shape.queries * shape.row() + head * shape.channels,
                         data<T>(value) + at,
                         data<T>(locations) + 2 * sample,
                         data<T>(attention) + sample,
                         mutable_data<T>(grads[0]) + at,
                         mutable_data<T>(grads[1]) + 2 * sample,
                         mutable_data<T>(grads[2]) + sample,
                         level,
                         shape.row()};
      if (shape.queries * shape.points > static_cast<int64_t>(level.height) * level.width)
        compact_level_gradients(task, shape, value_copy, grad_copy);
      else
        level_gradients(task, shape);
    }
  });
}

Tensor as_dtype(const Tensor& x, ScalarType dtype) { return contiguous(torch::stable::to(x, dtype)); }

std::vector<Level> host_levels(const Tensor& shapes, const Tensor& starts, int64_t pixels) {
  const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
  return read_levels(contiguous(torch::stable::to(shapes, cpu)), contiguous(torch::stable::to(starts, cpu)), pixels,
                     "ms_deform_attn");
}

Tensor ms_deform_attn_cpu(const Tensor& value_in, const Tensor& shapes, const Tensor& starts,
                          const Tensor& locations_in, const Tensor& attention_in) {
  const ScalarType dtype = locations_in.scalar_type();
  const Tensor value = as_dtype(value_in, dtype);
  const Tensor locations = contiguous(locations_in), attention = contiguous(attention_in);
  const auto levels = host_levels(shapes, starts, value.size(1));
  Tensor out = torch::stable::new_empty(value, {value.size(0), locations.size(1), value.size(2) * value.size(3)});
  dtype == ScalarType::Double ? forward<double>(value, levels, locations, attention, out)
                              : forward<float>(value, levels, locations, attention, out);
  return torch::stable::to(out, value_in.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward_cpu(const Tensor& grad_in, const Tensor& value_in,
                                                               const Tensor& shapes, const Tensor& starts,
                                                               const Tensor& locations_in, const Tensor& attention_in,
                                                               bool deterministic) {
  const ScalarType dtype = locations_in.scalar_type();
  const Tensor grad = as_dtype(grad_in, dtype), value = as_dtype(value_in, dtype);
  const Tensor locations = contiguous(locations_in), attention = contiguous(attention_in);
  const auto levels = host_levels(shapes, starts, value.size(1));
  Tensor grads[3] = {torch::stable::new_zeros(value, value.sizes()),
                     torch::stable::new_empty(locations, locations.sizes()),
                     torch::stable::new_empty(attention, attention.sizes())};
  dtype == ScalarType::Double ? backward<double>(grad, value, levels, locations, attention, grads)
                              : backward<float>(grad, value, levels, locations, attention, grads);
  return {torch::stable::to(grads[0], value_in.scalar_type()), grads[1], grads[2]};
}

}  // namespace

OPS_REGISTER(m) {
  m.def("ms_deform_attn(Tensor value, Tensor shapes, Tensor starts, Tensor locations, Tensor attention) -> Tensor");
  m.def(
      "ms_deform_attn_backward(Tensor grad, Tensor value, Tensor shapes, Tensor starts, Tensor locations, "
      "Tensor attention, bool deterministic) -> (Tensor, Tensor, Tensor)");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&ms_deform_attn_cpu));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&ms_deform_attn_backward_cpu));
}

}  // namespace ops
