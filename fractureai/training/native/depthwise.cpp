// Depthwise convolution on (N, H, W, C) activations, forward and backward. C is a multiple of 16.
//
// Memory decides: a cell's channels lie side by side, so channels are the inner loop and every line of the cache is
// used as soon as it arrives. Several cells of a row are done together, so that a weight is loaded once for all of them.
#include <omp.h>

#include <vector>

#include "lanes.h"

// How a side of the output maps to the input: input cell of output o and tap k is o * stride + k - before.
struct Shape {
  int N, H, W, C, OH, OW, top, left, kernel, stride;
};

// The taps of one output cell that lie inside the input: where to read, and which weight belongs there.
struct Taps {
  const activation* from[25];
  const float* weight[25];
  int count;
};

static inline void sum_of(const Taps& taps, activation* to, int C) {
  for (int c = 0; c < C; c += 16) {
    lanes a = zero();
    for (int i = 0; i < taps.count; i++) a = muladd(load(taps.from[i] + c), get(taps.weight[i] + c), a);
    store(to + c, a);
  }
}

// Convolution of x with w; a cell's taps reach from -top and -left.
template <int K, int S>
static void convolve(const activation* x, const float* w, activation* y, const Shape& s) {
  constexpr int TILE = 4;
#pragma omp parallel for schedule(dynamic, 4)
  for (int row = 0; row < s.N * s.OH; row++) {
    const int n = row / s.OH, oy = row % s.OH, y0 = oy * S - s.top;
    const activation* image = x + (size_t)n * s.H * s.W * s.C;
    activation* to = y + (size_t)row * s.OW * s.C;
    const int first = y0 < 0 ? -y0 : 0, last = y0 + K > s.H ? s.H - y0 : K;
    for (int ox = 0; ox < s.OW;) {
      const int x0 = ox * S - s.left;
      if (x0 >= 0 && ox + TILE <= s.OW && x0 + (TILE - 1) * S + K <= s.W) {
        const activation* ahead = image + ((size_t)(y0 + K < s.H ? y0 + K : s.H - 1) * s.W + x0) * s.C;
        activation* after = to + (size_t)(ox + TILE) * s.C;
        for (int c = 0; c < s.C; c += 16) {
          // Rows of a large map come from memory: ask for the next one, and for the place of the next cells.
          UNROLLED for (int t = 0; t < TILE * S; t++) __builtin_prefetch(ahead + (size_t)t * s.C + c);
          UNROLLED for (int t = 0; t < TILE; t++) __builtin_prefetch(after + (size_t)t * s.C + c, 1);
          lanes a[TILE];
          UNROLLED for (int t = 0; t < TILE; t++) a[t] = zero();
          for (int ky = first; ky < last; ky++) {
            const activation* from = image + ((size_t)(y0 + ky) * s.W + x0) * s.C + c;
            for (int kx = 0; kx < K; kx++) {
              const lanes weight = get(w + (ky * K + kx) * s.C + c);
              UNROLLED for (int t = 0; t < TILE; t++) a[t] = muladd(load(from + (size_t)(t * S + kx) * s.C), weight, a[t]);
            }
          }
          UNROLLED for (int t = 0; t < TILE; t++) store(to + (size_t)(ox + t) * s.C + c, a[t]);
        }
        ox += TILE;
        continue;
      }
      Taps taps;
      taps.count = 0;
      for (int ky = first; ky < last; ky++)
        for (int kx = 0; kx < K; kx++)
          if (x0 + kx >= 0 && x0 + kx < s.W) {
            taps.from[taps.count] = image + ((size_t)(y0 + ky) * s.W + x0 + kx) * s.C;
            taps.weight[taps.count++] = w + (ky * K + kx) * s.C;
          }
      sum_of(taps, to + (size_t)ox * s.C, s.C);
      ox++;
    }
  }
}

// Gradient of the input where the stride is 2: each cell gathers the outputs it went into.
template <int K>
static void gather(const activation* g, const float* w, activation* gx, const Shape& s) {
#pragma omp parallel for schedule(dynamic, 4)
  for (int row = 0; row < s.N * s.H; row++) {
    const int n = row / s.H, iy = row % s.H;
    const activation* image = g + (size_t)n * s.OH * s.OW * s.C;
    for (int ix = 0; ix < s.W; ix++) {
      Taps taps;
      taps.count = 0;
      for (int ky = (iy + s.top) % 2; ky < K; ky += 2) {
        const int oy = (iy + s.top - ky) / 2;
        if (iy + s.top < ky || oy >= s.OH) continue;
        for (int kx = (ix + s.left) % 2; kx < K; kx += 2) {
          const int ox = (ix + s.left - kx) / 2;
          if (ix + s.left < kx || ox >= s.OW) continue;
          taps.from[taps.count] = image + ((size_t)oy * s.OW + ox) * s.C;
          taps.weight[taps.count++] = w + (ky * K + kx) * s.C;
        }
      }
      sum_of(taps, gx + ((size_t)row * s.W + ix) * s.C, s.C);
    }
  }
}

