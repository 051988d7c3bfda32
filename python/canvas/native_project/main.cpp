// example WEIGHTS INPUT OUTPUT [THREADS]: runs the network on a file of images (float32, as network.h says) and writes the results.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "network.h"

namespace {

int fail(const char* what, const char* file) {
  std::fprintf(stderr, "%s: %s\n", file, what);
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4 || count > 5) return fail("give WEIGHTS INPUT OUTPUT [THREADS]", arguments[0]);
  const char *weights = arguments[1], *from = arguments[2], *to = arguments[3];
  std::FILE* file = std::fopen(from, "rb");
  if (!file) return fail("cannot be opened", from);
  std::vector<float> input;
  std::vector<float> part(NETWORK_INPUT);
  size_t got;
  while ((got = std::fread(part.data(), 4, part.size(), file)) == part.size())
    input.insert(input.end(), part.begin(), part.end());
  std::fclose(file);
  if (got != 0 || input.empty()) return fail("no whole number of images", from);
  const char* error = nullptr;
  network* loaded = network_load(weights, count > 4 ? std::atoi(arguments[4]) : 1, &error);
  if (!loaded) return fail(error, weights);
  const long images = static_cast<long>(input.size() / NETWORK_INPUT);
  std::vector<float> output(images * NETWORK_OUTPUT);
  const auto start = std::chrono::steady_clock::now();
  network_run(loaded, input.data(), output.data(), images);
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  network_free(loaded);
  file = std::fopen(to, "wb");
  if (!file) return fail("cannot be written", to);
  const bool whole = std::fwrite(output.data(), 4, output.size(), file) == output.size();
  if (std::fclose(file) != 0 || !whole) return fail("cannot be written to its end", to);
  std::printf("%ld images in %.3f ms\n", images, taken.count());
  return 0;
}
