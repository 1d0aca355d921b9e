// Function multiversioning: one portable binary with the hot loops compiled for several vector widths.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define OPS_VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define OPS_VECTORIZED
#endif

// Bodies shared by several vectorized functions must be inlined to be compiled with their callers' instructions.
#define OPS_INLINE inline __attribute__((always_inline))
