// Depthwise convolution, batch normalisation with SiLU and squeeze-excite scaling on (N, H, W, C) bf16 tensors, forward and
// backward, with AVX-512 and OpenMP. Sums are kept in float32 registers and float64 totals. C is a multiple of 16 for the
// depthwise and excite functions, any number for the norm functions.
#include <immintrin.h>
#include <omp.h>
#include <cstdint>
#include <cstring>
#include <vector>
#include <cmath>
typedef uint16_t bf;
static inline __m512 ld(const bf*p){return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)),16));}
static inline void st(bf*p,__m512 v){_mm256_storeu_si256((__m256i*)p,(__m256i)_mm512_cvtneps_pbh(v));}
static inline __m512 ldm(const bf*p,__mmask16 k){return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(k,p)),16));}
static inline void stm(bf*p,__mmask16 k,__m512 v){_mm256_mask_storeu_epi16(p,k,(__m256i)_mm512_cvtneps_pbh(v));}
// exp by Cephes style polynomial
static inline __m512 vexp(__m512 x){
  x=_mm512_min_ps(_mm512_max_ps(x,_mm512_set1_ps(-87.f)),_mm512_set1_ps(87.f));
  __m512 t=_mm512_mul_ps(x,_mm512_set1_ps(1.44269504f)); __m512 n=_mm512_roundscale_ps(t,0); __m512 f=_mm512_sub_ps(t,n);
  __m512 p=_mm512_set1_ps(0.0555041f); p=_mm512_fmadd_ps(p,f,_mm512_set1_ps(0.2422096f)); p=_mm512_fmadd_ps(p,f,_mm512_set1_ps(0.6931472f)); p=_mm512_fmadd_ps(p,f,_mm512_set1_ps(1.f));
  return _mm512_scalef_ps(p,n);}
static inline __m512 sig(__m512 z){ return _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1.f),vexp(_mm512_sub_ps(_mm512_setzero_ps(),z)))); }

