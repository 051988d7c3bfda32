// What the fuzz targets share: kernels, layers and sizes made out of a fuzzer's bytes, and laws that stop the run when broken.
// Everything is drawn from the table of primitives, so that a new one is fuzzed without a change here.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <optional>
#include <string>

#include "canvas/ir/kernel.h"
#include "canvas/solve/network.h"

namespace canvas::fuzz {

using Bytes = FuzzedDataProvider;

// Aborts unless `holds`; prints the law and what broke it.
void law(bool holds, const char* what, const std::string& culprit = "");

// An input is a kernel text up to its first NUL (or its end) and behind it the bytes that choices are drawn from; one that does not
// begin with the word "kernel" is bytes alone.
struct Input {
  Input(const uint8_t* data, size_t size);
  std::string text;
  Bytes bytes;
};

// The kernel of an input: its text parsed, or one searched or built from its bytes. Nothing where they make no legal kernel.
std::optional<Kernel> kernel_of(Input& input);

// Whether the signature is a convolution's: the search mutates no others.
bool is_convolution(const Signature& signature);

// What the sampler grows from nothing and then mutates, under limits drawn from the bytes.
Kernel searched(Bytes& bytes);

// What Builder makes of primitives and attributes drawn from the bytes, most of them legal; checks every refusal.
std::optional<Kernel> built(Bytes& bytes);

// A small legal layer for kernels of that many spatial extents, or one of any numbers.
Layer small_layer(Bytes& bytes, size_t dimensions);
Layer wild_layer(Bytes& bytes);

// Limits for all layers together, of any numbers.
Budget wild_budget(Bytes& bytes);

// What is printed parses back to the same kernel, and the canonical form is its own canonical form.
void check_text(const Kernel& kernel);

}  // namespace canvas::fuzz
