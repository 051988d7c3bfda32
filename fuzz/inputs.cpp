#include "inputs.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "canvas/ir/canonical.h"
#include "canvas/prims/registry.h"
#include "canvas/sample/growth.h"
#include "canvas/sample/mutation.h"
#include "canvas/text/parser.h"
#include "canvas/text/printer.h"

namespace canvas::fuzz {

namespace {

size_t text_size(const uint8_t* data, size_t size) {
  constexpr char kWord[] = "kernel";
  const std::string head(data, data + std::min(size, sizeof kWord - 1));
  return head == kWord ? static_cast<size_t>(std::find(data, data + size, 0) - data) : 0;
}

int64_t wild_number(Bytes& bytes) {
  const int64_t known[] = {1, 2, 3, 7, 8, 64, 224, 1 << 20, int64_t{1} << 31, (int64_t{1} << 31) + 1, 0, -1};
  const auto pick = bytes.ConsumeIntegralInRange<size_t>(0, std::size(known));
  return pick < std::size(known) ? known[pick] : bytes.ConsumeIntegral<int64_t>();
}

double wild_fraction(Bytes& bytes) {
  const double known[] = {1.0, 0.5, 0.1, 2.0, 1e-9, 1e300, 0.0, -1.0, std::numeric_limits<double>::quiet_NaN()};
  const auto pick = bytes.ConsumeIntegralInRange<size_t>(0, std::size(known));
  return pick < std::size(known) ? known[pick] : bytes.ConsumeFloatingPoint<double>();
}

Limits limits_of(Bytes& bytes) {
  Limits limits;
  limits.min_primitives = 1;
  limits.max_primitives = bytes.ConsumeIntegralInRange(3, 14);
  limits.max_weighted = bytes.ConsumeIntegralInRange(1, 6);
  limits.max_width = bytes.ConsumeIntegralInRange(1, 6);
  limits.max_variables = bytes.ConsumeIntegralInRange(0, 3);
  if (bytes.ConsumeBool()) {
    for (const Primitive* primitive : primitives())
      limits.weights[primitive->name] = bytes.ConsumeIntegralInRange(0, 4);
  }
  try {
    limits.check();
  } catch (const ArgumentError&) {
    limits.weights.clear();  // all of them 0
  }
  return limits;
}

}  // namespace

void law(bool holds, const char* what, const std::string& culprit) {
  if (holds) return;
  std::fprintf(stderr, "broken law: %s\n%s\n", what, culprit.c_str());
  std::abort();
}

bool is_convolution(const Signature& signature) {
  const auto dimensions = static_cast<int>(signature.from.size()) - 1;
  if (dimensions < 1 || dimensions > 3) return false;
  const Signature wanted = Signature::convolution(dimensions);
  return signature.from == wanted.from && signature.to == wanted.to;
}

Input::Input(const uint8_t* data, size_t size)
    : text(data, data + text_size(data, size)),
      bytes(data + std::min(size, text.size() + !text.empty()), size - std::min(size, text.size() + !text.empty())) {}

std::optional<Kernel> kernel_of(Input& input) {
  if (input.text.empty()) return input.bytes.ConsumeBool() ? std::optional(searched(input.bytes)) : built(input.bytes);
  try {
    return parse(input.text);
  } catch (const KernelError&) {
    return std::nullopt;
  }
}

Kernel searched(Bytes& bytes) {
  const Limits limits = limits_of(bytes);
  const Chances chances(limits);
  const Growing under{limits, chances, nullptr};
  Random random(bytes.ConsumeIntegral<uint64_t>());
  Growth growth(Builder(Signature::convolution(bytes.ConsumeIntegralInRange(1, 3))), under, random);
  law(growth.can_close(), "a kernel can be grown from nothing");
  Kernel kernel = growth.grow(bytes.ConsumeIntegralInRange(3, limits.max_primitives), "searched");
  for (int turn = bytes.ConsumeIntegralInRange(0, 3); turn > 0; --turn) {
    if (auto child = mutated(kernel, under, random)) kernel = std::move(*child);
  }
  return kernel;
}

Layer small_layer(Bytes& bytes, size_t dimensions) {
  constexpr int64_t kChannels[] = {8, 4, 16, 6, 1, 3};
  Layer layer;
  layer.c_in = bytes.PickValueInArray(kChannels);
  layer.c_out = bytes.PickValueInArray(kChannels);
  layer.spatial.clear();
  for (size_t i = 0; i < dimensions; ++i) layer.spatial.push_back(bytes.ConsumeIntegralInRange(1, 6));
  layer.stride = bytes.ConsumeIntegralInRange(1, 3);
  return layer;
}

Layer wild_layer(Bytes& bytes) {
  Layer layer{wild_number(bytes), wild_number(bytes), {}};
  for (int i = bytes.ConsumeIntegralInRange(0, 4); i > 0; --i) layer.spatial.push_back(wild_number(bytes));
  for (int64_t* number : {&layer.stride, &layer.window, &layer.groups, &layer.count}) {
    if (bytes.ConsumeBool()) *number = wild_number(bytes);
  }
  return layer;
}

Budget wild_budget(Bytes& bytes) {
  Budget budget;
  for (auto* range : {&budget.flops, &budget.params, &budget.memory, &budget.latency}) {
    if (bytes.ConsumeBool()) *range = Range{bytes.ConsumeBool() ? wild_fraction(bytes) : 0, wild_fraction(bytes)};
  }
  return budget;
}

void check_text(const Kernel& kernel) {
  const std::string printed = print(kernel);
  const Kernel again = parse(printed);
  law(print(again) == printed, "what is printed parses back to the same text", printed);
  const std::string identity = hash(kernel);
  law(hash(again) == identity, "what is printed parses back to the same hash", printed);
  const Kernel form = canonical(kernel).kernel;
  law(print(canonical(form).kernel) == print(form), "a canonical form is its own canonical form", printed);
  law(hash(form) == identity, "a canonical form has the hash of its kernel", printed);
  law(hash(parse(print(form))) == identity, "a canonical form parses back to the same hash", printed);
}

}  // namespace canvas::fuzz