template<int K,int S> static void dgrad(const bf*gy,const float*w/*[k*k][C]*/,bf*gx,int N,int H,int W,int C,int OH,int OW,int pt,int pl){
  #pragma omp parallel
  { std::vector<float> buf((size_t)W*16+64); float*b=(float*)(((uintptr_t)buf.data()+63)&~63ull);
  #pragma omp for schedule(static)
  for(int ni=0;ni<N*H;ni++){ int n=ni/H,iy=ni%H;
    for(int c=0;c<C;c+=16){
      bool first=true;
      for(int ky=0;ky<K;ky++){ int ty=iy+pt-ky; if(ty<0||ty%S||ty/S>=OH) continue; const bf*g=gy+(((size_t)n*OH+ty/S)*OW)*C+c;
        if(S==1){ __m512 wk[K]; for(int k=0;k<K;k++) wk[k]=_mm512_loadu_ps(w+(ky*K+k)*C+c);
          for(int ix=0;ix<W;ix++){ __m512 a=first?_mm512_setzero_ps():_mm512_load_ps(b+ix*16);
            int o0=ix+pl-(K-1);
            if(o0>=0&&o0+K-1<OW){ for(int k=0;k<K;k++) a=_mm512_fmadd_ps(ld(g+(size_t)(o0+K-1-k)*C),wk[k],a);} 
            else for(int k=0;k<K;k++){int o=o0+K-1-k; if(o>=0&&o<OW) a=_mm512_fmadd_ps(ld(g+(size_t)o*C),wk[k],a);} 
            _mm512_store_ps(b+ix*16,a);} }
        else { if(first) memset(b,0,(size_t)W*64);
          for(int k=0;k<K;k++){ __m512 wk=_mm512_loadu_ps(w+(ky*K+k)*C+c);
            for(int ox=0;ox<OW;ox++){int ix=ox*S+k-pl; if(ix<0||ix>=W) continue; _mm512_store_ps(b+ix*16,_mm512_fmadd_ps(ld(g+(size_t)ox*C),wk,_mm512_load_ps(b+ix*16)));}}}
        first=false; }
      bf*o=gx+(((size_t)n*H+iy)*W)*C+c;
      if(first){ for(int ix=0;ix<W;ix++) st(o+(size_t)ix*C,_mm512_setzero_ps()); }
      else for(int ix=0;ix<W;ix++) st(o+(size_t)ix*C,_mm512_load_ps(b+ix*16));
    }}}
}
template<int K,int S> static void wgrad(const bf*x,const bf*gy,float*gw/*[k*k][C]*/,int N,int H,int W,int C,int OH,int OW,int pt,int pl){
  memset(gw,0,sizeof(float)*K*K*C);
  #pragma omp parallel
  { std::vector<float> acc((size_t)K*K*C,0.f);
  #pragma omp for schedule(static)
  for(int ni=0;ni<N*OH;ni++){ int n=ni/OH,oy=ni%OH;
    for(int c=0;c<C;c+=16){ const bf*g=gy+(((size_t)n*OH+oy)*OW)*C+c;
      for(int ky=0;ky<K;ky++){ int iy=oy*S+ky-pt; if(iy<0||iy>=H) continue; const bf*xr=x+(((size_t)n*H+iy)*W)*C+c;
        __m512 a[K]; for(int k=0;k<K;k++) a[k]=_mm512_loadu_ps(&acc[(ky*K+k)*C+c]);
        for(int ox=0;ox<OW;ox++){ __m512 gv=ld(g+(size_t)ox*C); int i0=ox*S-pl;
          if(i0>=0&&i0+K<=W){ for(int k=0;k<K;k++) a[k]=_mm512_fmadd_ps(gv,ld(xr+(size_t)(i0+k)*C),a[k]); }
          else for(int k=0;k<K;k++){ int ix=i0+k; if(ix>=0&&ix<W) a[k]=_mm512_fmadd_ps(gv,ld(xr+(size_t)ix*C),a[k]); } }
        for(int k=0;k<K;k++) _mm512_storeu_ps(&acc[(ky*K+k)*C+c],a[k]); } } }
  #pragma omp critical
  for(int i=0;i<K*K*C;i++) gw[i]+=acc[i]; }
}
template<int K,int S> static void fwd(const bf*x,const float*w,bf*y,int N,int H,int W,int C,int OH,int OW,int pt,int pl){
  #pragma omp parallel
  { std::vector<float> buf((size_t)OW*16+64); float*b=(float*)(((uintptr_t)buf.data()+63)&~63ull);
  #pragma omp for schedule(static)
  for(int ni=0;ni<N*OH;ni++){ int n=ni/OH,oy=ni%OH;
    for(int c=0;c<C;c+=16){ memset(b,0,(size_t)OW*64);
      for(int ky=0;ky<K;ky++){ int iy=oy*S+ky-pt; if(iy<0||iy>=H) continue; const bf*xr=x+(((size_t)n*H+iy)*W)*C+c;
        __m512 wk[K]; for(int k=0;k<K;k++) wk[k]=_mm512_loadu_ps(w+(ky*K+k)*C+c);
        for(int ox=0;ox<OW;ox++){ __m512 a=_mm512_load_ps(b+ox*16); int i0=ox*S-pl;
          if(i0>=0&&i0+K<=W) for(int k=0;k<K;k++) a=_mm512_fmadd_ps(ld(xr+(size_t)(i0+k)*C),wk[k],a);
          else for(int k=0;k<K;k++){int ix=i0+k; if(ix>=0&&ix<W) a=_mm512_fmadd_ps(ld(xr+(size_t)ix*C),wk[k],a);} 
          _mm512_store_ps(b+ox*16,a);} }
      bf*o=y+(((size_t)n*OH+oy)*OW)*C+c; for(int ox=0;ox<OW;ox++) st(o+(size_t)ox*C,_mm512_load_ps(b+ox*16)); } } }
}
#define DISPATCH(F,...) if(K==3&&S==1)F<3,1>(__VA_ARGS__);else if(K==3)F<3,2>(__VA_ARGS__);else if(S==1)F<5,1>(__VA_ARGS__);else F<5,2>(__VA_ARGS__);
extern "C" {
void depthwise_forward(const bf*x,const float*w,bf*y,int N,int H,int W,int C,int OH,int OW,int pt,int pl,int K,int S){DISPATCH(fwd,x,w,y,N,H,W,C,OH,OW,pt,pl)}
void depthwise_of_input(const bf*g,const float*w,bf*o,int N,int H,int W,int C,int OH,int OW,int pt,int pl,int K,int S){DISPATCH(dgrad,g,w,o,N,H,W,C,OH,OW,pt,pl)}
void depthwise_of_weight(const bf*x,const bf*g,float*o,int N,int H,int W,int C,int OH,int OW,int pt,int pl,int K,int S){DISPATCH(wgrad,x,g,o,N,H,W,C,OH,OW,pt,pl)}
// per channel sums of x and (x-shift)^2 over M rows
void norm_statistics(const bf*x,long M,int C,float*mean,float*var){
  std::vector<double> s(2*C,0.0);
  #pragma omp parallel
  { std::vector<float> a(2*C,0.f); std::vector<double> d(2*C,0.0);
    #pragma omp for schedule(static)
    for(long b=0;b<(M+255)/64;b++){ long e=b*64+64<M?b*64+64:M; memset(a.data(),0,8*C);
      for(int c=0;c<C;c+=16){__mmask16 k_=C-c>=16?0xffff:(1<<(C-c))-1; __m512 s0=_mm512_setzero_ps(),s1=s0; for(long m=b*64;m<e;m++){__m512 v=ldm(x+m*C+c,k_); s0=_mm512_add_ps(s0,v); s1=_mm512_fmadd_ps(v,v,s1);} _mm512_mask_storeu_ps(&a[c],k_,s0); _mm512_mask_storeu_ps(&a[C+c],k_,s1);}
      for(int i=0;i<2*C;i++) d[i]+=a[i]; }
    #pragma omp critical
    for(int i=0;i<2*C;i++) s[i]+=d[i]; }
  for(int c=0;c<C;c++){double m=s[c]/M; mean[c]=m; double v=s[C+c]/M-m*m; var[c]=v>0?v:0;}
}
// y=act(x*a+b)
void norm_apply(const bf*x,bf*y,long M,int C,const float*a,const float*b,int act){
  #pragma omp parallel for schedule(static)
  for(long m=0;m<M;m++){const bf*p=x+m*C; bf*q=y+m*C; for(int c=0;c<C;c+=16){__mmask16 k_=C-c>=16?0xffff:(1<<(C-c))-1; __m512 z=_mm512_fmadd_ps(ldm(p+c,k_),_mm512_maskz_loadu_ps(k_,a+c),_mm512_maskz_loadu_ps(k_,b+c)); if(act) z=_mm512_mul_ps(z,sig(z)); stm(q+c,k_,z);}}
}
// sums of dz and dz*x
void norm_backward_sums(const bf*x,const bf*gy,long M,int C,const float*a,const float*b,int act,float*o){
  std::vector<double> s(2*C,0.0);
  #pragma omp parallel
  { std::vector<float> t(2*C,0.f); std::vector<double> d(2*C,0.0);
    #pragma omp for schedule(static)
    for(long k=0;k<(M+255)/64;k++){ long e=k*64+64<M?k*64+64:M; memset(t.data(),0,8*C);
      for(int c=0;c<C;c+=16){__mmask16 k_=C-c>=16?0xffff:(1<<(C-c))-1; __m512 s0=_mm512_setzero_ps(),s1=s0,av=_mm512_maskz_loadu_ps(k_,a+c),bv=_mm512_maskz_loadu_ps(k_,b+c),one=_mm512_set1_ps(1.f);
        for(long m=k*64;m<e;m++){ __m512 v=ldm(x+m*C+c,k_),dz=ldm(gy+m*C+c,k_);
          if(act){__m512 z=_mm512_fmadd_ps(v,av,bv); __m512 sg=sig(z); dz=_mm512_mul_ps(dz,_mm512_mul_ps(sg,_mm512_fmadd_ps(z,_mm512_sub_ps(one,sg),one)));}
          s0=_mm512_add_ps(s0,dz); s1=_mm512_fmadd_ps(dz,v,s1);}
        _mm512_mask_storeu_ps(&t[c],k_,s0); _mm512_mask_storeu_ps(&t[C+c],k_,s1);}
      for(int i=0;i<2*C;i++) d[i]+=t[i]; }
    #pragma omp critical
    for(int i=0;i<2*C;i++) s[i]+=d[i]; }
  for(int i=0;i<2*C;i++) o[i]=s[i];
}
// dx = dz*a + x*p + q
void norm_backward_input(const bf*x,const bf*gy,bf*gx,long M,int C,const float*a,const float*b,int act,const float*pp,const float*qq){
  #pragma omp parallel for schedule(static)
  for(long m=0;m<M;m++){const bf*p=x+m*C;const bf*g=gy+m*C;bf*o=gx+m*C; for(int c=0;c<C;c+=16){__mmask16 k_=C-c>=16?0xffff:(1<<(C-c))-1; __m512 v=ldm(p+c,k_),dz=ldm(g+c,k_); __m512 av=_mm512_maskz_loadu_ps(k_,a+c);
        if(act){__m512 z=_mm512_fmadd_ps(v,av,_mm512_maskz_loadu_ps(k_,b+c)); __m512 sg=sig(z); __m512 one=_mm512_set1_ps(1.f); dz=_mm512_mul_ps(dz,_mm512_mul_ps(sg,_mm512_fmadd_ps(z,_mm512_sub_ps(one,sg),one)));}
        stm(o+c,k_,_mm512_fmadd_ps(dz,av,_mm512_fmadd_ps(v,_mm512_maskz_loadu_ps(k_,pp+c),_mm512_maskz_loadu_ps(k_,qq+c))));}}
}
// y[n,m,c]=x*s[n,c]; 
void excite_scale(const bf*x,const float*s,bf*y,int N,long P,int C){
  #pragma omp parallel for schedule(static)
  for(long r=0;r<(long)N*P;r++){const float*sv=s+(r/P)*C;const bf*p=x+r*C;bf*q=y+r*C; for(int c=0;c<C;c+=16) st(q+c,_mm512_mul_ps(ld(p+c),_mm512_loadu_ps(sv+c)));}
}
void excite_mean(const bf*x,float*o,int N,long P,int C,float k){
  #pragma omp parallel for schedule(static)
  for(int n=0;n<N;n++){float*a=o+(long)n*C; memset(a,0,4*C); for(long r=0;r<P;r++){const bf*p=x+((long)n*P+r)*C; for(int c=0;c<C;c+=16)_mm512_storeu_ps(a+c,_mm512_add_ps(_mm512_loadu_ps(a+c),ld(p+c)));} for(int c=0;c<C;c++)a[c]*=k;}
}
// gs[n,c]=sum gy*x
void excite_of_scale(const bf*x,const bf*g,float*o,int N,long P,int C){
  #pragma omp parallel for schedule(static)
  for(int n=0;n<N;n++){float*a=o+(long)n*C; memset(a,0,4*C); for(long r=0;r<P;r++){long k=((long)n*P+r)*C; for(int c=0;c<C;c+=16)_mm512_storeu_ps(a+c,_mm512_fmadd_ps(ld(x+k+c),ld(g+k+c),_mm512_loadu_ps(a+c)));}}
}
// gx = gy*s + t
void excite_of_input(const bf*g,const float*s,const float*t,bf*o,int N,long P,int C){
  #pragma omp parallel for schedule(static)
  for(long r=0;r<(long)N*P;r++){const float*sv=s+(r/P)*C;const float*tv=t+(r/P)*C;const bf*p=g+r*C;bf*q=o+r*C; for(int c=0;c<C;c+=16) st(q+c,_mm512_fmadd_ps(ld(p+c),_mm512_loadu_ps(sv+c),_mm512_loadu_ps(tv+c)));}
}
}
