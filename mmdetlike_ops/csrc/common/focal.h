// The focal loss of one logit of a negative class and its derivative; a positive class mirrors the logit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/box.h"

namespace ops {

// exp(x) and log(1 + y) for x <= 0 and 0 <= y <= 1, to 2 units in the last place of float32 and without branches or
// calls, so that loops of them vectorize; float64 uses the library's.
OPS_HOST_DEVICE float exp_negative(float x) {
  x = x > -87.0f ? x : -87.0f;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

OPS_HOST_DEVICE double exp_negative(double x) { return std::exp(x); }

OPS_HOST_DEVICE float log1p_unit(float y) {
  const float s = y / (2.0f + y), q = s * s;  // log(1 + y) = 2 artanh(s), s <= 1/3
  float p = 1.0f / 17;
  p = p * q + 1.0f / 15;
  p = p * q + 1.0f / 13;
  p = p * q + 1.0f / 11;
  p = p * q + 1.0f / 9;
  p = p * q + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  return 2.0f * (s + s * q * p);
}

OPS_HOST_DEVICE double log1p_unit(double y) { return std::log1p(y); }

template <typename T>
struct Focal {
  T loss, derivative;
};

// p^gamma * softplus(x) with p = sigmoid(x), and d/dx of it.
template <typename T>
OPS_HOST_DEVICE Focal<T> focal_negative(T x, T gamma) {
  const T e = exp_negative(x > 0 ? -x : x), log1p_e = log1p_unit(e);
  const T softplus = larger(x, T(0)) + log1p_e, log_p = smaller(x, T(0)) - log1p_e;
  const T p = (x > 0 ? T(1) : e) / (T(1) + e), rest = (x > 0 ? e : T(1)) / (T(1) + e);
  const T factor = gamma == T(2) ? p * p : exp_negative(gamma * log_p);
  return {factor * softplus, factor * (p + gamma * rest * softplus)};
}

}  // namespace ops
