// Point sets against rectangles and quadrilaterals, the same arithmetic on both devices.
#pragma once

#include "common/convex.h"

namespace ops {

// A rectangle: the direction of one side, in the first quadrant, and how far the rectangle reaches along it (u) and
// across (v).
template <typename T>
struct Rectangle {
  Point<T> side;
  T u_min, u_max, v_min, v_max;

  OPS_HOST_DEVICE T area() const { return (u_max - u_min) * (v_max - v_min); }
  OPS_HOST_DEVICE Point<T> at(T u, T v) const { return {u * side.x - v * side.y, u * side.y + v * side.x}; }
};

// The direction from `a` to `b`, turned by right angles into the first quadrant.
template <typename T>
OPS_HOST_DEVICE Point<T> direction(const Point<T>& a, const Point<T>& b) {
  Point<T> d = b - a;
  const T length = std::sqrt(d.x * d.x + d.y * d.y);
  if (!(length > T(0))) return {T(1), T(0)};
  d = {d.x / length, d.y / length};
  for (int i = 0; i < 3 && !(d.x > T(0) && d.y >= T(0)); ++i) d = {d.y, -d.x};
  return d;
}

template <typename T, int N>
OPS_HOST_DEVICE Rectangle<T> enclose(const Polygon<T, N>& polygon, const Point<T>& side) {
  Rectangle<T> r{side, T(0), T(0), T(0), T(0)};
  for (int i = 0; i < polygon.count; ++i) {
    const Point<T> p = polygon.corners[i];
    const T u = p.x * side.x + p.y * side.y, v = p.y * side.x - p.x * side.y;
    r.u_min = i ? smaller(r.u_min, u) : u, r.u_max = i ? larger(r.u_max, u) : u;
    r.v_min = i ? smaller(r.v_min, v) : v, r.v_max = i ? larger(r.v_max, v) : v;
  }
  return r;
}

// The corners of the smallest rectangle around a point set: one of its sides lies on a side of the hull.
template <typename T, typename S>
OPS_HOST_DEVICE void min_area_rectangle(const S* points, S* corners) {
  const auto hull = load_hull<T, kPointSet>(points);
  const auto& polygon = hull.polygon;
  auto best = enclose(polygon, direction(polygon.corners[0], polygon.next(0)));
  for (int i = 1; i < polygon.count; ++i) {
    const auto other = enclose(polygon, direction(polygon.corners[i], polygon.next(i)));
    if (other.area() < best.area()) best = other;
  }
  const Point<T> order[4] = {best.at(best.u_max, best.v_min), best.at(best.u_min, best.v_min),
                             best.at(best.u_min, best.v_max), best.at(best.u_max, best.v_max)};
  const T invalid = hull.area == hull.area ? T(0) : hull.area;
  for (int i = 0; i < 4; ++i) {
    corners[2 * i] = static_cast<S>(hull.center.x + order[i].x + invalid);
    corners[2 * i + 1] = static_cast<S>(hull.center.y + order[i].y + invalid);
  }
}

// Strictly inside a simple quadrilateral, convex or not: counts the sides that a ray to the right crosses.
template <typename T, typename S>
OPS_HOST_DEVICE bool inside_quadrilateral(const S* point, const S* corners) {
  const T x = static_cast<T>(point[0]), y = static_cast<T>(point[1]);
  Point<T> a = {static_cast<T>(corners[6]) - x, static_cast<T>(corners[7]) - y};
  bool inside = false;
  for (int i = 0; i < 4; ++i) {
    const Point<T> b = {static_cast<T>(corners[2 * i]) - x, static_cast<T>(corners[2 * i + 1]) - y};
    const T turn = a.x * b.y - b.x * a.y;
    const bool on_side = turn == T(0) && a.x * b.x + a.y * b.y <= T(0);
    if (on_side || turn != turn) return false;
    if ((a.y > T(0)) != (b.y > T(0)) && (turn > T(0)) == (b.y > a.y)) inside = !inside;
    a = b;
  }
  return inside;
}

// A convex hull that knows which of the points its corners are.
template <typename T, int N>
struct Hull {
  Polygon<T, N> polygon;
  int index[N + 1];

  OPS_HOST_DEVICE explicit Hull(const Point<T> (&points)[N]) {
    const int count = smaller(convex_hull(points, index), N);
    polygon.count = 0;
    for (int i = 0; i < count; ++i) polygon.add(points[index[i]]);
  }

