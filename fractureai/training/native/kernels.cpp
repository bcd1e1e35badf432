// Depthwise convolution, batch normalisation with SiLU and squeeze-excite scaling on (N, H, W, C) activations, forward and
// backward, with OpenMP; lanes.h says how activations are stored and which instructions are used. Sums are kept in
// float32 registers and float64 totals. C is a multiple of 16 for the depthwise and excite functions, any number for the
// norm functions.
#include <omp.h>

#include <vector>

#include "lanes.h"

// A line of W cells of sixteen channels, aligned, for one thread.
struct Line {
  std::vector<float> room;
  float* cells;
  explicit Line(int W) : room((size_t)W * 16 + 16), cells((float*)(((uintptr_t)room.data() + 63) & ~(uintptr_t)63)) {}
};

// x, gx: (N, H, W, C); y, gy: (N, OH, OW, C); w, gw: (K*K, C) float32; pt, pl: cells of padding above and left.
template <int K, int S>
static void forward(const activation* x, const float* w, activation* y, int N, int H, int W, int C, int OH, int OW,
                    int pt, int pl) {
#pragma omp parallel
  {
    Line line(OW);
    float* b = line.cells;
#pragma omp for schedule(static)
    for (int row = 0; row < N * OH; row++) {
      const int n = row / OH, oy = row % OH;
      for (int c = 0; c < C; c += 16) {
        memset(b, 0, (size_t)OW * 64);
        for (int ky = 0; ky < K; ky++) {
          const int iy = oy * S + ky - pt;
          if (iy < 0 || iy >= H) continue;
          const activation* from = x + (((size_t)n * H + iy) * W) * C + c;
          lanes wk[K];
          for (int k = 0; k < K; k++) wk[k] = get(w + (ky * K + k) * C + c);
          for (int ox = 0; ox < OW; ox++) {
            lanes a = get(b + ox * 16);
            const int i0 = ox * S - pl;
            if (i0 >= 0 && i0 + K <= W) {
              for (int k = 0; k < K; k++) a = muladd(load(from + (size_t)(i0 + k) * C), wk[k], a);
            } else {
              for (int k = 0; k < K; k++) {
                const int ix = i0 + k;
                if (ix >= 0 && ix < W) a = muladd(load(from + (size_t)ix * C), wk[k], a);
              }
            }
            put(b + ox * 16, a);
          }
        }
        activation* to = y + (((size_t)n * OH + oy) * OW) * C + c;
        for (int ox = 0; ox < OW; ox++) store(to + (size_t)ox * C, get(b + ox * 16));
      }
    }
  }
}

template <int K, int S>
static void of_input(const activation* gy, const float* w, activation* gx, int N, int H, int W, int C, int OH, int OW,
                     int pt, int pl) {
#pragma omp parallel
  {
    Line line(W);
    float* b = line.cells;
#pragma omp for schedule(static)
    for (int row = 0; row < N * H; row++) {
      const int n = row / H, iy = row % H;
      for (int c = 0; c < C; c += 16) {
        memset(b, 0, (size_t)W * 64);
        for (int ky = 0; ky < K; ky++) {
          const int ty = iy + pt - ky;
          if (ty < 0 || ty % S || ty / S >= OH) continue;
          const activation* g = gy + (((size_t)n * OH + ty / S) * OW) * C + c;
          lanes wk[K];
          for (int k = 0; k < K; k++) wk[k] = get(w + (ky * K + k) * C + c);
          if (S == 1) {
            for (int ix = 0; ix < W; ix++) {
              lanes a = get(b + ix * 16);
              const int o0 = ix + pl - (K - 1);
              if (o0 >= 0 && o0 + K <= OW) {
                for (int k = 0; k < K; k++) a = muladd(load(g + (size_t)(o0 + K - 1 - k) * C), wk[k], a);
              } else {
                for (int k = 0; k < K; k++) {
                  const int o = o0 + K - 1 - k;
                  if (o >= 0 && o < OW) a = muladd(load(g + (size_t)o * C), wk[k], a);
                }
              }
              put(b + ix * 16, a);
            }
          } else {
            for (int ox = 0; ox < OW; ox++) {
              const lanes gv = load(g + (size_t)ox * C);
              for (int k = 0; k < K; k++) {
                const int ix = ox * S + k - pl;
                if (ix >= 0 && ix < W) put(b + ix * 16, muladd(gv, wk[k], get(b + ix * 16)));
              }
            }
          }
        }
        activation* to = gx + (((size_t)n * H + iy) * W) * C + c;
        for (int ix = 0; ix < W; ix++) store(to + (size_t)ix * C, get(b + ix * 16));
      }
    }
  }
}

