
// What network.h declares.
#include <stdio.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "network.h"

static const long kConstants = @CONSTANTS@, kScratch = @SCRATCH@, kWeights = @WEIGHTS@;
static const long kStarts[] = {@STARTS@};  // of each parameter, in weights.bin

struct network {
  float* constants;
  float* scratch;
  int threads;
};

static float* numbers(long count) {
  const long step = 8 * count > 1L << 21 ? 1L << 21 : 64;  // many lie in large pages
  const long size = (count * 4 + 63 + step) / step * step;
  float* made = (float*)aligned_alloc(step, size);
#ifdef __linux__
  if (made && step > 64) madvise(made, size, MADV_HUGEPAGE);
#endif
  if (made) __builtin_memset(made, 0, count * 4);
  return made;
}

static const char* filled(struct network* made, const char* file) {
  made->constants = numbers(kConstants);
  made->scratch = numbers(kScratch * made->threads);
  float* weights = (float*)malloc(kWeights * 4 + 4);
  FILE* from = fopen(file, "rb");
  const char* error = from ? 0 : "the weights cannot be opened";
  if (!made->constants || !made->scratch || !weights) error = "there is not enough memory";
  if (!error && fread(weights, 4, kWeights + 1, from) != (size_t)kWeights) error = "the weights are those of another network";
  if (!error) {
    const float* parameters[sizeof kStarts / sizeof kStarts[0]];
    for (unsigned i = 0; i < sizeof kStarts / sizeof kStarts[0]; i++) parameters[i] = weights + kStarts[i];
    prepare(parameters, made->constants);
  }
  if (from) fclose(from);
  free(weights);
  return error;
}

struct network* network_load(const char* weights, int threads, const char** error) {
  struct network* made = (struct network*)calloc(1, sizeof *made);
  const char* failed = "there is not enough memory";
  if (made) {
    made->threads = threads < 1 ? 1 : threads;
    failed = filled(made, weights);
  }
  if (error) *error = failed;
  if (!failed) return made;
  network_free(made);
  return 0;
}

void network_run(struct network* network, const float* input, float* output, long images) {
  run(input, 0, output, network->constants, network->scratch, images, network->threads);
}

void network_free(struct network* network) {
  if (!network) return;
  free(network->constants);
  free(network->scratch);
  free(network);
}
