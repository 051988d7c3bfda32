#include "canvas/native/prelude.h"

#include <map>
#include <utility>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/prims/safe.h"

namespace canvas::native {

namespace {

// exp: n = round(x / ln 2), e^(x - n ln 2) by a polynomial that is exact to 1.1e-7 on [-0.35, 0.35], n added to its exponent.
// sqrt: 1 / sqrt(x) to 3.4 % by its bits (Lomont, Fast inverse square root, 2003), two steps of Newton's method and one of Heron's: exact to
// 1e-7 for what is not below the least normal number.
// gelu: the normal distribution less a half, by a quotient of polynomials on [-5.2, 5.2] (error at most 2e-7, 3e-9 of it the quotient's).
// The larger and the smaller of two are one instruction, which compilers do not find by themselves.
// Team: threads that share images wait for each other. OpenMP's barrier spins for milliseconds where another thread holds the core of one
// that is missing, or calls the system each time; this one soon lets the other go first.
constexpr const char* kFunctions = R"(#define INLINE static inline __attribute__((always_inline))
#ifdef _WIN32
static void give_way() {}
#else
extern "C" int sched_yield(void) noexcept;
static inline void give_way() { sched_yield(); }
#endif
static inline void rest() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
struct Team {
  int arrived, turn;
  void wait(long n) {
    const int now = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == n) {
      __atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&turn, now + 1, __ATOMIC_RELEASE);
      return;
    }
    for (int i = 0; __atomic_load_n(&turn, __ATOMIC_ACQUIRE) == now; i++) {
      if (i < 1000) rest();
      else give_way();
    }
  }
};
template <class V> struct bits;
template <class V> INLINE V load(const float* p) { V v; __builtin_memcpy(&v, p, sizeof v); return v; }
template <class V> INLINE void store(float* p, V v) { __builtin_memcpy(p, &v, sizeof v); }
template <class V> INLINE V load(const float* p, unsigned count) { V v = {}; __builtin_memcpy(&v, p, 4 * count); return v; }
template <class V> INLINE void store(float* p, V v, unsigned count) { __builtin_memcpy(p, &v, 4 * count); }
INLINE float value(float x) { return x; }
template <class V, class T> INLINE V gather(const T* p, long step) {
  V v;
  for (unsigned i = 0; i < sizeof v / 4; i++) v[i] = value(p[i * step]);
  return v;
}
template <class V, class T> INLINE V partial(const T* p, unsigned count, float rest) {
  V v = V{} + rest;
  for (unsigned i = 0; i < count; i++) v[i] = value(p[i]);
  return v;
}
template <class V> INLINE void scatter(float* p, long step, V v, unsigned count = sizeof(V) / 4) {
  for (unsigned i = 0; i < count; i++) p[i * step] = v[i];
}
template <class V> INLINE V splat(float x) { return V{} + x; }
template <class V> INLINE V splat(V x) { return x; }
template <class V> INLINE V larger(V x, V y) {
#ifdef __AVX__
  if constexpr (sizeof x == 32) return __builtin_ia32_maxps256(x, y);
#endif
  return x > y ? x : y;
}
template <class V> INLINE V smaller(V x, V y) {
#ifdef __AVX__
  if constexpr (sizeof x == 32) return __builtin_ia32_minps256(x, y);
#endif
  return x < y ? x : y;
}
template <class V> INLINE V power_below_88(V x) {
  typedef typename bits<V>::I I;
  x = larger<V>(splat<V>(-87.f), x);
  const V shifted = x * 1.44269504f + 12582912.f, round = shifted - 12582912.f;  // the integer is in the low bits
  const V r = (x - round * 0.693359375f) + round * 2.12194440e-4f;
  V e = r * 8.3125209e-3f + 4.1890158e-2f;
  e = e * r + 1.6667115e-1f;
  e = e * r + 4.9999231e-1f;
  e = e * r + 1.f;
  e = e * r + 1.f;
  return (V)((I)e + ((I)shifted << 23));
}
template <class V> INLINE V power(V x) { return power_below_88<V>(smaller<V>(splat<V>(88.f), x)); }
template <class V> INLINE V root(V x) {
  typedef typename bits<V>::I I;
  V y = (V)(0x5f3759df - ((I)x >> 1));
  y = y * (1.5f - 0.5f * x * y * y);
  y = y * (1.5f - 0.5f * x * y * y);
  const V s = x * y;
  return x < 3e38f ? s + 0.5f * y * (x - s * s) : x;
}
template <class V> INLINE V relu(V x) { return larger<V>(V{}, x); }
template <class V> INLINE V sigmoid(V x) { return 1.f / (1.f + power<V>(-x)); }
template <class V> INLINE V silu(V x) { return x / (1.f + power<V>(-x)); }
template <class V> INLINE V magnitude(V x) { return x < 0.f ? -x : x; }
template <class V> INLINE V tangent(V x) {
  const V square = x * x;
  const V near = x * (1.f + square * (-1.f / 3 + square * (2.f / 15 - square * (17.f / 315))));
  const V far = 2.f / (1.f + power<V>(-2.f * x)) - 1.f;
  return magnitude<V>(x) < 0.2f ? near : far;
}
template <class V> INLINE V gelu(V x) {
  const V above = larger<V>(splat<V>(-5.2f), x), z = smaller<V>(splat<V>(5.2f), above), s = z * z;
  V p = s * 2.4731095e-8f + 6.4078892e-6f, q = s * 1.2588676e-6f + 7.0496188e-5f;
  p = p * s + 1.5686189e-4f, q = q * s + 1.8172043e-3f;
  p = p * s + 4.6086470e-3f, q = q * s + 2.7926708e-2f;
  p = p * s + 3.2544587e-2f, q = q * s + 2.4824352e-1f;
  p = p * s + 3.9894226e-1f, q = q * s + 1.f;
  return above * (0.5f + z * p / q);
}
template <class V> INLINE V bounded_power(V x) { return power_below_88<V>(smaller<V>(x, splat<V>(largest_exponent))); }
template <class V> INLINE V safe_root(V x) { return root<V>((x < 0.f ? V{} : x) + under_root); }
template <class V> INLINE V square(V x) { return x * x; }
template <class V> INLINE V negative(V x) { return -x; }
template <class V> INLINE V safe_quotient(V x, V y) { return x * y / larger<V>(y * y, splat<V>(least_square)); }
template <class V> INLINE V power_of_difference(V x, V y) { return power_below_88<V>(x - y); }
)";