template <int K, int S>
static void of_weight(const activation* x, const activation* gy, float* gw, int N, int H, int W, int C, int OH, int OW,
                      int pt, int pl) {
  memset(gw, 0, sizeof(float) * K * K * C);
#pragma omp parallel
  {
    std::vector<float> sums((size_t)K * K * C, 0.f);
#pragma omp for schedule(static)
    for (int row = 0; row < N * OH; row++) {
      const int n = row / OH, oy = row % OH;
      for (int c = 0; c < C; c += 16) {
        const activation* g = gy + (((size_t)n * OH + oy) * OW) * C + c;
        for (int ky = 0; ky < K; ky++) {
          const int iy = oy * S + ky - pt;
          if (iy < 0 || iy >= H) continue;
          const activation* from = x + (((size_t)n * H + iy) * W) * C + c;
          lanes a[K];
          for (int k = 0; k < K; k++) a[k] = get(&sums[(ky * K + k) * C + c]);
          for (int ox = 0; ox < OW; ox++) {
            const lanes gv = load(g + (size_t)ox * C);
            const int i0 = ox * S - pl;
            if (i0 >= 0 && i0 + K <= W) {
              for (int k = 0; k < K; k++) a[k] = muladd(gv, load(from + (size_t)(i0 + k) * C), a[k]);
            } else {
              for (int k = 0; k < K; k++) {
                const int ix = i0 + k;
                if (ix >= 0 && ix < W) a[k] = muladd(gv, load(from + (size_t)ix * C), a[k]);
              }
            }
          }
          for (int k = 0; k < K; k++) put(&sums[(ky * K + k) * C + c], a[k]);
        }
      }
    }
#pragma omp critical
    for (int i = 0; i < K * K * C; i++) gw[i] += sums[i];
  }
}

// Gradient behind SiLU, from what stood before it, z = v * a + b.
INLINE lanes before_silu(lanes gradient, lanes v, lanes a, lanes b) {
  const lanes z = muladd(v, a, b), s = sigmoid(z), one = all(1.f);
  return mul(gradient, mul(s, muladd(z, sub(one, s), one)));
}

#define DISPATCH(F, ...)                            \
  if (K == 3 && S == 1) F<3, 1>(__VA_ARGS__);       \
  else if (K == 3) F<3, 2>(__VA_ARGS__);            \
  else if (S == 1) F<5, 1>(__VA_ARGS__);            \
  else F<5, 2>(__VA_ARGS__);

static const long BLOCK = 64;

