// How many distinct kernels a CPU-second gives through the C++ interface. benchmarks/sampler.py builds and calls it.
//
//   sampler_rate SECONDS COUNT SEED THREADS [LIMIT=VALUE ...] < layers
//
// Samples for so many CPU-seconds, or until COUNT kernels where that is not 0. A line of the input is a layer: c_in c_out stride window
// groups count tokens extents.... Writes one JSON object. Then children of the first thousand kernels, for a tenth of the seconds each way:
// completed from a cut anywhere, mutated, crossed. Its last part: how many times a CPU-second it is decided whether a partial kernel can be
// completed within N primitives, for each prefix of those and each N up to 4; a step is added and taken back for each question.
#include <sys/resource.h>

#include <chrono>
#include <ctime>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "canvas/sample/closing.h"
#include "canvas/sample/mutation.h"
#include "canvas/sample/sampler.h"

namespace {

using namespace canvas;

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

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
  const std::map<std::string, bool*> switches = {
      {"full_flow", &limits.full_flow}, {"trainable", &limits.trainable}, {"mix_tokens", &limits.mix_tokens},
      {"concise", &limits.concise},     {"live", &limits.live},           {"numeric", &limits.numeric}};
  const std::map<std::string, int*> counts = {{"min_reach", &limits.min_reach},
                                              {"min_weighted", &limits.min_weighted},
                                              {"max_primitives", &limits.max_primitives}};
  for (int i = 0; i < count; ++i) {
    const std::string word = words[i], name = word.substr(0, word.find('='));
    const int value = std::stoi(word.substr(word.find('=') + 1));
    if (const auto found = switches.find(name); found != switches.end()) {
      *found->second = value != 0;
    } else {
      *counts.at(name) = value;
    }
  }
  return limits;
}

void print_completion(const std::vector<Sample>& samples) {
  const std::map<std::string, double> weights;
  int64_t asked = 0, yes = 0;
  const double start = cpu_seconds();
  for (const Sample& sample : samples) {
    Outline outline(sample.kernel.signature());
    outline.add(sample.kernel.nodes()[0]);
    for (size_t i = 1; i < sample.kernel.nodes().size(); ++i) {
      const Node& node = sample.kernel.nodes()[i];
      for (int most = 1; most <= Closing::kDeepest; ++most) {
        outline.add(node);
        yes += Closing(outline, weights).within(most);
        ++asked;
        if (most < Closing::kDeepest) outline.pop(node);
      }
    }
  }
  std::cout << ", \"completion\": {\"questions_per_cpu_second\": "
            << static_cast<double>(asked) / (cpu_seconds() - start) << ", \"questions\": " << asked
            << ", \"yes\": " << static_cast<double>(yes) / static_cast<double>(asked) << "}";
}

void print(const char* name, const std::map<std::string, int64_t>& numbers, double tried) {
  std::cout << ", \"" << name << "\": {";
  const char* between = "";
  for (const auto& [what, number] : numbers) {
    if (what == "tried") continue;
    std::cout << between << '"' << what << "\": " << static_cast<double>(number) / tried;
    between = ", ";
  }
  std::cout << "}";
}

void print_fates(const Sampler& sampler) {
  const auto tried = static_cast<double>(sampler.counts().at("tried"));
  print("fates", sampler.counts(), tried);
  print("reasons", sampler.reasons(), tried);
  print("taken_back", sampler.taken_back(), tried);
}

// make(growing, random) gives a child, or nothing.
template <class Make>
void print_offspring(const char* name, Sampler sampler, double seconds, const Make& make) {
  Random random(0);
  double kept = 0;
  const double start = cpu_seconds();
  while (cpu_seconds() - start < seconds) {
    const auto once = [&](const Growing& under) { return make(under, random); };
    kept += sampler.accept(sampler.attempt(once)).has_value();
  }
  std::cout << ", \"" << name << "\": {\"kept_per_cpu_second\": " << kept / (cpu_seconds() - start);
  print_fates(sampler);
  std::cout << "}";
}

void print_children(const std::vector<Sample>& parents, const Sampler& sampler, const Limits& limits, double seconds) {
  const auto one = [&](Random& random) -> const Kernel& { return random.pick(parents).kernel; };
  print_offspring("completion of parts", sampler, seconds, [&](const Growing& under, Random& random) {
    const Kernel& parent = one(random);
    const int kept = static_cast<int>(random.below(static_cast<size_t>(parent.length())));
    const int more = static_cast<int>(random.below(static_cast<size_t>(limits.max_primitives - kept)));
    return completed(parent, kept, kept + 1 + more, under, random);
  });
  print_offspring("mutation", sampler, seconds, [&](const Growing& under, Random& random) {
    return mutated(one(random), under, random);
  });
  print_offspring("crossover", sampler, seconds, [&](const Growing& under, Random& random) {
    const Kernel& first = one(random);
    return crossed(first, one(random), under, random);
  });
}

}  // namespace

int main(int count, char** words) {
  if (count < 5) {
    std::cerr << "usage: sampler_rate SECONDS COUNT SEED THREADS [LIMIT=VALUE ...] < layers\n";
    return 2;
  }
  const double seconds = std::stod(words[1]), most = std::stod(words[2]);
  Budget budget;
  budget.flops = Range{0.02, 1.0};
  budget.params = Range{0, 1.0};
  const std::vector<Layer> layers = read_layers(std::cin);
  const Limits limits = read_limits(count - 5, words + 5);
  Samples samples(layers, budget, limits, std::stoull(words[3]), std::stoi(words[4]));
  const double start = cpu_seconds(), start_wall = wall_seconds();
  double kept = 0, length = 0;
  std::vector<Sample> first;
  while (most > 0 ? kept < most : cpu_seconds() - start < seconds) {
    for (const Sample& found : samples.take(most > 0 ? static_cast<int64_t>(std::min(1000.0, most - kept)) : 100)) {
      if (++kept <= 1000) first.push_back(found);
      length += found.kernel.length();
    }
  }
  const double spent = cpu_seconds() - start, wall = wall_seconds() - start_wall;
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "{\"kept\": " << kept << ", \"kept_per_cpu_second\": " << kept / spent
            << ", \"kept_per_second\": " << kept / wall << ", \"mean_primitives\": " << length / kept
            << ", \"peak_megabytes\": " << static_cast<double>(usage.ru_maxrss) / 1024;
  print_fates(samples.sampler());
  if (most == 0) print_children(first, Sampler(layers, budget, limits), limits, seconds / 10);
  print_completion(first);
  std::cout << "}\n";
}
