// Batch normalisation with SiLU and squeeze-and-excitation on (M, C) rows of activations, forward and backward, with OpenMP;
// lanes.h says how activations are stored and which instructions are used. Sums are kept in float32 over a block of rows
// and in float64 beyond. C is a multiple of 16 for the excite functions, any number for the norm functions.
#include <omp.h>

#include <algorithm>
#include <vector>

#include "lanes.h"

static const long BLOCK = 64;

// Gradient behind SiLU, from what stood before it, z = v * a + b.
INLINE lanes before_silu(lanes gradient, lanes v, lanes a, lanes b) {
  const lanes z = muladd(v, a, b), s = sigmoid(z), one = all(1.f);
  return mul(gradient, mul(s, muladd(z, sub(one, s), one)));
}

// Adds up two values a cell over M rows, (2, C) float64: each(m, c, n) gives both of the n channels from c on.
template <typename Each>
static std::vector<double> two_sums(long M, int C, Each each) {
  std::vector<double> total(2 * C, 0.0);
#pragma omp parallel
  {
    std::vector<float> part(2 * C + 32);
    std::vector<double> own(2 * C, 0.0);
    float* second = part.data() + C;
#pragma omp for schedule(dynamic, 4)
    for (long block = 0; block < (M + BLOCK - 1) / BLOCK; block++) {
      const long end = block * BLOCK + BLOCK < M ? block * BLOCK + BLOCK : M;
      std::fill(part.begin(), part.end(), 0.f);
      for (long m = block * BLOCK; m < end; m++)
        for (int c = 0; c < C; c += 16) {
          lanes one = get(part.data() + c, C - c), two = get(second + c, C - c);
          each(m, c, C - c, one, two);
          put(part.data() + c, one, C - c);
          put(second + c, two, C - c);
        }
      for (int i = 0; i < 2 * C; i++) own[i] += part[i];
    }
#pragma omp critical
    for (int i = 0; i < 2 * C; i++) total[i] += own[i];
  }
  return total;
}

extern "C" {
// Mean and biased variance of each channel over M rows.
void norm_statistics(const activation* x, long M, int C, float* mean, float* var) {
  const std::vector<double> total = two_sums(M, C, [=](long m, int c, int n, lanes& sum, lanes& squares) {
    const lanes v = load(x + m * C + c, n);
    sum = add(sum, v);
    squares = muladd(v, v, squares);
  });
  for (int c = 0; c < C; c++) {
    const double m = total[c] / M, v = total[C + c] / M - m * m;
    mean[c] = m;
    var[c] = v > 0 ? v : 0;
  }
}

// y = act(x * a + b)
void norm_apply(const activation* x, activation* y, long M, int C, const float* a, const float* b, int act) {
#pragma omp parallel for schedule(dynamic, 256)
  for (long m = 0; m < M; m++) {
    for (int c = 0; c < C; c += 16) {
      lanes z = muladd(load(x + m * C + c, C - c), get(a + c, C - c), get(b + c, C - c));
      if (act) z = mul(z, sigmoid(z));
      store(y + m * C + c, z, C - c);
    }
  }
}

// Sums of dz and of dz * x over M rows, (2, C), where dz is the gradient before the activation. It is written to dz, which
// may be gy; without an activation it is gy and nothing is written.
void norm_backward_sums(const activation* x, const activation* gy, activation* dz, long M, int C, const float* a,
                        const float* b, int act, float* o) {
  const std::vector<double> total = two_sums(M, C, [=](long m, int c, int n, lanes& sum, lanes& products) {
    const lanes v = load(x + m * C + c, n);
    lanes d = load(gy + m * C + c, n);
    if (act) {
      d = before_silu(d, v, get(a + c, n), get(b + c, n));
      store(dz + m * C + c, d, n);
    }
    sum = add(sum, d);
    products = muladd(d, v, products);
  });
  for (int i = 0; i < 2 * C; i++) o[i] = total[i];
}

// gx = dz * a + x * slope + offset; gx may be dz.
void norm_backward_input(const activation* x, const activation* dz, activation* gx, long M, int C, const float* a,
                         const float* slope, const float* offset) {
#pragma omp parallel for schedule(dynamic, 256)
  for (long m = 0; m < M; m++) {
    for (int c = 0; c < C; c += 16) {
      const lanes v = load(x + m * C + c, C - c), d = load(dz + m * C + c, C - c);
      const lanes moved = muladd(v, get(slope + c, C - c), get(offset + c, C - c));
      store(gx + m * C + c, muladd(d, get(a + c, C - c), moved), C - c);
    }
  }
}

// y[n, p, c] = x[n, p, c] * s[n, c], p over P cells
void excite_scale(const activation* x, const float* s, activation* y, int N, long P, int C) {
#pragma omp parallel for schedule(dynamic, 256)
  for (long r = 0; r < (long)N * P; r++) {
    const float* own = s + (r / P) * C;
    for (int c = 0; c < C; c += 16) store(y + r * C + c, mul(load(x + r * C + c), get(own + c)));
  }
}

// o[n, c] = k * sum of x over the cells
void excite_mean(const activation* x, float* o, int N, long P, int C, float k) {
#pragma omp parallel for schedule(dynamic)
  for (int n = 0; n < N; n++) {
    float* own = o + (long)n * C;
    memset(own, 0, sizeof(float) * C);
    for (long r = 0; r < P; r++) {
      const activation* p = x + ((long)n * P + r) * C;
      for (int c = 0; c < C; c += 16) put(own + c, add(get(own + c), load(p + c)));
    }
    for (int c = 0; c < C; c++) own[c] *= k;
  }
}

// o[n, c] = sum of g * x over the cells
void excite_of_scale(const activation* x, const activation* g, float* o, int N, long P, int C) {
#pragma omp parallel for schedule(dynamic)
  for (int n = 0; n < N; n++) {
    float* own = o + (long)n * C;
    memset(own, 0, sizeof(float) * C);
    for (long r = 0; r < P; r++) {
      const long at = ((long)n * P + r) * C;
      for (int c = 0; c < C; c += 16) put(own + c, muladd(load(x + at + c), load(g + at + c), get(own + c)));
    }
  }
}

// o = g * s + t
void excite_of_input(const activation* g, const float* s, const float* t, activation* o, int N, long P, int C) {
#pragma omp parallel for schedule(dynamic, 256)
  for (long r = 0; r < (long)N * P; r++) {
    const float *scale = s + (r / P) * C, *shift = t + (r / P) * C;
    for (int c = 0; c < C; c += 16) store(o + r * C + c, muladd(load(g + r * C + c), get(scale + c), get(shift + c)));
  }
}
}
