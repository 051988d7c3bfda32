#include "canvas/native/chains.h"

#include <algorithm>
#include <string>

#include "canvas/base/error.h"

namespace canvas::native {

namespace {

constexpr int kDeep = 256;  // values behind each other
constexpr int kMost = 4 * kDeep;

}  // namespace

std::vector<int> beginnings_of_chains(const std::vector<CoreOp>& ops, const std::vector<int>& uses) {
  std::vector<bool> factor(ops.size(), false);  // of a sum
  std::vector<int> depth(ops.size(), 0), found;
  for (const CoreOp& op : ops) {
    if (op.kind != CoreKind::kContract && op.kind != CoreKind::kReduce) continue;
    for (int in : op.inputs) factor[static_cast<size_t>(in)] = true;
  }
  for (size_t id = 0; id + 1 < ops.size(); ++id) {
    if (uses[id] == 0) continue;
    for (int in : ops[id].inputs) depth[id] = std::max(depth[id], depth[static_cast<size_t>(in)] + 1);
    if (depth[id] > kMost)
      throw ArgumentError("more than " + std::to_string(kMost) + " operations in a row, each used by the next alone");
    if (depth[id] < kDeep || (uses[id] == 1 && !factor[id])) continue;
    found.push_back(static_cast<int>(id));
    depth[id] = 0;
  }
  return found;
}

}  // namespace canvas::native
