// Multi-scale deformable attention.
//
// Forward: one thread a few neighbouring channels of an output, 16 bytes where they are aligned. Backward: a group of
// threads of a warp a query and head, one channel a thread; the gradient of value is scattered by atomic additions, or,
// where the result must not change from run to run, by one thread for each channel of a level.
#include "common/levels.h"
#include "cuda/launch.h"

namespace ops {
namespace {

template <typename T>
struct Problem {
  const int64_t *shapes, *starts;
  const T *locations, *attention;
  int64_t images, pixels, heads, channels, queries;
  int levels, points;

  __device__ __forceinline__ Level level(int i) const {
    const int64_t height = shapes[2 * i], width = shapes[2 * i + 1];
    const bool sane = height > 0 && height <= pixels && width > 0 && width <= pixels;
    return {sane ? static_cast<int>(height) : 0, sane ? static_cast<int>(width) : 0, starts[i]};
  }

  __host__ __device__ int64_t row() const { return heads * channels; }
  int64_t groups() const { return images * queries * heads; }
};

template <typename S, int N>
struct alignas(sizeof(S) * N) Pack {
  S values[N];
};

template <int N, typename T, typename S>
__device__ __forceinline__ void add_pixel(T (&sum)[N], T weight, const S* pixel) {
  const auto pack = *reinterpret_cast<const Pack<S, N>*>(pixel);
#pragma unroll
  for (int n = 0; n < N; ++n) sum[n] += weight * static_cast<T>(pack.values[n]);
}

// Adds the samples of one level to N channels.
template <int N, typename T, typename S>
__device__ __forceinline__ void add_level(T (&sum)[N], const S* value, const Problem<T>& p, const Level& level,
                                          const T* locations, const T* attention) {
  const int64_t row = p.row();
  for (int i = 0; i < p.points; ++i) {
    const auto x = zero_padded_tap(locations[2 * i], level.width);
    const auto y = zero_padded_tap(locations[2 * i + 1], level.height);
    const T upper = attention[i] * y.weight_low, lower = attention[i] * y.weight_high;
    const S *top = value + static_cast<int64_t>(y.low) * level.width * row,
            *bottom = value + static_cast<int64_t>(y.high) * level.width * row;
    add_pixel<N>(sum, upper * x.weight_low, top + x.low * row);
    add_pixel<N>(sum, upper * x.weight_high, top + x.high * row);
    add_pixel<N>(sum, lower * x.weight_low, bottom + x.low * row);
    add_pixel<N>(sum, lower * x.weight_high, bottom + x.high * row);
  }
}

template <int N, typename T, typename S>
__global__ void forward_kernel(const S* value, Problem<T> p, int64_t count, S* out) {
  for_each_index(count, [&](int64_t i) {
    const int64_t packs = p.channels / N, channel = i % packs * N, group = i / packs;  // a group: image, query, head
    const int64_t head = group % p.heads, image = group / p.heads / p.queries;
    const S* from = value + image * p.pixels * p.row() + head * p.channels + channel;
    T sum[N] = {};
    for (int l = 0; l < p.levels; ++l) {
      const Level level = p.level(l);
      const int64_t sample = (group * p.levels + l) * p.points;
      if (level.fits(p.pixels))
        add_level<N>(sum, from + level.start * p.row(), p, level, p.locations + 2 * sample, p.attention + sample);
    }
    Pack<S, N> result;
#pragma unroll
    for (int n = 0; n < N; ++n) result.values[n] = static_cast<S>(sum[n]);
    *reinterpret_cast<Pack<S, N>*>(out + group * p.channels + channel) = result;
  });
}

// The gradients of a sample by its location and weight, summed over channels.
template <typename T>
struct SampleGradient {
  T x, y, weight;
};

// Adds one channel of a sample to `sum`; its gradient by value, if wanted, to `grad_value`.
template <bool kScatter, typename T, typename S>
__device__ __forceinline__ void add_channel(SampleGradient<T>& sum, const ZeroPaddedTap<T>& x,
                                            const ZeroPaddedTap<T>& y, T attention, T upstream, const S* value,
                                            int64_t row, int64_t column, T* grad_value) {
  const int64_t at[4] = {y.low * row + x.low * column, y.low * row + x.high * column, y.high * row + x.low * column,
                         y.high * row + x.high * column};
  const T shares[4] = {y.weight_low * x.weight_low, y.weight_low * x.weight_high, y.weight_high * x.weight_low,
                       y.weight_high * x.weight_high};
  T corner[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    corner[k] = upstream * static_cast<T>(value[at[k]]);
    if (kScatter && shares[k] != T(0)) atomicAdd(grad_value + at[k], shares[k] * attention * upstream);
  }
  const T top = x.weight_low * corner[0] + x.weight_high * corner[1];
  const T bottom = x.weight_low * corner[2] + x.weight_high * corner[3];
  sum.weight += y.weight_low * top + y.weight_high * bottom;
  sum.y += y.slope_low * top + y.slope_high * bottom;
  sum.x += y.weight_low * (x.slope_low * corner[0] + x.slope_high * corner[1]) +
           y.weight_high * (x.slope_low * corner[2] + x.slope_high * corner[3]);
}

// The sum over the `width` threads of a group, a power of two, in the first of them.
template <typename T>
__device__ __forceinline__ T sum_group(T v, int width, unsigned members) {
  for (int step = width / 2; step > 0; step /= 2) v += __shfl_down_sync(members, v, step, width);
  return v;
}

template <bool kScatter, typename T, typename S>
__global__ void backward_kernel(const S* grad, const S* value, Problem<T> p, int width, int64_t count, T* grad_value,
                                T* grad_locations, T* grad_attention) {
  const int lane = threadIdx.x % 32, first = lane / width * width, member = lane - first;
  const unsigned members = width == 32 ? ~0u : ((1u << width) - 1) << first;
  for_each_index(count, [&](int64_t i) {
    const int64_t sample = i / width, group = sample / (p.levels * p.points);
    const Level level = p.level(static_cast<int>(sample / p.points % p.levels));
    SampleGradient<T> sum = {};
    if (level.fits(p.pixels)) {
      const auto x = zero_padded_tap(p.locations[2 * sample], level.width);
      const auto y = zero_padded_tap(p.locations[2 * sample + 1], level.height);
      const int64_t column = p.row(), row = level.width * column, image = group / p.heads / p.queries;
      const int64_t from = (image * p.pixels + level.start) * column + group % p.heads * p.channels;
      for (int64_t c = member; c < p.channels; c += width)
        add_channel<kScatter>(sum, x, y, p.attention[sample], static_cast<T>(grad[group * p.channels + c]),
                              value + from + c, row, column, grad_value + from + c);
    }
    sum = {sum_group(sum.x, width, members), sum_group(sum.y, width, members), sum_group(sum.weight, width, members)};
    if (member > 0) return;
    grad_locations[2 * sample] = p.attention[sample] * sum.x;
    grad_locations[2 * sample + 1] = p.attention[sample] * sum.y;
    grad_attention[sample] = sum.weight;
  });
}

// One thread a channel of a level of an image, which adds all samples in their order.
template <typename T, typename S>
__global__ void ordered_scatter_kernel(const S* grad, Problem<T> p, int64_t count, T* grad_value) {
  for_each_index(count, [&](int64_t i) {
    const int64_t channel = i % p.row(), head = channel / p.channels, image = i / p.row() / p.levels;
    const int l = static_cast<int>(i / p.row() % p.levels);
    const Level level = p.level(l);
    if (!level.fits(p.pixels)) return;
    T* to = grad_value + (image * p.pixels + level.start) * p.row() + channel;
    const int64_t column = p.row(), row = level.width * column;
    for (int64_t query = image * p.queries; query < (image + 1) * p.queries; ++query)
      for (int point = 0; point < p.points; ++point) {
        const int64_t sample = ((query * p.heads + head) * p.levels + l) * p.points + point;
        const auto x = zero_padded_tap(p.locations[2 * sample], level.width);
        const auto y = zero_padded_tap(p.locations[2 * sample + 1], level.height);
        const T share = p.attention[sample] * static_cast<T>(grad[query * p.row() + channel]);
        to[y.low * row + x.low * column] += y.weight_low * x.weight_low * share;
        to[y.low * row + x.high * column] += y.weight_low * x.weight_high * share;
        to[y.high * row + x.low * column] += y.weight_high * x.weight_low * share;
        to[y.high * row + x.high * column] += y.weight_high * x.weight_high * share;
      }
  });
}

// Tensors as the kernels read them; keeps what was copied alive.
template <typename T>
struct Inputs {
  Tensor value, shapes, starts, locations, attention;