// sin: x - n pi in three parts for n = round(x / pi) (Cody and Waite, Software Manual for the Elementary Functions, 1980), then a polynomial on
// [-pi / 2, pi / 2]; error at most 1.2e-7. The parts are exact for numbers up to 8192; a vector with a larger one goes the slow way.
constexpr const char* kSine = R"(extern "C" float sinf(float);
template <class V> INLINE V sine(V x) {
  typedef typename bits<V>::I I;
  if (!(largest(magnitude<V>(x)) <= 8192.f)) {
    for (unsigned i = 0; i < sizeof x / 4; i++) x[i] = sinf(x[i]);
    return x;
  }
  const V round = (x * 0.318309886f + 12582912.f) - 12582912.f;
  const V r = ((x - round * 3.140625f) - round * 9.675025939941406e-4f) - round * 1.5099580e-7f;
  const V square = r * r;
  V s = square * 2.5997517e-6f - 1.9806479e-4f;
  s = s * square + 8.3330154e-3f;
  s = s * square - 1.6666657e-1f;
  return (V)((I)(r + r * (square * s)) ^ (__builtin_convertvector(round, I) << 31));
}
)";

// bf16: the upper half of a float's bits, rounded to the nearest, the even one of two. Two in the place of a float are a pair. What
// vdpbf16ps and vcvtneps2bf16 round differently are numbers below 1e-38, which they take for zero.
constexpr const char* kHalves = R"(typedef unsigned short half;
INLINE float value(half x) {
  const int wide = x << 16;
  float y;
  __builtin_memcpy(&y, &wide, 4);
  return y;
}
template <class V> INLINE typename bits<V>::H narrow(V x) {
  typedef typename bits<V>::I I;
  typedef typename bits<V>::H H;
#ifdef __AVX512BF16__
  if constexpr (sizeof x == 64) {
    H y;
    asm("vcvtneps2bf16 %1, %0" : "=v"(y) : "v"(x));
    return y;
  }
#endif
  const I whole = (I)x, rounded = whole + (whole >> 16 & 1) + 0x7fff;
  return __builtin_convertvector((x == x ? rounded : whole | 0x400000) >> 16, H);
}
template <class V> INLINE V load(const half* p) {
  typename bits<V>::H v;
  __builtin_memcpy(&v, p, sizeof v);
  return (V)(__builtin_convertvector(v, typename bits<V>::I) << 16);
}
template <class V> INLINE V load(const half* p, unsigned count) {
  typename bits<V>::H v = {};
  __builtin_memcpy(&v, p, 2 * count);
  return (V)(__builtin_convertvector(v, typename bits<V>::I) << 16);
}
template <class V> INLINE void store(half* p, V v, unsigned count = sizeof(V) / 4) {
  const typename bits<V>::H narrowed = narrow<V>(v);
  __builtin_memcpy(p, &narrowed, 2 * count);
}
template <class V> INLINE void scatter(half* p, long step, V v, unsigned count = sizeof(V) / 4) {
  const typename bits<V>::H narrowed = narrow<V>(v);
  for (unsigned i = 0; i < count; i++) p[i * step] = narrowed[i];
}
template <class V> INLINE V low(V pair) { return (V)((typename bits<V>::I)pair << 16); }
template <class V> INLINE V high(V pair) { return (V)((typename bits<V>::I)pair & -65536); }
template <class V> INLINE V pairs(const half* p) {
  int pair;
  __builtin_memcpy(&pair, p, 4);
  return (V)(typename bits<V>::I{} + pair);
}
#ifdef __AVX512BF16__
#if __GNUC__ > 12 || __clang_major__ > 15
typedef __bf16 operands __attribute__((vector_size(64)));
#elif defined __clang__
typedef int operands __attribute__((vector_size(64)));
#else
typedef short operands __attribute__((vector_size(64)));
#endif
#ifdef __clang__
#define DOT __builtin_ia32_dpbf16ps_512
#else
#define DOT __builtin_ia32_dpbf16ps_v16sf
#endif
#endif
template <class V> INLINE V dot(V sum, V x, V y) {
#ifdef DOT
  if constexpr (sizeof x == 64) return (V)DOT(sum, (operands)x, (operands)y);
#endif
  return sum + high<V>(x) * high<V>(y) + low<V>(x) * low<V>(y);
}
)";

