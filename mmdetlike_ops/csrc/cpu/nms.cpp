// Greedy non-maximum suppression.
//
// Candidates are visited by falling score and tested against the boxes kept so far. IoU(a, b) > t bounds the distance
// of the centres: along x it is below width(a) (1 - t) / (2 t), along y likewise. So kept boxes are stored by the grid
// cell of their centre, cells of a row side by side, and a candidate tests only the cells in that window, a few
// contiguous runs, vectorized. Boxes of different groups never meet; groups run in parallel.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "common/box.h"
#include "common/op.h"
#include "cpu/suppress.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

constexpr int64_t kLanes = 16;

struct Settings {
  double iou_threshold, score_threshold;
  int64_t offset, max_num;
};

// Structure of arrays, padded so that a run may be read to the next multiple of kLanes.
template <typename T>
struct KeptBoxes {
  std::vector<T> x1, y1, x2, y2, area;

  explicit KeptBoxes(int64_t n) {
    const T far = std::numeric_limits<T>::infinity();
    x1.assign(n + kLanes, far), y1.assign(n + kLanes, far);
    x2.assign(n + kLanes, -far), y2.assign(n + kLanes, -far);
    area.assign(n + kLanes, T(0));
  }

  void put(int64_t slot, const Box<T>& b, T a) {
    x1[slot] = b.x1, y1[slot] = b.y1, x2[slot] = b.x2, y2[slot] = b.y2, area[slot] = a;
  }
};

template <typename T>
struct Query {
  Box<T> box;
  T area, offset, threshold;
};

template <typename T>
OPS_INLINE bool any_overlap_body(const KeptBoxes<T>& kept, int64_t begin, int64_t end, const Query<T>& q) {
  const T *x1 = kept.x1.data(), *y1 = kept.y1.data(), *x2 = kept.x2.data(), *y2 = kept.y2.data();
  const T* area = kept.area.data();
  for (int64_t start = begin; start < end; start += kLanes) {
    int found = 0;
    for (int64_t i = start; i < start + kLanes; ++i) {
      const Box<T> other{x1[i], y1[i], x2[i], y2[i]};
      found |= iou(q.box, q.area, other, area[i], q.offset) > q.threshold;
    }
    if (found) return true;
  }
  return false;
}

OPS_VECTORIZED bool any_overlap(const KeptBoxes<float>& k, int64_t begin, int64_t end, const Query<float>& q) {
  return any_overlap_body(k, begin, end, q);
}

OPS_VECTORIZED bool any_overlap(const KeptBoxes<double>& k, int64_t begin, int64_t end, const Query<double>& q) {
  return any_overlap_body(k, begin, end, q);
}

// A monotone map from a coordinate to one of `cells` cells; NaN goes to the first.
template <typename T>
struct Axis {
  T low = 0, per_unit = 0;
  int64_t cells = 1;

  Axis(const std::vector<T>& centers, int64_t wanted) {
    T lo = std::numeric_limits<T>::max(), hi = std::numeric_limits<T>::lowest();
    for (T c : centers)
      if (std::isfinite(c)) lo = smaller(lo, c), hi = larger(hi, c);
    if (wanted < 2 || !(hi > lo) || !std::isfinite(hi - lo)) return;
    low = lo, cells = wanted, per_unit = T(wanted) / (hi - lo);
  }

  int64_t operator()(T v) const {
    const T x = (v - low) * per_unit;
    return x > 0 ? (x < T(cells - 1) ? static_cast<int64_t>(x) : cells - 1) : 0;
  }
};

template <typename T>
class Grid {
 public:
  Grid(const std::vector<Box<T>>& boxes, const Settings& settings)
      : kept_(boxes.size()),
        reach_((1 - settings.iou_threshold) / (2 * larger(settings.iou_threshold, kLowest)) + T(1e-3)),
        centers_x_(boxes.size()),
        centers_y_(boxes.size()) {
    const int64_t n = boxes.size();
    for (int64_t i = 0; i < n; ++i) {
      centers_x_[i] = T(0.5) * (boxes[i].x1 + boxes[i].x2);
      centers_y_[i] = T(0.5) * (boxes[i].y1 + boxes[i].y2);
    }
    const bool useful = n > 256 && settings.iou_threshold > kLowest;
    const int64_t wanted = useful ? std::min<int64_t>(64, std::sqrt(n / 16.0)) : 1;
    x_ = Axis<T>(centers_x_, wanted), y_ = Axis<T>(centers_y_, wanted);
    first_.assign(x_.cells * y_.cells + 1, 0);
    for (int64_t i = 0; i < n; ++i) ++first_[cell(i) + 1];
    std::partial_sum(first_.begin(), first_.end(), first_.begin());
    free_.assign(first_.begin(), first_.end() - 1);
  }

