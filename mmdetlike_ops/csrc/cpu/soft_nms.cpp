// Soft non-maximum suppression: the scores at which boxes are taken; NaN for those never taken.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "common/decay.h"
#include "common/op.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

// Boxes not yet taken, as structure of arrays; `index` tells where each came from.
template <typename T>
struct Pool {
  std::vector<T> x1, y1, x2, y2, area, score, overlap;
  std::vector<int64_t> index;
  int64_t size = 0;

  explicit Pool(int64_t n) : x1(n), y1(n), x2(n), y2(n), area(n), score(n), overlap(n), index(n) {}

  void add(const Box<T>& b, T a, T s, int64_t i) {
    x1[size] = b.x1, y1[size] = b.y1, x2[size] = b.x2, y2[size] = b.y2;
    area[size] = a, score[size] = s, index[size++] = i;
  }

  Box<T> box(int64_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }

  // Keeps the order, so that of equal scores the first box is taken first.
  void drop_below(T min_score) {
    int64_t kept = 0;
    for (int64_t i = 0; i < size; ++i) {
      if (!(score[i] >= min_score)) continue;
      x1[kept] = x1[i], y1[kept] = y1[i], x2[kept] = x2[i], y2[kept] = y2[i];
      area[kept] = area[i], score[kept] = score[i], index[kept++] = index[i];
    }
    size = kept;
  }
};

template <typename T>
OPS_INLINE void overlaps_body(Pool<T>& pool, const Box<T>& box, T area_box, T offset) {
  const T *x1 = pool.x1.data(), *y1 = pool.y1.data(), *x2 = pool.x2.data(), *y2 = pool.y2.data();
  const T* area = pool.area.data();
  T* out = pool.overlap.data();
  for (int64_t i = 0; i < pool.size; ++i)
    out[i] = iou(box, area_box, Box<T>{x1[i], y1[i], x2[i], y2[i]}, area[i], offset);
}

OPS_VECTORIZED void overlaps(Pool<float>& p, const Box<float>& b, float a, float o) { overlaps_body(p, b, a, o); }
OPS_VECTORIZED void overlaps(Pool<double>& p, const Box<double>& b, double a, double o) { overlaps_body(p, b, a, o); }

template <typename T, typename S>
void take_all(Pool<T>& pool, const Decay& settings, S* taken) {
  const T min_score = settings.min_score, offset = settings.offset;
  pool.drop_below(min_score);
  while (pool.size > 0) {
    const auto best = std::max_element(pool.score.begin(), pool.score.begin() + pool.size) - pool.score.begin();
    taken[pool.index[best]] = static_cast<S>(pool.score[best]);
    pool.score[best] = -std::numeric_limits<T>::infinity();
    overlaps(pool, pool.box(best), pool.area[best], offset);
    for (int64_t i = 0; i < pool.size; ++i) pool.score[i] *= decay(pool.overlap[i], settings);
    pool.score[best] = std::numeric_limits<T>::quiet_NaN();
    pool.drop_below(min_score);
  }
}

std::vector<int64_t> sorted_by_group(const int64_t* groups, int64_t n) {
  std::vector<int64_t> positions(n);
  std::iota(positions.begin(), positions.end(), 0);
  if (groups)
    std::stable_sort(positions.begin(), positions.end(), [&](int64_t a, int64_t b) { return groups[a] < groups[b]; });
  return positions;
}

template <typename S>
void soft_nms(const S* boxes, const S* scores, const int64_t* groups, int64_t n, const Decay& settings, S* taken) {
  using T = Accumulate<S>;
  const auto positions = sorted_by_group(groups, n);
  for (int64_t begin = 0, end = 0; begin < n; begin = end) {
    while (end < n && (!groups || groups[positions[end]] == groups[positions[begin]])) ++end;
    Pool<T> pool(end - begin);
    for (int64_t i = begin; i < end; ++i) {
      const auto box = load_box<T>(boxes + 4 * positions[i]);
      pool.add(box, area(box, T(settings.offset)), static_cast<T>(scores[positions[i]]), positions[i]);
    }
    take_all(pool, settings, taken);
  }
}

Tensor soft_nms_cpu(const Tensor& boxes_in, const Tensor& scores_in, const std::optional<Tensor>& groups_in,
                    double iou_threshold, double sigma, double min_score, int64_t method, int64_t offset) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in);
  const std::optional<Tensor> groups = groups_in ? std::make_optional(contiguous(*groups_in)) : std::nullopt;
  Tensor taken = torch::stable::new_empty(scores, {scores.size(0)});
  torch::stable::fill_(taken, std::numeric_limits<double>::quiet_NaN());
  const Decay settings{iou_threshold, sigma, min_score, method, offset};
  dispatch_floating(boxes.scalar_type(), "soft_nms", [&](auto tag) {
    using S = typename decltype(tag)::type;
    soft_nms(data<S>(boxes), data<S>(scores), groups ? data<int64_t>(*groups) : nullptr, boxes.size(0), settings,
             mutable_data<S>(taken));
  });
  return taken;
}

}  // namespace

OPS_REGISTER(m) {
  m.def(
      "soft_nms(Tensor boxes, Tensor scores, Tensor? groups, float iou_threshold, float sigma, float min_score, "
      "int method, int offset) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) { m.impl("soft_nms", TORCH_BOX(&soft_nms_cpu)); }

}  // namespace ops