// "__builtin_shufflevector(a, b, …)" of some lanes; those of b count from the lanes of a.
template <class Lane>
std::string shuffled(const std::string& a, const std::string& b, int count, const Lane& lane) {
  std::string text = "__builtin_shufflevector(" + a + ", " + b;
  for (int i = 0; i < count; ++i) text += ", " + std::to_string(lane(i));
  return text + ")";
}

// The sum and the largest of a vector's elements, by halves.
std::string across(int lanes) {
  const std::string half = "v" + std::to_string(lanes / 2);
  const std::string low = shuffled("v", "v", lanes / 2, [](int i) { return i; });
  const std::string high = shuffled("v", "v", lanes / 2, [&](int i) { return i + lanes / 2; });
  const std::string head = "(v" + std::to_string(lanes) + " v) { return ";
  return "INLINE float total" + head + "total((" + half + ")" + low + " + (" + half + ")" + high + "); }\n" +
         "INLINE float largest" + head + "largest(larger<" + half + ">(" + low + ", " + high + ")); }\n";
}

// A square of as many vectors as lanes, transposed: in each step pairs of vectors exchange what lies `half` lanes apart.
std::string transposition(int lanes) {
  const std::string size = std::to_string(lanes);
  std::string text = "[[maybe_unused]] static __attribute__((noinline)) void transpose" + size +
                     "(const float* from, long step, float* to, long far) {\n  typedef v" + size + " V;\n";
  const auto name = [](int stage, int i) { return "a" + std::to_string(stage) + "_" + std::to_string(i); };
  for (int i = 0; i < lanes; ++i)
    text += "  const V " + name(0, i) + " = load<V>(from + " + std::to_string(i) + " * step);\n";
  int stage = 0;
  for (int half = lanes / 2; half > 0; half /= 2, ++stage) {
    for (int i = 0; i < lanes; ++i) {
      const bool upper = (i & half) != 0;
      const std::string pair = shuffled(name(stage, i & ~half), name(stage, i | half), lanes, [&](int lane) {
        return (lane & half) != 0 ? lanes + lane - (upper ? 0 : half) : lane + (upper ? half : 0);
      });
      text += "  const V " + name(stage + 1, i) + " = " + pair + ";\n";
    }
  }
  for (int i = 0; i < lanes; ++i) text += "  store<V>(to + " + std::to_string(i) + " * far, " + name(stage, i) + ");\n";
  return text + "}\n";
}

}  // namespace

std::string prelude(int width) {
  std::string text;
  for (int lanes = 1; lanes <= width; lanes *= 2) {
    const std::string size = std::to_string(lanes), bytes = std::to_string(4 * lanes);
    text += "typedef float v" + size + " __attribute__((vector_size(" + bytes + ")));\n";
    text += "typedef float u" + size + " __attribute__((vector_size(" + bytes +
            "), aligned(4), may_alias));\n";  // anywhere
    text += "typedef int i" + size + " __attribute__((vector_size(" + bytes + ")));\n";
    text += "typedef unsigned short h" + size + " __attribute__((vector_size(" + std::to_string(2 * lanes) + ")));\n";
  }
  for (const auto& [name, value] : {std::pair{"largest_exponent", safe::kLargestExponent},
                                    {"under_root", safe::kUnderRoot},
                                    {"least_square", safe::kLeastSquare},
                                    {"lowest", -3.4e38}})
    text += std::string("[[maybe_unused]] static const float ") + name + " = " + number(value) + ";\n";
  text += kFunctions;
  text += "INLINE float total(v1 v) { return v[0]; }\nINLINE float largest(v1 v) { return v[0]; }\n";
  for (int lanes = 1; lanes <= width; lanes *= 2) {
    const std::string size = std::to_string(lanes);
    text += "template <> struct bits<v" + size + "> { typedef i" + size + " I; typedef h" + size + " H; };\n";
    if (lanes > 1) text += across(lanes);
  }
  for (int lanes = 4; lanes <= width; lanes *= 2) text += transposition(lanes);
  return text + kSine;
}

