// Convex polygons of a few corners and their intersection, the same arithmetic on both devices.
//
// A polygon keeps its corners relative to its own centre, and two polygons meet in coordinates relative to the centre
// of one of them: so digits are not lost to where in the plane the polygons lie.
#pragma once

#include <cmath>

#include "common/box.h"

namespace ops {

constexpr int kPointSet = 9;  // points of a point set, which stands for their convex hull

template <typename T>
struct Point {
  T x, y;
};

template <typename T>
OPS_HOST_DEVICE Point<T> operator+(const Point<T>& a, const Point<T>& b) {
  return {a.x + b.x, a.y + b.y};
}

template <typename T>
OPS_HOST_DEVICE Point<T> operator-(const Point<T>& a, const Point<T>& b) {
  return {a.x - b.x, a.y - b.y};
}

// Positive where `p` lies to the left of the line through `a` and `b`, x pointing right and y up.
template <typename T>
OPS_HOST_DEVICE T side(const Point<T>& a, const Point<T>& b, const Point<T>& p) {
  const Point<T> line = b - a, to = p - a;
  return line.x * to.y - line.y * to.x;
}

template <typename T, int kCapacity>
struct Polygon {
  Point<T> corners[kCapacity];
  int count;

  OPS_HOST_DEVICE void add(const Point<T>& p) {
    if (count < kCapacity) corners[count++] = p;
  }

