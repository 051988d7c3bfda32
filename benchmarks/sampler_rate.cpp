// How many distinct kernels a CPU-second gives through the C++ interface. benchmarks/sampler.py calls it.
//
//   sampler_rate SECONDS SEED [LIMIT=VALUE ...] < layers
//
// A line of the input is a layer: c_in c_out stride window groups count tokens extents.... Writes one JSON object.
#include <ctime>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "canvas/sample/sampler.h"

namespace {

using namespace canvas;

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

std::vector<Layer> read_layers(std::istream& input) {
  std::vector<Layer> layers;
  for (std::string line; std::getline(input, line);) {
    std::istringstream words(line);
    Layer layer;
    words >> layer.c_in >> layer.c_out >> layer.stride >> layer.window >> layer.groups >> layer.count >> layer.tokens;
    layer.spatial.clear();
    for (int64_t extent; words >> extent;) layer.spatial.push_back(extent);
    layers.push_back(layer);
  }
  return layers;
}

Limits read_limits(int count, char** words) {
  Limits limits;
  limits.max_primitives = 12;
  const std::map<std::string, bool*> switches = {
      {"full_flow", &limits.full_flow}, {"trainable", &limits.trainable}, {"mix_tokens", &limits.mix_tokens},
      {"concise", &limits.concise},     {"live", &limits.live},           {"numeric", &limits.numeric}};
  const std::map<std::string, int*> counts = {{"min_reach", &limits.min_reach},
                                              {"min_weighted", &limits.min_weighted},
                                              {"max_primitives", &limits.max_primitives}};
  for (int i = 0; i < count; ++i) {
    const std::string word = words[i], name = word.substr(0, word.find('='));
    const int value = std::stoi(word.substr(word.find('=') + 1));
    if (const auto found = switches.find(name); found != switches.end()) *found->second = value != 0;
    if (const auto found = counts.find(name); found != counts.end()) *found->second = value;
  }
  return limits;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::cerr << "usage: sampler_rate SECONDS SEED [LIMIT=VALUE ...] < layers\n";
    return 2;
  }
  const double seconds = std::stod(words[1]);
  const Random seed(std::stoull(words[2]));
  Budget budget;
  budget.flops = Range{0.02, 1.0};
  budget.params = Range{0, 1.0};
  Sampler sampler(read_layers(std::cin), budget, read_limits(count - 3, words + 3));
  const double start = cpu_seconds();
  double kept = 0, length = 0;
  for (uint64_t attempt = 0; attempt % 64 || cpu_seconds() - start < seconds; ++attempt) {
    Random random = seed.split(attempt);
    if (const auto found = sampler.draw(random)) {
      ++kept;
      length += found->kernel.length();
    }
  }
  const double spent = cpu_seconds() - start;
  std::cout << "{\"kept_per_cpu_second\": " << kept / spent << ", \"mean_primitives\": " << length / kept;
  for (const auto& [fate, number] : sampler.counts()) {
    if (fate != "tried") std::cout << ", \"" << fate << "\": " << static_cast<double>(number) / sampler.counts().at("tried");
  }
  std::cout << "}\n";
}
