// Builds kernels and verifies them as they grow: every add() infers the shape or says why it is not legal. The parser, the sampler
// and the canonical form all make kernels through here, so that no Kernel exists that does not verify.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/base/error.h"
#include "canvas/ir/kernel.h"
#include "canvas/ir/primitive.h"

namespace canvas {

class Builder {
 public:
  // Faults in the signature (no channel axis, an axis twice) come from check_signature.
  explicit Builder(Signature signature, Variables variables = {});
  // Starts from the first `length` primitives of a kernel.
  Builder(const Kernel& kernel, int length);

  // Adds a node and returns its value's index, or says why it is not legal. An empty name is replaced by a fresh one.
  Result<int> add(const Primitive& primitive, Inputs inputs, Attributes attributes, const std::string& name = "");
  // Takes the last node back.
  void pop();

  // The kernel whose result is the last value. Demands that this value has the signature's axes, that every value is used, and
  // that the equations between sizes hold; replaces every variable that they force and names the last value "result".
  Result<Kernel> finish(const std::string& name) const&;
  Result<Kernel> finish(const std::string& name) &&;  // leaves nothing behind

  const std::vector<Node>& nodes() const& { return nodes_; }
  std::vector<Node> nodes() && { return std::move(nodes_); }
  const Axes& axes(int value) const { return nodes_[static_cast<size_t>(value)].axes; }
  const Signature& signature() const { return signature_; }
  Variables& variables() { return variables_; }
  const Variables& variables() const { return variables_; }
  // The values that nothing uses yet, in order.
  std::vector<int> loose() const;

 private:
  Signature signature_;
  Variables variables_;
  std::vector<Node> nodes_;
  Equations equations_;
  Few<size_t, 16> marks_;  // of the equations before each node but the input
};

// What is wrong with a signature, or nothing.
std::optional<Fault> check_signature(const Signature& signature, const Variables& variables);

}  // namespace canvas
