// Safe definitions: what a function with a numeric hazard computes, so that nothing overflows and every slope is finite. Stated here
// alone: primitives take formula and value from this table, emitters its PyTorch text, docs/primitives.md prints it.
#pragma once

#include <array>
#include <cmath>

namespace canvas::safe {

struct Definition {
  const char* name;
  const char* formula;
  const char* reason;
  const char* torch;
};

inline constexpr double kLargestExponent = 10;
inline constexpr double kUnderRoot = 1e-6;
inline constexpr double kLeastSquare = 1e-4;
inline constexpr double kLargestInverse = 100;

inline constexpr Definition kExp{"exp", "y = exp(min(x, 10))", "so that nothing overflows", "{0}.clamp(max=10).exp()"};
inline double exp(double x) { return std::exp(x > kLargestExponent ? kLargestExponent : x); }

inline constexpr Definition kSqrt{"sqrt", "y = sqrt(max(x, 0) + 0.000001)", "so that it has a finite slope everywhere",
                                  "({0}.clamp(min=0) + 1e-6).sqrt()"};
inline double sqrt(double x) { return std::sqrt((x < 0 ? 0.0 : x) + kUnderRoot); }

inline constexpr Definition kDiv{
    "div", "z = x * y / max(y * y, 0.0001)",
    "which is x / y unless y lies within 0.01 of 0, where it goes to 0 with y: continuous, at most 100 times x",
    "{0} * {1} / {1}.square().clamp(min=1e-4)"};
inline double div(double x, double y) { return x * y / (y * y < kLeastSquare ? kLeastSquare : y * y); }

// Of a value x by the root of a sum of squares v.
inline constexpr Definition kNorm{"norm", "y = x / sqrt(v + 0.000001)",
                                  "so that a value of zeros stays zero and has a finite slope",
                                  "{0} * ({1} + 1e-6).rsqrt()"};
inline double norm(double x, double v) { return x / std::sqrt(v + kUnderRoot); }

inline constexpr std::array<const Definition*, 4> kAll = {&kExp, &kSqrt, &kDiv, &kNorm};

}  // namespace canvas::safe