  OPS_HOST_DEVICE int next(int i) const { return index[i + 1 < polygon.count ? i + 1 : 0]; }
};

// The part, from `begin` to `end` in 0 .. 1, of a segment that lies in a convex polygon.
template <typename T>
struct Span {
  T begin, end;
};

template <typename T, int N>
OPS_HOST_DEVICE Span<T> clip_segment(const Point<T>& p, const Point<T>& q, const Polygon<T, N>& polygon) {
  Span<T> span{T(0), T(1)};
  for (int i = 0; i < polygon.count; ++i) {
    const T at_p = side(polygon.corners[i], polygon.next(i), p), at_q = side(polygon.corners[i], polygon.next(i), q);
    if (at_p < T(0) && at_q < T(0)) return {T(0), T(0)};
    const T crossing = at_p / (at_p - at_q);
    if (at_p < T(0)) span.begin = larger(span.begin, crossing);
    if (at_q < T(0)) span.end = smaller(span.end, crossing);
  }
  return span.begin < span.end ? span : Span<T>{T(0), T(0)};
}

// Adds `factor` times the derivative, by the ends of side i, of the area that the side bounds along `span`: a side
// that moves outwards sweeps area. Points from `movable` on stay where they are.
template <typename T, int N>
OPS_HOST_DEVICE void add_side(const Hull<T, N>& hull, int i, const Span<T>& span, T factor, int movable, T* grad) {
  const Point<T> along = hull.polygon.next(i) - hull.polygon.corners[i];
  const T at_next = T(0.5) * (span.end * span.end - span.begin * span.begin);
  const T at_corner = span.end - span.begin - at_next;
  const int corner = hull.index[i], next = hull.next(i);
  if (corner < movable) {
    grad[2 * corner] += factor * at_corner * along.y;
    grad[2 * corner + 1] -= factor * at_corner * along.x;
  }
  if (next < movable) {
    grad[2 * next] += factor * at_next * along.y;
    grad[2 * next + 1] -= factor * at_next * along.x;
  }
}

// Generalized IoU of the hulls of nine points and of four, and its gradient by the coordinates of the nine.
template <typename T>
OPS_HOST_DEVICE T convex_giou(const Point<T> (&points)[kPointSet + 4], T (&grad)[2 * kPointSet]) {
  Point<T> nine[kPointSet], four[4];
  for (int i = 0; i < kPointSet; ++i) nine[i] = points[i];
  for (int i = 0; i < 4; ++i) four[i] = points[kPointSet + i];
  for (int i = 0; i < 2 * kPointSet; ++i) grad[i] = T(0);
  const Hull<T, kPointSet> first(nine);
  const Hull<T, 4> second(four);
  const Hull<T, kPointSet + 4> around(points);

  Polygon<T, kPointSet + 4> shared;
  shared.count = 0;
  for (int i = 0; i < second.polygon.count; ++i) shared.add(second.polygon.corners[i]);
  for (int i = 0; i < first.polygon.count; ++i) shared = clip(shared, first.polygon.corners[i], first.polygon.next(i));
  const T own = area(first.polygon), other = area(second.polygon), whole = area(around.polygon);
  if (!(whole > T(0))) return T(0);
  const T inner = own > T(0) && other > T(0) ? smaller(larger(area(shared), T(0)), smaller(own, other)) : T(0);
  const T outer = own + other - inner;
  const T iou = outer > T(0) ? inner / outer : T(0), per_outer = outer > T(0) ? T(1) / outer : T(0);

  const T by_outer = T(1) / whole - iou * per_outer, by_inner = per_outer - by_outer;
  const Span<T> all{T(0), T(1)};
  for (int i = 0; i < first.polygon.count; ++i) {
    add_side(first, i, all, by_outer, kPointSet, grad);
    if (inner > T(0))
      add_side(first, i, clip_segment(first.polygon.corners[i], first.polygon.next(i), second.polygon), by_inner,
               kPointSet, grad);
  }
  for (int i = 0; i < around.polygon.count; ++i) add_side(around, i, all, -outer / (whole * whole), kPointSet, grad);
  return iou + outer / whole - T(1);
}

template <typename T, typename S>
OPS_HOST_DEVICE void convex_giou_row(const S* pointset, const S* polygon, S* giou, S* gradient) {
  Point<T> points[kPointSet + 4];
  const Point<T> origin = {static_cast<T>(pointset[0]), static_cast<T>(pointset[1])};
  T nothing = 0;
  for (int i = 0; i < kPointSet + 4; ++i) {
    const S* p = i < kPointSet ? pointset + 2 * i : polygon + 2 * (i - kPointSet);
    points[i] = {static_cast<T>(p[0]) - origin.x, static_cast<T>(p[1]) - origin.y};
    nothing += T(0) * points[i].x + T(0) * points[i].y;
  }
  T grad[2 * kPointSet];
  *giou = static_cast<S>(convex_giou(points, grad) + nothing);
  for (int i = 0; i < 2 * kPointSet; ++i) gradient[i] = static_cast<S>(grad[i] + nothing);
}

}  // namespace ops
