// A program of core forms while rules rewrite it, and the rules. Made by simplify(); one source file per family of rules.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "canvas/ir/core.h"

namespace canvas {

using Names = std::set<std::string>;

// The axes that an index map reads along or makes.
Names touched(const CoreOp& index);
// Those that it makes.
Names made_by(const CoreOp& index);
bool has_windows(const CoreOp& op);
bool meets(const AxisNames& list, const Names& names);
bool meets(const Names& list, const Names& names);
bool meets(const Axes& axes, const Names& names);

class Rewriter {
 public:
  using Part = uint64_t;  // a set of factors, as bits

  // `values` are the sizes, where they are known.
  Rewriter(const CoreProgram& program, const Values* values)
      : ops_(program.ops), result_(static_cast<int>(ops_.size()) - 1), values_(values) {
    count_uses();
  }

  int size() const { return static_cast<int>(ops_.size()); }
  bool live(int id) const { return id == result_ || uses_[static_cast<size_t>(id)] > 0; }
  CoreProgram topological() const;
  void count_uses();

  // Each rule looks at one operation and says whether it changed it. rules() tells what they do.
  // rules_index.cpp
  bool drop_identity(int id);
  bool join_indices(int id);
  bool stride_early(int id);
  // rules_window.cpp
  bool view_before_window(int id);
  bool view_before_map(int id);
  bool view_after_map(int id);
  bool map_before_window(int id);
  bool maps_of_windows(int id);
  bool contract_before_window(int id);
  bool scale_before_window(int id);
  bool unmerge_weight(int id);
  // rules_sum.cpp
  bool product_sum(int id);
  bool reduce_in_parts(int id);
  bool contract_terms(int id);
  bool contract_factor(int id);
  bool reduce_terms(int id);
  bool reduce_factor(int id);
  // rules_order.cpp
  bool contract_order(int id);

 private:
  CoreOp& op(int id) { return ops_[static_cast<size_t>(id)]; }
  const CoreOp& op(int id) const { return ops_[static_cast<size_t>(id)]; }
  CoreOp input(int id, size_t which = 0) const { return op(op(id).inputs[which]); }  // a copy: ops_ grows
  bool used_once(int id) const { return uses_[static_cast<size_t>(id)] == 1; }
  int add(CoreOp made) {
    ops_.push_back(std::move(made));
    uses_.push_back(0);
    return size() - 1;
  }
  bool is_one(const Size& size) const;
  bool puts_back(const CoreOp& view, const CoreOp& inner) const;
  bool contract_alike(int id);
  bool merges_alike(const CoreOp& view, const CoreOp& other) const;
  // Whoever read the one value reads the other.
  bool pass(int id, int to);
  // The window axes that a value has from index maps, through pointwise maps.
  Names windows_of(int id) const;
  // Whether it is a window, or a sum or difference (through others) of one.
  bool sums_window(int id) const;
  // Whether it depends on parameters alone.
  bool constant(int id) const;
  double elements(const Axes& axes) const;
  double pair_cost(const Axes& left, const Axes& right, const Axes& made, bool parameters) const;
  bool factors_of(int id, std::vector<int>& factors, double& cost) const;
  Axes left_by(Part part, const std::vector<int>& factors, const Axes& result) const;
  // Replaces an operation over a window map by a window map over that operation, which has axes `axes` and inputs `inputs`.
  void put_before(int id, const CoreOp& window, Axes axes, std::vector<int> inputs);
  // The contraction of `operand` with `weights` over those of `from` that it has; the weights are summed over the others.
  int contracted(int operand, int weights, const Names& from);
  // The value reduced over `from`; itself where that is empty.
  int reduced(int id, const AxisNames& from, const std::string& function);

  std::vector<CoreOp> ops_;
  int result_;
  std::vector<int> uses_;
  const Values* values_;
};

}  // namespace canvas
