// Products of a tall matrix of activations with a small one of weights, float32, for CPUs with AVX2 and FMA: what a 1x1
// convolution and its gradients are. General libraries reach a quarter of a core on these shapes. Rows are cells (many),
// columns are channels: multiples of 8.
//
// The small matrix is packed into panels of sixteen columns, which stay in the first cache while six rows at a time run
// past them: twelve registers of sums (as in BLIS, Van Zee and van de Geijn 2015).
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lanes.h"

static const int PANEL = 16;
// A block of the tall matrix that stays in the first cache beside a panel of the small one.
static const long ROWS = 48;
static const int DEPTH = 192;
// Floats of both factors of a weight's gradient that stay in the second cache.
static const long CACHED = 48 * 1024;

struct Aligned {
  std::vector<float> room;
  float* data;
  explicit Aligned(size_t count)
      : room(count + 16, 0.f), data((float*)(((uintptr_t)room.data() + 63) & ~(uintptr_t)63)) {}
};

// The panels of a (K, N) matrix whose element (k, n) is at from[k * down + n * right]; the last is filled with zeros.
static void pack(const float* from, long down, long right, int K, int N, float* panels) {
  for (int n0 = 0; n0 < N; n0 += PANEL)
    for (int k = 0; k < K; k++)
      for (int j = 0; j < PANEL; j++)
        panels[((size_t)n0 * K) + (size_t)k * PANEL + j] = n0 + j < N ? from[k * down + (n0 + j) * right] : 0.f;
}

// R rows of x (K of their cells, rows `row` apart) times K rows of a panel, stored in y or added to it.
template <int R>
static inline void rows_by_panel(const float* x, long row, const float* panel, int K, float* y, long out, bool wide,
                                 bool more) {
  __m256 a[R][2];
  UNROLLED for (int r = 0; r < R; r++) {
    a[r][0] = more ? _mm256_loadu_ps(y + r * out) : _mm256_setzero_ps();
    a[r][1] = more && wide ? _mm256_loadu_ps(y + r * out + 8) : _mm256_setzero_ps();
  }
  for (int k = 0; k < K; k++) {
    const __m256 b0 = _mm256_load_ps(panel + k * PANEL), b1 = _mm256_load_ps(panel + k * PANEL + 8);
    UNROLLED for (int r = 0; r < R; r++) {
      const __m256 v = _mm256_broadcast_ss(x + r * row + k);
      a[r][0] = _mm256_fmadd_ps(v, b0, a[r][0]);
      a[r][1] = _mm256_fmadd_ps(v, b1, a[r][1]);
    }
  }
  UNROLLED for (int r = 0; r < R; r++) {
    _mm256_storeu_ps(y + r * out, a[r][0]);
    if (wide) _mm256_storeu_ps(y + r * out + 8, a[r][1]);
  }
}

static void times(const float* x, const float* panels, float* y, long M, int K, int N) {
#pragma omp parallel for schedule(dynamic, 8)
  for (long m0 = 0; m0 < M; m0 += ROWS) {
    const long end = std::min(m0 + ROWS, M);
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
      const int depth = std::min(DEPTH, K - k0);
      for (int n0 = 0; n0 < N; n0 += PANEL) {
        const float* panel = panels + (size_t)n0 * K + (size_t)k0 * PANEL;
        const bool wide = N - n0 >= PANEL;
        long m = m0;
        for (; m + 6 <= end; m += 6) rows_by_panel<6>(x + m * K + k0, K, panel, depth, y + m * N + n0, N, wide, k0);
        for (; m < end; m++) rows_by_panel<1>(x + m * K + k0, K, panel, depth, y + m * N + n0, N, wide, k0);
      }
    }
  }
}

// Six columns of g (packed, six a row) by a panel of x over some rows, added to sums (6 rows, `out` apart).
static inline void columns_by_panel(const float* g, const float* panel, long rows, float* sums, long out) {
  __m256 a[6][2];
  UNROLLED for (int r = 0; r < 6; r++) {
    a[r][0] = _mm256_load_ps(sums + r * out);
    a[r][1] = _mm256_load_ps(sums + r * out + 8);
  }
  for (long m = 0; m < rows; m++) {
    const __m256 b0 = _mm256_load_ps(panel + m * PANEL), b1 = _mm256_load_ps(panel + m * PANEL + 8);
    UNROLLED for (int r = 0; r < 6; r++) {
      const __m256 v = _mm256_broadcast_ss(g + m * 6 + r);
      a[r][0] = _mm256_fmadd_ps(v, b0, a[r][0]);
      a[r][1] = _mm256_fmadd_ps(v, b1, a[r][1]);
    }
  }
  UNROLLED for (int r = 0; r < 6; r++) {
    _mm256_store_ps(sums + r * out, a[r][0]);
    _mm256_store_ps(sums + r * out + 8, a[r][1]);
  }
}

extern "C" {
// y (M, N) = x (M, K) times the transpose of w (N, K): the forward pass of a 1x1 convolution.
void matrix_forward(const float* x, const float* w, float* y, long M, int K, int N) {
  Aligned panels((size_t)(N + PANEL) * K);
  pack(w, 1, K, K, N, panels.data);
  times(x, panels.data, y, M, K, N);
}

// gx (M, K) = g (M, N) times w (N, K).
void matrix_of_input(const float* g, const float* w, float* gx, long M, int K, int N) {
  Aligned panels((size_t)(K + PANEL) * N);
  pack(w, K, 1, N, K, panels.data);
  times(g, panels.data, gx, M, N, K);
}

// gw (N, K) = the transpose of g (M, N) times x (M, K).
void matrix_of_weight(const float* x, const float* g, float* gw, long M, int K, int N) {
  const int sixes = (N + 5) / 6, panels = (K + PANEL - 1) / PANEL;
  const long out = (long)panels * PANEL, tile = std::max(32L, std::min(M, CACHED / (K + N)));
  memset(gw, 0, sizeof(float) * (size_t)N * K);
#pragma omp parallel
  {
    Aligned sums((size_t)sixes * 6 * out), left((size_t)sixes * 6 * tile), right((size_t)out * tile);
#pragma omp for schedule(dynamic)
    for (long m0 = 0; m0 < M; m0 += tile) {
      const long rows = std::min(tile, M - m0);
      for (long m = 0; m < rows; m++) {
        const float *own = g + (m0 + m) * N, *cell = x + (m0 + m) * K;
        for (int six = 0; six < sixes; six++)
          for (int r = 0; r < 6; r++)
            left.data[((size_t)six * tile + m) * 6 + r] = six * 6 + r < N ? own[six * 6 + r] : 0.f;
        for (int p = 0; p < panels; p++) {
          float* to = right.data + ((size_t)p * tile + m) * PANEL;
          const int width = std::min(PANEL, K - p * PANEL);
          memcpy(to, cell + p * PANEL, sizeof(float) * width);
          if (width < PANEL) memset(to + width, 0, sizeof(float) * (PANEL - width));
        }
      }
      for (int p = 0; p < panels; p++)
        for (int six = 0; six < sixes; six++)
          columns_by_panel(left.data + (size_t)six * tile * 6, right.data + (size_t)p * tile * PANEL, rows,
                           sums.data + (size_t)six * 6 * out + p * PANEL, out);
    }
#pragma omp critical
    for (int n = 0; n < N; n++)
      for (int k = 0; k < K; k++) gw[(size_t)n * K + k] += sums.data[n * out + k];
  }
}
}
