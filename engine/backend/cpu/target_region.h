#pragma once

// Functions between LH_BEGIN_TARGET("avx2,fma") and LH_END_TARGET() may use those instructions. Include everything else
// first: an inline function of the standard library that is compiled for them could be linked into common code.

#define LH_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define LH_BEGIN_TARGET(options) LH_PRAGMA(clang attribute push(__attribute__((target(options))), apply_to = function))
#define LH_END_TARGET() LH_PRAGMA(clang attribute pop)
#else
#define LH_BEGIN_TARGET(options) LH_PRAGMA(GCC push_options) LH_PRAGMA(GCC target(options))
#define LH_END_TARGET() LH_PRAGMA(GCC pop_options)
#endif

#define LH_INLINE inline __attribute__((always_inline))
