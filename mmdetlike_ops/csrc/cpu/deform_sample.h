// The loops over channels of deformable convolutions: sampling, its products with a gradient, and its transpose.
#pragma once

#include "common/deform.h"
#include "cpu/channel_block.h"

namespace ops {

// Where the channels of each corner lie; those outside the map read `zeros`.
template <typename T>
struct CornerRows {
  const T* at[4];

  OPS_INLINE CornerRows(const DeformCorners<T>& c, const T* map, int64_t channels, const T* zeros) {
    for (int i = 0; i < 4; ++i) at[i] = c.pixel[i] < 0 ? zeros : map + c.pixel[i] * channels;
  }
};

template <typename T>
OPS_INLINE void interpolate(const CornerRows<T>& rows, const T* w, int64_t n, T* out) {
  int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes) {
    Lanes<T> v[4];
    for (int i = 0; i < 4; ++i) load(v[i], rows.at[i] + c);
    store(out + c, (w[0] * v[0] + w[1] * v[1]) + (w[2] * v[2] + w[3] * v[3]));
  }
  for (; c < n; ++c)
    out[c] = (w[0] * rows.at[0][c] + w[1] * rows.at[1][c]) + (w[2] * rows.at[2][c] + w[3] * rows.at[3][c]);
}

// What the loops over channels are given: `count` pixels of (deform_groups, n) channels.
template <typename T>
struct DeformRun {
  const T *map, *zeros;
  const DeformPoint<T>* points;
  int64_t count, deform_groups, n;
};

// columns (count, deform_groups, n)
template <typename T>
OPS_INLINE void sample_body(const DeformRun<T>& run, T* columns) {
  for (int64_t i = 0; i < run.count * run.deform_groups; ++i) {
    const DeformPoint<T>& point = run.points[i];
    const CornerRows<T> rows(point.corners, run.map + i % run.deform_groups * run.n, run.deform_groups * run.n,
                             run.zeros);
    T w[4];
    for (int k = 0; k < 4; ++k) w[k] = point.weight(k);
    interpolate(rows, w, run.n, columns + i * run.n);
  }
}

OPS_VECTORIZED inline void sample(const DeformRun<float>& run, float* columns) { sample_body(run, columns); }
OPS_VECTORIZED inline void sample(const DeformRun<double>& run, double* columns) { sample_body(run, columns); }

template <typename T>
OPS_INLINE T sum_lanes(const Lanes<T>& v) {
  T sum = v[0];
  for (int64_t c = 1; c < kLanes; ++c) sum += v[c];
  return sum;
}

// dots[i] = grad . rows[i], over n channels
template <typename T>
OPS_INLINE void dot_corners(const CornerRows<T>& rows, const T* grad, int64_t n, T* dots) {
  Lanes<T> sums[4] = {};
  int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes) {
    Lanes<T> g, v;
    load(g, grad + c);
    for (int i = 0; i < 4; ++i) load(v, rows.at[i] + c), sums[i] += g * v;
  }
  for (int i = 0; i < 4; ++i) dots[i] = sum_lanes<T>(sums[i]);
  for (; c < n; ++c)
    for (int i = 0; i < 4; ++i) dots[i] += grad[c] * rows.at[i][c];
}

// dots (count, deform_groups, 4): products of the gradient of the columns with the features of each corner.
template <typename T>
OPS_INLINE void dot_body(const DeformRun<T>& run, const T* grad, T* dots) {
  for (int64_t i = 0; i < run.count * run.deform_groups; ++i) {
    const CornerRows<T> rows(run.points[i].corners, run.map + i % run.deform_groups * run.n, run.deform_groups * run.n,
                             run.zeros);
    dot_corners(rows, grad + i * run.n, run.n, dots + 4 * i);
  }
}

OPS_VECTORIZED inline void dot(const DeformRun<float>& run, const float* grad, float* dots) {
  dot_body(run, grad, dots);
}
OPS_VECTORIZED inline void dot(const DeformRun<double>& run, const double* grad, double* dots) {
  dot_body(run, grad, dots);
}

template <typename T>
OPS_INLINE void accumulate(T* to, const T* from, T weight, int64_t n) {
  int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes) {
    Lanes<T> a, b;
    load(a, to + c);
    load(b, from + c);
    store(to + c, Lanes<T>(a + weight * b));
  }
  for (; c < n; ++c) to[c] += weight * from[c];
}

// Channels [first, first + count) of all pixels of an image.
struct ChannelRange {
  int64_t first, count;
};

// Adds gradients of columns (count, deform_groups * n) to those of a block of channels (area, block.count).
template <typename T>
OPS_INLINE void scatter_body(const DeformRun<T>& run, const T* grad, const ChannelRange& block, T* grad_block) {
  const int64_t channels = run.deform_groups * run.n, end = block.first + block.count;
  for (int64_t c = block.first; c < end;) {
    const int64_t d = c / run.n, stop = std::min(end, (d + 1) * run.n);
    for (int64_t i = 0; i < run.count; ++i) {
      const DeformPoint<T>& point = run.points[i * run.deform_groups + d];
      for (int k = 0; k < 4; ++k) {
        const T weight = point.weight(k);
        if (point.corners.pixel[k] < 0 || weight == T(0)) continue;
        accumulate(grad_block + point.corners.pixel[k] * block.count + (c - block.first), grad + i * channels + c,
                   weight, stop - c);
      }
    }
    c = stop;
  }
}

OPS_VECTORIZED inline void scatter(const DeformRun<float>& run, const float* grad, const ChannelRange& block,
                                   float* grad_block) {
  scatter_body(run, grad, block, grad_block);
}

OPS_VECTORIZED inline void scatter(const DeformRun<double>& run, const double* grad, const ChannelRange& block,
                                   double* grad_block) {
  scatter_body(run, grad, block, grad_block);
}

}  // namespace ops
