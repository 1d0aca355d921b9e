// Pasting of masks into the image, one task a mask.
//
// Sampling is separable: a row of the mask is stretched over the columns of the box once, and each pixel row within
// reach of the box blends two such lines. Everything else is zero.
#include <cstring>
#include <vector>

#include "common/op.h"
#include "common/paste.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

template <typename T>
struct Columns {
  std::vector<int> low;  // into a source row with a zero before and after it
  std::vector<T> weight;

  Columns(const PasteAxis& axis, const PasteRange& range) : low(range.end - range.begin), weight(low.size()) {
    for (size_t i = 0; i < low.size(); ++i) {
      const PasteTap tap = axis.at(range.begin + i);
      low[i] = tap.low + 1, weight[i] = static_cast<T>(tap.weight);
    }
  }
};

template <typename T>
OPS_INLINE void stretch_body(const Columns<T>& columns, const T* source, T* line) {
  const int* low = columns.low.data();
  const T* weight = columns.weight.data();
  const int64_t n = columns.low.size();
  for (int64_t i = 0; i < n; ++i) line[i] = blend(source[low[i]], source[low[i] + 1], weight[i]);
}

OPS_VECTORIZED void stretch(const Columns<float>& columns, const float* source, float* line) {
  stretch_body(columns, source, line);
}

OPS_VECTORIZED void stretch(const Columns<double>& columns, const double* source, double* line) {
  stretch_body(columns, source, line);
}

template <typename T>
OPS_INLINE void write_body(const T* upper, const T* lower, T weight, T threshold, int64_t n, uint8_t* out) {
  if (threshold >= T(0)) {
    for (int64_t i = 0; i < n; ++i) out[i] = blend(upper[i], lower[i], weight) >= threshold;
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = paste_value(blend(upper[i], lower[i], weight), threshold);
  }
}

OPS_VECTORIZED void write(const float* upper, const float* lower, float weight, float threshold, int64_t n,
                          uint8_t* out) {
  write_body(upper, lower, weight, threshold, n, out);
}

OPS_VECTORIZED void write(const double* upper, const double* lower, double weight, double threshold, int64_t n,
                          uint8_t* out) {
  write_body(upper, lower, weight, threshold, n, out);
}

// The two lines between which a pixel row lies.
template <typename T, typename S>
class Lines {
 public:
  Lines(const S* mask, int64_t rows, int64_t width, const PasteAxis& axis, const PasteRange& range)
      : mask_(mask),
        rows_(rows),
        width_(width),
        columns_(axis, range),
        source_(width + 2),
        upper_(columns_.low.size()),
        lower_(columns_.low.size()) {}

  void move_to(int row) {
    if (row == row_) return;
    if (row == row_ + 1)
      upper_.swap(lower_);
    else
      fill(upper_, row);
    fill(lower_, row + 1);
    row_ = row;
  }

  const T* upper() const { return upper_.data(); }
  const T* lower() const { return lower_.data(); }

 private:
  void fill(std::vector<T>& line, int row) {
    const bool inside = row >= 0 && row < rows_;
    for (int64_t x = 0; x < width_; ++x) source_[x + 1] = inside ? static_cast<T>(mask_[row * width_ + x]) : T(0);
    stretch(columns_, source_.data(), line.data());
  }

  const S* mask_;
  int64_t rows_, width_;
  int row_ = -3;  // no row that is asked for, nor the one before
  Columns<T> columns_;
  std::vector<T> source_, upper_, lower_;
};

struct Image {
  int64_t height, width;
};

template <typename S>
void paste(const S* mask, int64_t rows, int64_t columns, const double* box, double threshold, const Image& image,
           uint8_t* out) {
  using T = Accumulate<S>;
  std::memset(out, 0, image.height * image.width);
  const PasteAxis x_axis(box[0], box[2], columns), y_axis(box[1], box[3], rows);
  if (!x_axis.valid() || !y_axis.valid()) return;
  const PasteRange xs = x_axis.reach(image.width), ys = y_axis.reach(image.height);
  Lines<T, S> lines(mask, rows, columns, x_axis, xs);
  for (int64_t y = ys.begin; y < ys.end; ++y) {
    const PasteTap tap = y_axis.at(y);
    lines.move_to(tap.low);
    write(lines.upper(), lines.lower(), static_cast<T>(tap.weight), static_cast<T>(threshold), xs.end - xs.begin,
          out + y * image.width + xs.begin);
  }
}

Tensor paste_masks_cpu(const Tensor& masks_in, const Tensor& boxes_in, int64_t height, int64_t width,
                       double threshold) {
  const Tensor masks = contiguous(masks_in), boxes = contiguous(boxes_in);
  const int64_t n = masks.size(0), rows = masks.size(1), columns = masks.size(2);
  Tensor out = torch::stable::new_empty(masks, {n, height, width}, ScalarType::Byte);
  const double* box_data = data<double>(boxes);
  uint8_t* planes = mutable_data<uint8_t>(out);
  dispatch_floating(masks.scalar_type(), "paste_masks", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S* mask_data = data<S>(masks);
    torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        paste(mask_data + i * rows * columns, rows, columns, box_data + 4 * i, threshold, Image{height, width},
              planes + i * height * width);
    });
  });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def("paste_masks(Tensor masks, Tensor boxes, SymInt height, SymInt width, float threshold) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) { m.impl("paste_masks", TORCH_BOX(&paste_masks_cpu)); }

}  // namespace ops
