// Axis-aligned boxes and their overlap, the same arithmetic on both devices.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define OPS_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define OPS_HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace ops {

template <typename T>
struct Box {
  T x1, y1, x2, y2;
};

template <typename T>
OPS_HOST_DEVICE T larger(T a, T b) {
  return a > b ? a : b;
}

template <typename T>
OPS_HOST_DEVICE T smaller(T a, T b) {
  return a < b ? a : b;
}

template <typename T, typename S>
OPS_HOST_DEVICE Box<T> load_box(const S* p) {
  return {static_cast<T>(p[0]), static_cast<T>(p[1]), static_cast<T>(p[2]), static_cast<T>(p[3])};
}

// `offset` 1 is the convention of boxes whose right and bottom pixels belong to them.
template <typename T>
OPS_HOST_DEVICE T area(const Box<T>& b, T offset) {
  return (b.x2 - b.x1 + offset) * (b.y2 - b.y1 + offset);
}

template <typename T>
OPS_HOST_DEVICE T intersection(const Box<T>& a, const Box<T>& b, T offset) {
  const T w = smaller(a.x2, b.x2) - larger(a.x1, b.x1) + offset;
  const T h = smaller(a.y2, b.y2) - larger(a.y1, b.y1) + offset;
  return larger(w, T(0)) * larger(h, T(0));
}

// NaN for two boxes without area; so every comparison with it is false.
template <typename T>
OPS_HOST_DEVICE T iou(const Box<T>& a, T area_a, const Box<T>& b, T area_b, T offset) {
  const T inner = intersection(a, b, offset);
  return inner / (area_a + area_b - inner);
}

enum OverlapMode { kIou = 0, kIof = 1, kGiou = 2 };  // over the union, over the first box, generalized (1902.09630)

// 0 for boxes without area, or whose union (for kIof: the first) has an area that is not finite.
template <typename T>
OPS_HOST_DEVICE T overlap(const Box<T>& a, T area_a, const Box<T>& b, T area_b, int mode, T offset) {
  const T inner = intersection(a, b, offset), whole = mode == kIof ? area_a : area_a + area_b - inner;
  const bool finite = whole - whole == T(0);
  const T ratio = finite && inner > T(0) ? inner / whole : T(0);
  if (mode != kGiou) return ratio;
  const Box<T> around{smaller(a.x1, b.x1), smaller(a.y1, b.y1), larger(a.x2, b.x2), larger(a.y2, b.y2)};
  const T outer = area(around, offset);
  return finite && outer > T(0) && outer < T(INFINITY) ? ratio - (outer - whole) / outer : T(0);
}

}  // namespace ops
