// Pasting of masks into the image: one block a pixel row of a mask.
#include "common/paste.h"
#include "cuda/launch.h"

namespace ops {
namespace {

template <typename T, typename S>
__device__ T pixel(const S* row, int x, int width) {
  return row && x >= 0 && x < width ? static_cast<T>(row[x]) : T(0);
}

template <typename T, typename S>
__device__ T between(const S* row, const PasteTap& tap, int width) {
  return blend(pixel<T>(row, tap.low, width), pixel<T>(row, tap.low + 1, width), static_cast<T>(tap.weight));
}

template <typename T, typename S>
__global__ void paste_kernel(const S* masks, const double* boxes, int rows, int columns, int64_t lines, int64_t height,
                             int64_t width, T threshold, uint8_t* out) {
  for (int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
    const int64_t i = line / height, y = line % height;
    const double* box = boxes + 4 * i;
    const PasteAxis x_axis(box[0], box[2], columns), y_axis(box[1], box[3], rows);
    const bool valid = x_axis.valid() && y_axis.valid();
    const PasteRange ys = valid ? y_axis.reach(height) : PasteRange{0, 0};
    const PasteRange xs = y >= ys.begin && y < ys.end ? x_axis.reach(width) : PasteRange{0, 0};
    const PasteTap tap = xs.end > xs.begin ? y_axis.at(y) : PasteTap{0, 0};
    const S* mask = masks + i * rows * columns;
    const S* upper = tap.low >= 0 ? mask + tap.low * columns : nullptr;
    const S* lower = tap.low + 1 < rows ? mask + (tap.low + 1) * columns : nullptr;
    for (int64_t x = threadIdx.x; x < width; x += blockDim.x) {
      uint8_t value = 0;
      if (x >= xs.begin && x < xs.end) {
        const PasteTap column = x_axis.at(x);
        const T a = between<T>(upper, column, columns), b = between<T>(lower, column, columns);
        value = paste_value(blend(a, b, static_cast<T>(tap.weight)), threshold);
      }
      out[line * width + x] = value;
    }
  }
}

Tensor paste_masks_cuda(const Tensor& masks_in, const Tensor& boxes_in, int64_t height, int64_t width,
                        double threshold) {
  const Tensor masks = contiguous(masks_in), boxes = contiguous(boxes_in);
  const int64_t lines = masks.size(0) * height;
  Tensor out = torch::stable::new_empty(masks, {masks.size(0), height, width}, ScalarType::Byte);
  if (lines * width == 0) return out;
  const Launcher launch(masks);
  dispatch_floating(masks.scalar_type(), "paste_masks", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const dim3 blocks(static_cast<unsigned>(std::min<int64_t>(lines, 1 << 20)));
    launch(paste_kernel<T, S>, blocks, kThreads, data<S>(masks), data<double>(boxes), masks.size(1), masks.size(2),
           lines, height, width, T(threshold), mutable_data<uint8_t>(out));
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("paste_masks", TORCH_BOX(&paste_masks_cuda)); }

}  // namespace ops