std::string halves() { return kHalves; }

std::string clock_text(size_t count) {
  return "extern \"C\" {\ndouble clocks[" + std::to_string(count) + R"(];
}
extern "C" int clock_gettime(int, long*);
static __attribute__((noinline)) void tick(int i) {
  static double before;
  long now[2];
  clock_gettime(1, now);
  const double at = now[0] * 1e9 + now[1];
  if (i >= 0) clocks[i] += at - before;
  before = at;
}
)";
}

std::string applied(const std::string& function, const std::string& type, const std::vector<std::string>& operands) {
  static const std::map<std::string, std::string> names = {
      {"relu", "relu"},
      {"gelu", "gelu"},
      {"silu", "silu"},
      {"sigmoid", "sigmoid"},
      {"tanh", "tangent"},
      {"abs", "magnitude"},
      {"exp", "bounded_power"},
      {"neg", "negative"},
      {"sin", "sine"},
      {"sqrt", "safe_root"},
      {"square", "square"},
      {"add", "+"},
      {"sub", "-"},
      {"mul", "*"},
      {"div", "safe_quotient"},
      {"max", "larger"},
      {"min", "smaller"},
      {"quotient", "/"},
      {"exp of difference", "power_of_difference"},
      {"plain exp", "power"},
      {"plain sqrt", "root"},
  };
  const auto found = names.find(function);
  if (found == names.end()) throw ArgumentError("native code knows no function '" + function + "'");
  const std::string& name = found->second;
  return name.size() == 1 ? "(" + join(operands, " " + name + " ") + ")"
                          : name + "<" + type + ">(" + join(operands) + ")";
}

std::string entry(const Entry& sizes) {
  const std::string rest =
      R"(static void images(const float* x, const float* z, float* y, const float* c, float* s, long count, long t, long n, Team* team) {
  long i = 0;
  for (; i + together <= count; i += together) block(x + i * in, z ? z + i * out : z, y + i * out, c, s, together, t, n, team);
  const long m = count - i;
  if (m == 0) return;
)";
  const std::string plain = "  block(x + i * in, z ? z + i * out : z, y + i * out, c, s, m, t, n, team);\n}\n";
  const std::string copied =
      R"(  float *own = s + scratch, *given = own + together * out, *added = given + together * in;
  if (t == 0) {
    __builtin_memcpy(given, x + i * in, m * in * 4);
    if (z) __builtin_memcpy(added, z + i * out, m * out * 4);
  }
  if (n > 1) team->wait(n);
  block(given, added, own, c, s, m, t, n, team);
  if (t == 0) __builtin_memcpy(y + i * out, own, m * out * 4);
  if (n > 1) team->wait(n);
}
)";
  const auto number = [](const char* name, int64_t value) {
    return std::string("static const long ") + name + " = " + std::to_string(value) + ";\n";
  };
  return number("in", sizes.input) + number("out", sizes.output) + number("together", sizes.together) +
         number("scratch", sizes.scratch) + number("all", room(sizes)) + rest + (sizes.copies ? copied : plain) +
         R"(#ifdef _OPENMP
extern "C" int omp_get_thread_num(void);
extern "C" int omp_get_num_threads(void);
#else
static int omp_get_thread_num() { return 0; }
static int omp_get_num_threads() { return 1; }
#endif
extern "C" void run(const float* x, const float* z, float* y, const float* c, float* s, long count, int threads) {
#ifndef _OPENMP
  threads = 1;
#endif
  if (threads < 2) {
    ready(s);
    images(x, z, y, c, s, count, 0, 1, 0);
    return;
  }
  Team team = {};
#pragma omp parallel num_threads(threads)
  {
    const long t = omp_get_thread_num(), n = omp_get_num_threads();  // the system may give fewer
    if (count >= threads) {
      const long i = count * t / n;
      ready(s + t * all);
      images(x + i * in, z ? z + i * out : z, y + i * out, c, s + t * all, count * (t + 1) / n - i, 0, 1, 0);
    } else {
      if (t == 0) ready(s);
      if (n > 1) team.wait(n);
      images(x, z, y, c, s, count, t, n, &team);
    }
  }
}
)";
}

int64_t room(const Entry& sizes) {
  return sizes.scratch + (sizes.copies ? sizes.together * (sizes.input + 2 * sizes.output) + 16 : 0);
}

}  // namespace canvas::native