extern "C" {
void depthwise_forward(const activation* x, const float* w, activation* y, int N, int H, int W, int C, int OH, int OW,
                       int pt, int pl, int K, int S) {
  DISPATCH(forward, x, w, y, N, H, W, C, OH, OW, pt, pl)
}
void depthwise_of_input(const activation* g, const float* w, activation* o, int N, int H, int W, int C, int OH, int OW,
                        int pt, int pl, int K, int S) {
  DISPATCH(of_input, g, w, o, N, H, W, C, OH, OW, pt, pl)
}
void depthwise_of_weight(const activation* x, const activation* g, float* o, int N, int H, int W, int C, int OH, int OW,
                         int pt, int pl, int K, int S) {
  DISPATCH(of_weight, x, g, o, N, H, W, C, OH, OW, pt, pl)
}

// Mean and biased variance of each channel over M rows.
void norm_statistics(const activation* x, long M, int C, float* mean, float* var) {
  std::vector<double> total(2 * C, 0.0);
#pragma omp parallel
  {
    std::vector<float> part(2 * C);
    std::vector<double> own(2 * C, 0.0);
#pragma omp for schedule(static)
    for (long block = 0; block < (M + BLOCK - 1) / BLOCK; block++) {
      const long end = block * BLOCK + BLOCK < M ? block * BLOCK + BLOCK : M;
      for (int c = 0; c < C; c += 16) {
        lanes s0 = zero(), s1 = zero();
        for (long m = block * BLOCK; m < end; m++) {
          const lanes v = load(x + m * C + c, C - c);
          s0 = add(s0, v);
          s1 = muladd(v, v, s1);
        }
        put(&part[c], s0, C - c);
        put(&part[C + c], s1, C - c);
      }
      for (int i = 0; i < 2 * C; i++) own[i] += part[i];
    }
#pragma omp critical
    for (int i = 0; i < 2 * C; i++) total[i] += own[i];
  }
  for (int c = 0; c < C; c++) {
    const double m = total[c] / M, v = total[C + c] / M - m * m;
    mean[c] = m;
    var[c] = v > 0 ? v : 0;
  }
}

// y = act(x * a + b)
void norm_apply(const activation* x, activation* y, long M, int C, const float* a, const float* b, int act) {
#pragma omp parallel for schedule(static)
  for (long m = 0; m < M; m++) {
    for (int c = 0; c < C; c += 16) {
      lanes z = muladd(load(x + m * C + c, C - c), get(a + c, C - c), get(b + c, C - c));
      if (act) z = mul(z, sigmoid(z));
      store(y + m * C + c, z, C - c);
    }
  }
}

// Sums of dz and of dz * x over M rows, (2, C).
void norm_backward_sums(const activation* x, const activation* gy, long M, int C, const float* a, const float* b,
                        int act, float* o) {
  std::vector<double> total(2 * C, 0.0);
#pragma omp parallel
  {
    std::vector<float> part(2 * C);
    std::vector<double> own(2 * C, 0.0);
#pragma omp for schedule(static)
    for (long block = 0; block < (M + BLOCK - 1) / BLOCK; block++) {
      const long end = block * BLOCK + BLOCK < M ? block * BLOCK + BLOCK : M;
      for (int c = 0; c < C; c += 16) {
        const lanes av = get(a + c, C - c), bv = get(b + c, C - c);
        lanes s0 = zero(), s1 = zero();
        for (long m = block * BLOCK; m < end; m++) {
          const lanes v = load(x + m * C + c, C - c);
          lanes dz = load(gy + m * C + c, C - c);
          if (act) dz = before_silu(dz, v, av, bv);
          s0 = add(s0, dz);
          s1 = muladd(dz, v, s1);
        }
        put(&part[c], s0, C - c);
        put(&part[C + c], s1, C - c);
      }
      for (int i = 0; i < 2 * C; i++) own[i] += part[i];
    }
#pragma omp critical
    for (int i = 0; i < 2 * C; i++) total[i] += own[i];
  }
  for (int i = 0; i < 2 * C; i++) o[i] = total[i];
}

// gx = dz * a + x * slope + offset
void norm_backward_input(const activation* x, const activation* gy, activation* gx, long M, int C, const float* a,
                         const float* b, int act, const float* slope, const float* offset) {
#pragma omp parallel for schedule(static)
  for (long m = 0; m < M; m++) {
    for (int c = 0; c < C; c += 16) {
      const lanes v = load(x + m * C + c, C - c), av = get(a + c, C - c);
      lanes dz = load(gy + m * C + c, C - c);
      if (act) dz = before_silu(dz, v, av, get(b + c, C - c));
      store(gx + m * C + c, muladd(dz, av, muladd(v, get(slope + c, C - c), get(offset + c, C - c))), C - c);
    }
  }
}

// y[n, p, c] = x[n, p, c] * s[n, c], p over P cells
void excite_scale(const activation* x, const float* s, activation* y, int N, long P, int C) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < (long)N * P; r++) {
    const float* own = s + (r / P) * C;
    for (int c = 0; c < C; c += 16) store(y + r * C + c, mul(load(x + r * C + c), get(own + c)));
  }
}

// o[n, c] = k * sum of x over the cells
void excite_mean(const activation* x, float* o, int N, long P, int C, float k) {
#pragma omp parallel for schedule(static)
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
#pragma omp parallel for schedule(static)
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
#pragma omp parallel for schedule(static)
  for (long r = 0; r < (long)N * P; r++) {
    const float *scale = s + (r / P) * C, *shift = t + (r / P) * C;
    for (int c = 0; c < C; c += 16) store(o + r * C + c, muladd(load(g + r * C + c), get(scale + c), get(shift + c)));
  }
}
}
