// A network: from [images@INPUTS@] to [images@OUTPUTS@], float32, the last dimension the fastest.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

enum { NETWORK_INPUT = @INPUT@, NETWORK_OUTPUT = @OUTPUT@ };  // numbers of an image, and of its result

struct network;

// Loads the weights. Null where the file cannot be read, has another size than weights.bin, or memory is short: `error`, if given, then says
// which.
struct network* network_load(const char* weights, int threads, const char** error);
// Computes any number of images. One call at a time for each network.
void network_run(struct network* network, const float* input, float* output, long images);
void network_free(struct network* network);

#ifdef __cplusplus
}
#endif