  OPS_HOST_DEVICE const Point<T>& next(int i) const { return corners[i + 1 < count ? i + 1 : 0]; }
};

// Positive for corners in the sense that turns x to y.
template <typename T, int N>
OPS_HOST_DEVICE T area(const Polygon<T, N>& p) {
  T twice = 0;
  for (int i = 2; i < p.count; ++i) twice += side(p.corners[0], p.corners[i - 1], p.corners[i]);
  return T(0.5) * twice;
}

// The part of a polygon to the left of a line. New corners lie on the edges they cut, whatever the rounding.
template <typename T, int N>
OPS_HOST_DEVICE Polygon<T, N> clip(const Polygon<T, N>& polygon, const Point<T>& from, const Point<T>& to) {
  Polygon<T, N> rest;
  rest.count = 0;
  if (polygon.count == 0) return rest;
  Point<T> last = polygon.corners[polygon.count - 1];
  T last_side = side(from, to, last);
  for (int i = 0; i < polygon.count; ++i) {
    const Point<T> corner = polygon.corners[i];
    const T corner_side = side(from, to, corner);
    if ((corner_side >= T(0)) != (last_side >= T(0))) {
      const T along = last_side / (last_side - corner_side);
      rest.add({last.x + along * (corner.x - last.x), last.y + along * (corner.y - last.y)});
    }
    if (corner_side >= T(0)) rest.add(corner);
    last = corner, last_side = corner_side;
  }
  return rest;
}

// Corners, in the sense of positive area, relative to the centre of the axis-aligned box around them.
template <typename T, int N>
struct Convex {
  Point<T> center, half;  // half: from the centre to the sides of that box
  Polygon<T, N> polygon;
  T area;
};

template <typename T>
using Quad = Convex<T, 4>;

template <typename T, int N, int M>
OPS_HOST_DEVICE T intersection(const Convex<T, N>& a, const Convex<T, M>& b) {
  const Point<T> shift = b.center - a.center;
  const bool near = std::abs(shift.x) < a.half.x + b.half.x && std::abs(shift.y) < a.half.y + b.half.y;
  if (!near || !(a.area > T(0)) || !(b.area > T(0))) return T(0);
  Polygon<T, N + M> rest;
  rest.count = 0;
  for (int i = 0; i < b.polygon.count; ++i) rest.add(b.polygon.corners[i] + shift);
  for (int i = 0; i < a.polygon.count; ++i) rest = clip(rest, a.polygon.corners[i], a.polygon.next(i));
  return smaller(larger(area(rest), T(0)), smaller(a.area, b.area));
}

template <typename T, int N, int M>
OPS_HOST_DEVICE T overlap(const Convex<T, N>& a, const Convex<T, M>& b, bool over_first) {
  const T inner = intersection(a, b);
  const T ratio = inner / (over_first ? a.area : a.area + b.area - inner);
  return ratio > T(0) ? smaller(ratio, T(1)) : T(0);
}

template <typename T>
OPS_HOST_DEVICE bool before(const Point<T>& a, const Point<T>& b) {
  return a.x < b.x || (a.x == b.x && a.y < b.y);
}

// Indices of the corners of the convex hull, in the sense of positive area (monotone chain); returns how many.
template <typename T, int N>
OPS_HOST_DEVICE int convex_hull(const Point<T> (&points)[N], int (&hull)[N + 1]) {
  int order[N];
  for (int i = 0; i < N; ++i) {
    int at = i;
    for (; at > 0 && before(points[i], points[order[at - 1]]); --at) order[at] = order[at - 1];
    order[at] = i;
  }
  int count = 0;
  for (int pass = 0; pass < 2; ++pass) {
    const int settled = pass ? count : 1;
    for (int i = pass; i < N; ++i) {
      const int index = order[pass ? N - 1 - i : i];
      while (count > settled && !(side(points[hull[count - 2]], points[hull[count - 1]], points[index]) > T(0)))
        --count;
      if (count <= N) hull[count++] = index;
    }
  }
  return count - 1;  // the last is the first
}

// Without area if a coordinate is not finite.
template <typename T, int N, typename S>
OPS_HOST_DEVICE Convex<T, N> load_hull(const S* p) {
  T nothing = 0;
  Point<T> low = {static_cast<T>(p[0]), static_cast<T>(p[1])}, high = low, points[N];
  for (int i = 0; i < N; ++i) {
    points[i] = {static_cast<T>(p[2 * i]), static_cast<T>(p[2 * i + 1])};
    nothing += T(0) * points[i].x + T(0) * points[i].y;
    low = {smaller(points[i].x, low.x), smaller(points[i].y, low.y)};
    high = {larger(points[i].x, high.x), larger(points[i].y, high.y)};
  }
  Convex<T, N> convex;
  convex.center = {T(0.5) * low.x + T(0.5) * high.x, T(0.5) * low.y + T(0.5) * high.y};
  convex.half = {larger(high.x - convex.center.x, convex.center.x - low.x),
                 larger(high.y - convex.center.y, convex.center.y - low.y)};
  for (int i = 0; i < N; ++i) points[i] = points[i] - convex.center;
  int hull[N + 1];
  const int count = convex_hull(points, hull);
  convex.polygon.count = 0;
  for (int i = 0; i < count; ++i) convex.polygon.add(points[hull[i]]);
  convex.area = area(convex.polygon) + nothing;
  return convex;
}

// From centre x, y, width, height and the angle in radians that turns x to y; no area if a side is not positive.
template <typename T, typename S>
OPS_HOST_DEVICE Quad<T> load_rotated(const S* p) {
  const T w = static_cast<T>(p[2]), h = static_cast<T>(p[3]), angle = static_cast<T>(p[4]);
  const T cosine = std::cos(angle), sine = std::sin(angle);
  const Point<T> u = {T(0.5) * w * cosine, T(0.5) * w * sine}, v = {T(-0.5) * h * sine, T(0.5) * h * cosine};
  Quad<T> quad;
  quad.center = {static_cast<T>(p[0]), static_cast<T>(p[1])};
  quad.half = {std::abs(u.x) + std::abs(v.x), std::abs(u.y) + std::abs(v.y)};
  quad.polygon = {{{-u.x - v.x, -u.y - v.y}, u - v, u + v, v - u}, 4};
  quad.area = w > T(0) && h > T(0) ? w * h : T(0);
  return quad;
}

// A row of 5 numbers is a rotated box, one of 8 four points.
template <typename T, typename S>
OPS_HOST_DEVICE Quad<T> load_quad(const S* row, int64_t columns) {
  return columns == 5 ? load_rotated<T>(row) : load_hull<T, 4>(row);
}

}  // namespace ops