// Gradient of the weights, (K * K, C). Eight cells of a row together: their gradients stay in registers.
template <int K, int S>
static void of_weight(const activation* x, const activation* g, float* gw, const Shape& s) {
  constexpr int TILE = 4, REACH = (TILE - 1) * S + K;
  memset(gw, 0, sizeof(float) * K * K * s.C);
#pragma omp parallel
  {
    std::vector<float> sums((size_t)K * K * s.C, 0.f);
#pragma omp for schedule(dynamic, 4)
    for (int row = 0; row < s.N * s.OH; row++) {
      const int n = row / s.OH, oy = row % s.OH, y0 = oy * S - s.top;
      const activation* image = x + (size_t)n * s.H * s.W * s.C;
      const activation* of_row = g + (size_t)row * s.OW * s.C;
      const int first = y0 < 0 ? -y0 : 0, last = y0 + K > s.H ? s.H - y0 : K;
      for (int ox = 0; ox < s.OW;) {
        const int x0 = ox * S - s.left;
        const activation* gradient = of_row + (size_t)ox * s.C;
        if (x0 >= 0 && ox + TILE <= s.OW && x0 + REACH <= s.W) {
          const activation* ahead = image + ((size_t)(y0 + K < s.H ? y0 + K : s.H - 1) * s.W + x0) * s.C;
          const activation* after = gradient + (size_t)TILE * s.C;
          for (int c = 0; c < s.C; c += 16) {
            UNROLLED for (int t = 0; t < TILE * S; t++) __builtin_prefetch(ahead + (size_t)t * s.C + c);
            UNROLLED for (int t = 0; t < TILE; t++) __builtin_prefetch(after + (size_t)t * s.C + c);
            lanes own[TILE];
            UNROLLED for (int t = 0; t < TILE; t++) own[t] = load(gradient + (size_t)t * s.C + c);
            for (int ky = first; ky < last; ky++) {
              const activation* from = image + ((size_t)(y0 + ky) * s.W + x0) * s.C + c;
              for (int kx = 0; kx < K; kx++) {
                float* sum = &sums[(ky * K + kx) * s.C + c];
                lanes a = get(sum);
                UNROLLED for (int t = 0; t < TILE; t++) a = muladd(load(from + (size_t)(t * S + kx) * s.C), own[t], a);
                put(sum, a);
              }
            }
          }
          ox += TILE;
          continue;
        }
        for (int ky = first; ky < last; ky++)
          for (int kx = 0; kx < K; kx++) {
            if (x0 + kx < 0 || x0 + kx >= s.W) continue;
            const activation* from = image + ((size_t)(y0 + ky) * s.W + x0 + kx) * s.C;
            float* sum = &sums[(ky * K + kx) * s.C];
            for (int c = 0; c < s.C; c += 16) put(sum + c, muladd(load(from + c), load(gradient + c), get(sum + c)));
          }
        ox++;
      }
    }
#pragma omp critical
    for (int i = 0; i < K * K * s.C; i++) gw[i] += sums[i];
  }
}

#define DISPATCH(F, ...)                                  \
  if (kernel == 3 && stride == 1) F<3, 1>(__VA_ARGS__);   \
  else if (kernel == 3) F<3, 2>(__VA_ARGS__);             \
  else if (stride == 1) F<5, 1>(__VA_ARGS__);             \
  else F<5, 2>(__VA_ARGS__);

extern "C" {
// x: (N, H, W, C); y: (N, OH, OW, C); w: (kernel * kernel, C) float32; top, left: cells of padding before the input.
void depthwise_forward(const activation* x, const float* w, activation* y, int N, int H, int W, int C, int OH, int OW,
                       int top, int left, int kernel, int stride) {
  const Shape shape = {N, H, W, C, OH, OW, top, left, kernel, stride};
  DISPATCH(convolve, x, w, y, shape)
}

void depthwise_of_input(const activation* g, const float* w, activation* gx, int N, int H, int W, int C, int OH, int OW,
                        int top, int left, int kernel, int stride) {
  const Shape shape = {N, H, W, C, OH, OW, top, left, kernel, stride};
  if (stride == 2) {
    if (kernel == 3) gather<3>(g, w, gx, shape);
    else gather<5>(g, w, gx, shape);
    return;
  }
  // With a stride of 1 it is the convolution of the gradient with the kernel turned by 180°.
  const int taps = kernel * kernel;
  std::vector<float> turned((size_t)taps * C);
  for (int k = 0; k < taps; k++) memcpy(&turned[(size_t)k * C], w + (size_t)(taps - 1 - k) * C, sizeof(float) * C);
  const Shape back = {N, OH, OW, C, H, W, kernel - 1 - top, kernel - 1 - left, kernel, 1};
  if (kernel == 3) convolve<3, 1>(g, turned.data(), gx, back);
  else convolve<5, 1>(g, turned.data(), gx, back);
}

void depthwise_of_weight(const activation* x, const activation* g, float* gw, int N, int H, int W, int C, int OH, int OW,
                         int top, int left, int kernel, int stride) {
  const Shape shape = {N, H, W, C, OH, OW, top, left, kernel, stride};
  DISPATCH(of_weight, x, g, gw, shape)
}
}
