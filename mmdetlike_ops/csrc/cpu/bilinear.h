// Bilinear samples of eight channels of a map, and the way of their gradients back.
#pragma once

#include "common/roi.h"
#include "cpu/channel_block.h"

namespace ops {

template <typename T>
OPS_INLINE void interpolate(const Block<const T>& map, const Sample<T>& y, const Sample<T>& x, T* value) {
  const T *top = map.data + y.low * map.row, *bottom = map.data + y.high * map.row;
  Lanes<T> a, b, c, d;
  load(a, top + x.low * map.column);
  load(b, top + x.high * map.column);
  load(c, bottom + x.low * map.column);
  load(d, bottom + x.high * map.column);
  a = y.weight_low * (x.weight_low * a + x.weight_high * b) + y.weight_high * (x.weight_low * c + x.weight_high * d);
  store(value, a);
}

// Adds weight * values to the lanes of a pixel.
template <typename T>
OPS_INLINE void add_weighted(T* pixel, T weight, const Lanes<T>& values) {
  Lanes<T> sum;
  load(sum, pixel);
  sum += weight * values;
  store(pixel, sum);
}

// The gradient of `interpolate`, all lanes.
template <typename T>
OPS_INLINE void scatter_lanes(const Block<T>& map, const Sample<T>& y, const Sample<T>& x, const T* grad) {
  T *top = map.data + y.low * map.row, *bottom = map.data + y.high * map.row;
  Lanes<T> values;
  load(values, grad);
  add_weighted(top + x.low * map.column, y.weight_low * x.weight_low, values);
  add_weighted(top + x.high * map.column, y.weight_low * x.weight_high, values);
  add_weighted(bottom + x.low * map.column, y.weight_high * x.weight_low, values);
  add_weighted(bottom + x.high * map.column, y.weight_high * x.weight_high, values);
}

// The gradient of `interpolate`, one lane.
template <typename T>
void scatter_sample(const Block<T>& map, const Sample<T>& y, const Sample<T>& x, int64_t lane, T grad) {
  T *top = map.data + y.low * map.row + lane, *bottom = map.data + y.high * map.row + lane;
  top[x.low * map.column] += grad * y.weight_low * x.weight_low;
  top[x.high * map.column] += grad * y.weight_low * x.weight_high;
  bottom[x.low * map.column] += grad * y.weight_high * x.weight_low;
  bottom[x.high * map.column] += grad * y.weight_high * x.weight_high;
}

}  // namespace ops
