// What greedy suppressions of any kind of box share: who takes part, and the groups, which run in parallel.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/op.h"

namespace ops {

// Positions, in score order, of the boxes that take part.
template <typename S>
std::vector<int64_t> valid_positions(const S* scores, const int64_t* order, int64_t n, double threshold) {
  std::vector<int64_t> positions;
  positions.reserve(n);
  for (int64_t i = 0; i < n; ++i) {
    const double score = static_cast<Accumulate<S>>(scores[order[i]]);
    if (threshold > 0 ? score > threshold : !std::isnan(score)) positions.push_back(i);
  }
  return positions;
}

// Sorts positions by group, stably, and returns where each group begins, ending with the total.
inline std::vector<int64_t> split_groups(std::vector<int64_t>& positions, const int64_t* order, const int64_t* groups) {
  const int64_t n = positions.size();
  if (!groups || n == 0) return {0, n};
  const auto id = [&](int64_t position) { return groups[order[position]]; };
  std::stable_sort(positions.begin(), positions.end(), [&](int64_t a, int64_t b) { return id(a) < id(b); });
  std::vector<int64_t> starts{0};
  for (int64_t i = 1; i < n; ++i)
    if (id(positions[i]) != id(positions[i - 1])) starts.push_back(i);
  starts.push_back(n);
  return starts;
}

// Calls f(positions of a group's members in score order, how many) for every group, in parallel.
template <typename S, typename F>
void for_each_group(const Tensor& scores, const Tensor& order, const std::optional<Tensor>& groups_in,
                    double score_threshold, const F& f) {
  const std::optional<Tensor> groups = groups_in ? std::make_optional(contiguous(*groups_in)) : std::nullopt;
  const int64_t* ranks = data<int64_t>(order);
  auto positions = valid_positions(data<S>(scores), ranks, order.size(0), score_threshold);
  const auto starts = split_groups(positions, ranks, groups ? data<int64_t>(*groups) : nullptr);
  torch::stable::parallel_for(0, starts.size() - 1, 8, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) f(positions.data() + starts[g], starts[g + 1] - starts[g]);
  });
}

}  // namespace ops