  Inputs(const Tensor& value_in, const Tensor& shapes_in, const Tensor& starts_in, const Tensor& locations_in,
         const Tensor& attention_in)
      : value(contiguous(value_in)),
        shapes(contiguous(shapes_in)),
        starts(contiguous(starts_in)),
        locations(contiguous(locations_in)),
        attention(contiguous(attention_in)) {
    if (shapes.is_cpu() && starts.is_cpu()) read_levels(shapes, starts, value.size(1), "ms_deform_attn");
    shapes = torch::stable::to(shapes, value.device());
    starts = torch::stable::to(starts, value.device());
  }

  Problem<T> problem() const {
    return {data<int64_t>(shapes),
            data<int64_t>(starts),
            data<T>(locations),
            data<T>(attention),
            value.size(0),
            value.size(1),
            value.size(2),
            value.size(3),
            locations.size(1),
            static_cast<int>(locations.size(3)),
            static_cast<int>(locations.size(4))};
  }
};

template <typename T, typename S>
void forward(const Launcher& launch, const Inputs<T>& in, Tensor& out) {
  constexpr int kPack = 16 / sizeof(S);
  const auto p = in.problem();
  const S* value = data<S>(in.value);
  S* result = mutable_data<S>(out);
  const bool aligned = reinterpret_cast<uintptr_t>(value) % 16 == 0 && reinterpret_cast<uintptr_t>(result) % 16 == 0;
  if (aligned && p.channels % kPack == 0)
    launch.elementwise(p.groups() * p.channels / kPack, forward_kernel<kPack, T, S>, value, p,
                       p.groups() * p.channels / kPack, result);
  else
    launch.elementwise(p.groups() * p.channels, forward_kernel<1, T, S>, value, p, p.groups() * p.channels, result);
}

template <typename T, typename S>
void backward(const Launcher& launch, const Tensor& grad, const Inputs<T>& in, bool deterministic, Tensor (&grads)[3]) {
  const auto p = in.problem();
  int width = 1;
  while (width < 32 && width < p.channels) width *= 2;
  const int64_t count = p.groups() * p.levels * p.points * width, slots = p.images * p.levels * p.row();
  launch.elementwise(count, deterministic ? backward_kernel<false, T, S> : backward_kernel<true, T, S>, data<S>(grad),
                     data<S>(in.value), p, width, count, mutable_data<T>(grads[0]), mutable_data<T>(grads[1]),
                     mutable_data<T>(grads[2]));
  if (deterministic)
    launch.elementwise(slots, ordered_scatter_kernel<T, S>, data<S>(grad), p, slots, mutable_data<T>(grads[0]));
}

Tensor ms_deform_attn_cuda(const Tensor& value, const Tensor& shapes, const Tensor& starts, const Tensor& locations,
                           const Tensor& attention) {
  const Launcher launch(value);
  Tensor out = torch::stable::new_empty(value, {value.size(0), locations.size(1), value.size(2) * value.size(3)});
  dispatch_floating(value.scalar_type(), "ms_deform_attn", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    forward<T, S>(launch, Inputs<T>(value, shapes, starts, locations, attention), out);
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward_cuda(const Tensor& grad_in, const Tensor& value,
                                                                const Tensor& shapes, const Tensor& starts,
                                                                const Tensor& locations, const Tensor& attention,
                                                                bool deterministic) {
  const Launcher launch(value);
  const Tensor grad = contiguous(grad_in);
  Tensor grads[3] = {value, torch::stable::new_empty(locations, locations.sizes()),
                     torch::stable::new_empty(attention, attention.sizes())};
  dispatch_floating(value.scalar_type(), "ms_deform_attn_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    grads[0] = torch::stable::new_zeros(value, value.sizes(), accumulate_dtype<T>());
    backward<T, S>(launch, grad, Inputs<T>(value, shapes, starts, locations, attention), deterministic, grads);
    grads[0] = cast<S>(launch, grads[0], grad);
  });
  return {grads[0], grads[1], grads[2]};
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&ms_deform_attn_cuda));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&ms_deform_attn_backward_cuda));
}

}  // namespace ops