  bool suppresses(int64_t i, const Query<T>& q) const {
    const T w = q.box.x2 - q.box.x1 + q.offset, h = q.box.y2 - q.box.y1 + q.offset;
    // Coordinates are rounded, so the window is a little wider than the bound.
    const T dx = reach_ * w + slack(q.box.x1, q.box.x2), dy = reach_ * h + slack(q.box.y1, q.box.y2);
    const int64_t left = x_(centers_x_[i] - dx), right = x_(centers_x_[i] + dx);
    const int64_t bottom = y_(centers_y_[i] + dy);
    for (int64_t row = y_(centers_y_[i] - dy); row <= bottom; ++row) {
      const int64_t begin = row * x_.cells + left, last = row * x_.cells + right;
      if (left <= right && any_overlap(kept_, first_[begin], free_[last], q)) return true;
    }
    return false;
  }

  void keep(int64_t i, const Query<T>& q) { kept_.put(free_[cell(i)]++, q.box, q.area); }

 private:
  static constexpr double kLowest = 1e-3;

  static T slack(T a, T b) { return T(1e-6) * (std::abs(a) + std::abs(b)); }
  int64_t cell(int64_t i) const { return y_(centers_y_[i]) * x_.cells + x_(centers_x_[i]); }

  KeptBoxes<T> kept_;
  T reach_;
  std::vector<T> centers_x_, centers_y_;
  Axis<T> x_{{}, 1}, y_{{}, 1};
  std::vector<int64_t> first_, free_;  // of each cell: its first slot, its next free slot
};

// `members` are positions in score order; sets keep[position].
template <typename T, typename S>
void suppress_group(const S* boxes, const int64_t* order, const int64_t* members, int64_t n, const Settings& settings,
                    bool* keep) {
  std::vector<Box<T>> group(n);
  for (int64_t i = 0; i < n; ++i) group[i] = load_box<T>(boxes + 4 * order[members[i]]);
  Grid<T> grid(group, settings);
  const T offset = settings.offset, threshold = settings.iou_threshold;
  int64_t left = settings.max_num > 0 ? settings.max_num : n;
  for (int64_t i = 0; i < n && left > 0; ++i) {
    const Query<T> query{group[i], area(group[i], offset), offset, threshold};
    if (grid.suppresses(i, query)) continue;
    grid.keep(i, query);
    keep[members[i]] = true;
    --left;
  }
}

Tensor nms_cpu(const Tensor& boxes_in, const Tensor& scores_in, const Tensor& order_in,
               const std::optional<Tensor>& groups, double iou_threshold, double score_threshold, int64_t offset,
               int64_t max_num) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in), order = contiguous(order_in);
  Tensor keep = torch::stable::new_zeros(boxes, {boxes.size(0)}, ScalarType::Bool);
  const Settings settings{iou_threshold, score_threshold, offset, max_num};
  dispatch_floating(boxes.scalar_type(), "nms", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S* box_data = data<S>(boxes);
    const int64_t* ranks = data<int64_t>(order);
    bool* flags = mutable_data<bool>(keep);
    for_each_group<S>(scores, order, groups, score_threshold, [&](const int64_t* members, int64_t n) {
      suppress_group<Accumulate<S>>(box_data, ranks, members, n, settings, flags);
    });
  });
  return keep;
}

}  // namespace

OPS_REGISTER(m) {
  m.def(
      "nms(Tensor boxes, Tensor scores, Tensor order, Tensor? groups, float iou_threshold, float score_threshold, "
      "int offset, int max_num) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) { m.impl("nms", TORCH_BOX(&nms_cpu)); }

}  // namespace ops
