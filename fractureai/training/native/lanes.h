// Sixteen float32 lanes and how they lie in memory. With AVX-512 BF16 activations are stored as bf16 and a vector is one
// register; with AVX2 and FMA they are float32 and a vector is two registers, which keeps whole cache lines in use.
#pragma once
#include <immintrin.h>
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))
// Before a short loop over registers: only when it is gone does the compiler keep them out of memory.
#define UNROLLED _Pragma("GCC unroll 16")

#ifdef FRACTUREAI_BF16

typedef uint16_t activation;
typedef __m512 lanes;

INLINE lanes zero() { return _mm512_setzero_ps(); }
INLINE lanes all(float v) { return _mm512_set1_ps(v); }
INLINE lanes add(lanes x, lanes y) { return _mm512_add_ps(x, y); }
INLINE lanes sub(lanes x, lanes y) { return _mm512_sub_ps(x, y); }
INLINE lanes mul(lanes x, lanes y) { return _mm512_mul_ps(x, y); }
INLINE lanes muladd(lanes x, lanes y, lanes z) { return _mm512_fmadd_ps(x, y, z); }
INLINE lanes get(const float* p) { return _mm512_loadu_ps(p); }
INLINE void put(float* p, lanes v) { _mm512_storeu_ps(p, v); }
INLINE lanes load(const activation* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
INLINE void store(activation* p, lanes v) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(v)); }

// The first n of sixteen; the others read as 0 and are not written.
INLINE __mmask16 first(int n) { return n >= 16 ? 0xffff : (1 << n) - 1; }
INLINE lanes get(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
INLINE void put(float* p, lanes v, int n) { _mm512_mask_storeu_ps(p, first(n), v); }
INLINE lanes load(const activation* p, int n) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first(n), p);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
INLINE void store(activation* p, lanes v, int n) {
  _mm256_mask_storeu_epi16(p, first(n), (__m256i)_mm512_cvtneps_pbh(v));
}

// 1 / (1 + exp(-z)), as exact as bf16 can show.
INLINE lanes sigmoid(lanes z) {
  lanes x = _mm512_min_ps(_mm512_max_ps(sub(zero(), z), all(-87.f)), all(87.f));
  const lanes t = mul(x, all(1.44269504f)), n = _mm512_roundscale_ps(t, 0), f = sub(t, n);
  lanes p = muladd(all(0.0555041f), f, all(0.2422096f));
  p = muladd(muladd(p, f, all(0.6931472f)), f, all(1.f));
  return _mm512_rcp14_ps(add(all(1.f), _mm512_scalef_ps(p, n)));
}

#else

typedef float activation;
struct lanes {
  __m256 low, high;
};

INLINE lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
INLINE lanes all(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
INLINE lanes add(lanes x, lanes y) { return {_mm256_add_ps(x.low, y.low), _mm256_add_ps(x.high, y.high)}; }
INLINE lanes sub(lanes x, lanes y) { return {_mm256_sub_ps(x.low, y.low), _mm256_sub_ps(x.high, y.high)}; }
INLINE lanes mul(lanes x, lanes y) { return {_mm256_mul_ps(x.low, y.low), _mm256_mul_ps(x.high, y.high)}; }
INLINE lanes muladd(lanes x, lanes y, lanes z) {
  return {_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)};
}
INLINE lanes get(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
INLINE void put(float* p, lanes v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
INLINE lanes load(const activation* p) { return get(p); }
INLINE void store(activation* p, lanes v) { put(p, v); }

// The first n of sixteen; the others read as 0 and are not written. Masked stores are slow on many CPUs with AVX2.
INLINE lanes get(const float* p, int n) {
  if (n >= 16) return get(p);
  if (n == 8) return {_mm256_loadu_ps(p), _mm256_setzero_ps()};
  float whole[16] = {0};
  memcpy(whole, p, sizeof(float) * n);
  return get(whole);
}
INLINE void put(float* p, lanes v, int n) {
  if (n >= 16) return put(p, v);
  if (n == 8) return _mm256_storeu_ps(p, v.low);
  float whole[16];
  put(whole, v);
  memcpy(p, whole, sizeof(float) * n);
}
INLINE lanes load(const activation* p, int n) { return get(p, n); }
INLINE void store(activation* p, lanes v, int n) { put(p, v, n); }

// exp with the minimax polynomial of Cephes's expf, without its last digit.
INLINE __m256 exponential(__m256 x) {
  const auto constant = [](float v) { return _mm256_set1_ps(v); };
  x = _mm256_min_ps(_mm256_max_ps(x, constant(-87.f)), constant(87.f));
  const __m256 t = _mm256_mul_ps(x, constant(1.44269504f));
  const __m256 n = _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 f = _mm256_mul_ps(_mm256_sub_ps(t, n), constant(0.69314718f));
  __m256 p = _mm256_fmadd_ps(constant(8.3334519e-3f), f, constant(4.1665795e-2f));
  p = _mm256_fmadd_ps(p, f, constant(1.6666665e-1f));
  p = _mm256_fmadd_ps(p, f, constant(5.0000001e-1f));
  p = _mm256_fmadd_ps(p, f, constant(1.f));
  p = _mm256_fmadd_ps(p, f, constant(1.f));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}
INLINE lanes sigmoid(lanes z) {
  const __m256 one = _mm256_set1_ps(1.f), none = _mm256_setzero_ps();
  return {_mm256_div_ps(one, _mm256_add_ps(one, exponential(_mm256_sub_ps(none, z.low)))),
          _mm256_div_ps(one, _mm256_add_ps(one, exponential(_mm256_sub_ps(none, z.high))))};
}

#endif
