// Turns simplified core forms into the statements of a PyTorch module's forward(). A value is written when something first needs it, so
// that whatever was fused into its consumer (windows, strides, views) never appears. Called by emit_torch(); one source file per
// family of core forms.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "canvas/emit/layout.h"
#include "canvas/ir/core.h"
#include "canvas/lower/rules.h"

namespace canvas {

// Of parameters and buffers: module.to(memory_format=torch.channels_last) refuses five.
constexpr size_t kMostStoredDims = 4;

// A written value: a Python expression (mostly a variable), how it lies in memory, and its axes.
struct TorchValue {
  std::string code;
  Layout layout;
  Axes axes;
};

// What must be a multiple of what at run time for a size to be whole: "H * W" and "7" for H*W/7; nothing where any extents do.
struct Divisor {
  std::string product;
  std::string divisor;
};
// `text` with {0}, {1} replaced by the operands.
std::string filled(std::string text, const std::vector<std::string>& operands);
// How often {operand} stands in the text.
int mentions(const std::string& text, size_t operand);
// "i", "j", "k", "i3": the variable of a loop.
std::string loop_name(size_t number);

std::optional<Divisor> runtime_divisor(const Size& size, const Values& values);

// The item that reads along the axis, or null.
const IndexItem* item_along(const std::vector<IndexItem>& items, const std::string& axis);
// `layout` with every axis that the items read along in a dimension of its own.
Layout apart_along(const Layout& layout, const std::vector<IndexItem>& items);

class TorchWriter {
 public:
  // `lowering` says which of the emitters' rules are applied, and counts them; it outlives the writer.
  TorchWriter(CoreProgram program, const Values& values, Lowering& lowering);

  // The value of an operation; writes the statements that it needs, once.
  const TorchValue& value(int op);
  // `value` brought into another layout.
  TorchValue arranged(const TorchValue& value, const Layout& layout);

  const CoreProgram& program() const { return program_; }
  // Whether a statement counts dimensions, so that it holds for one batch dimension alone; others hold for any number of them.
  bool one_batch() const { return one_batch_; }
  const std::vector<std::string>& statements() const { return statements_; }
  // Name of a parameter -> the dimensions that it is stored in.
  const std::map<std::string, std::vector<int64_t>>& stored() const { return stored_; }
  // Lines for the constructor that make constant buffers.
  const std::vector<std::string>& buffers() const { return buffers_; }

 private:
  // torch_writer.cpp
  const CoreOp& op(int id) const { return program_.ops[static_cast<size_t>(id)]; }
  TorchValue write(int id);
  TorchValue input(const CoreOp& op);
  TorchValue view(const CoreOp& op);
  // Adds "name = code" (the name made unique) and returns the name; the same code is written once.
  std::string define(const std::string& name, const std::string& code);
  // Defines the value of `op` under the operation's name.
  TorchValue assign(const CoreOp& op, const std::string& code, Layout layout);
  std::string fresh(const std::string& wanted);
  int64_t extent(const Axes& axes, const std::string& axis) const;
  int64_t extent(const Axes& axes, const Dim& dim) const;
  bool fixed(const Axes& axes, const std::string& axis) const;
  Extent extent_code(const Axes& axes, const std::string& axis) const;
  // A parameter in the layout that its user wants: stored so, where order and number of dimensions allow and no other user came
  // first. What is computed of parameters alone is brought into the layout.
  TorchValue weight(int id, const Layout& layout);
  // Whether an operation depends on parameters alone.
  bool constant(int id) const;
  // Whether the rule may be applied; if so it is counted.
  bool rule(const char* name);

  // torch_map.cpp
  TorchValue map(const CoreOp& op);
  // A layout over `axes` in which the operands' layouts broadcast; the first operand with the most axes leads.
  Layout common_layout(const Axes& axes, const std::vector<int>& operands);
  // What the operand becomes in that layout: dimensions of extent 1 where it lacks axes.
  Layout aligned(int operand, const Layout& layout) const;

  // torch_contract.cpp
  TorchValue contract(const CoreOp& op);
  TorchValue einsum(const CoreOp& op);
  // An operand of an einsum: how it lies, and its code in a layout that takes some of that apart.
  struct Operand {
    Layout layout;
    std::function<std::string(const Layout&)> code;
  };
  TorchValue einsum(const Axes& axes, const std::vector<Operand>& operands);
  std::optional<TorchValue> linear(const CoreOp& op, int operand, int weights);
  // torch_convolution.cpp
  std::optional<TorchValue> convolution(const CoreOp& op, int operand, int weights);
  std::optional<TorchValue> sample_convolution(const CoreOp& op, int operand, int weights);
  // One tap's value with its part of the weights: "F.conv2d(x, w[i, j])".
  struct TapTree;
  std::optional<TorchValue> tap_convolution(const CoreOp& op, const TorchValue& base, int weights, const TapTree& taps);

  // torch_taps.cpp
  // What one tap of a value is computed of: windows whose axes the consumer sums, and values that are no such windows.
  struct TapTree {
    std::vector<int> leaves, others;
    bool functions = false;  // something is computed of a window
    Dim windows;
    std::map<std::string, std::string> names;  // of the loops' variables, by window axis
    std::string loops;
    int64_t count = 1;  // taps
    Layout layout;      // of one tap
  };
  std::optional<TorchValue> tap_functions(const CoreOp& op, bool functions_only);
  std::optional<TorchValue> tap_matrices(const CoreOp& op, std::vector<TapTree>& trees, const std::vector<Axes>& axes,
                                         const TapTree& all);
  bool tap_leaves(int id, const CoreOp& consumer, TapTree& tree);
  bool grows(const Axes& result, const std::vector<Axes>& operands) const;
  void tap_names(TapTree& tree) const;
  void tap_layout(const CoreOp& consumer, const Axes& axes, TapTree& tree);
  std::string tap_code(int id, TapTree& tree);
  std::string tap_part(int id, TapTree& tree);
  TorchValue tap_total(const CoreOp& core, std::string code, const TapTree& tree);

  // torch_index.cpp
  TorchValue index(const CoreOp& op);
  TorchValue neighbourhood(const CoreOp& op);

  // torch_window.cpp
  // Text that reads one tap after another: "[:, :, i:i + H, j:j + W]", " for i in range(3) for j in range(3)", {"i", "j"}.
  struct TapLoop {
    std::string slices;
    std::string loops;
    std::vector<std::string> names;
  };
  // `axes` and `layout` are of the value that the items read, padded.
  TapLoop tap_loop(const Axes& axes, const Layout& layout, const std::vector<IndexItem>& items) const;
  // "[:, :, i:i + H]": the part that a tap reads; `names` gives each made axis its loop's variable.
  std::string tap_slice(const Axes& axes, const Layout& layout, const std::vector<IndexItem>& items,
                        const std::map<std::string, std::string>& names) const;
  // F.pad(code, ...) so that every window and offset of the items stays inside; `code` lies in `layout`.
  std::string padded(const std::string& code, const Layout& layout, const std::vector<IndexItem>& items) const;
  std::optional<TorchValue> taps(const CoreOp& op, int window, int other);
  TorchValue tap_products(const CoreOp& op, const TorchValue& wide, const std::string& factor,
                          const std::vector<IndexItem>& items, const Dim& indexed);

  // torch_reduce.cpp
  TorchValue reduce(const CoreOp& op);
  TorchValue softmax(const CoreOp& op);
  std::optional<TorchValue> pool(const CoreOp& op);

  // torch_slice.cpp
  TorchValue pick(const CoreOp& op);
  TorchValue repeated(const CoreOp& op, const TorchValue& base);
  TorchValue put(const CoreOp& op);
  TorchValue stacked(const CoreOp& op);
  // Where an axis lies so that one of its positions can be sliced: `layout` with the axis in front of dimension `dim`, and how many
  // elements of that dimension (of the axes `rest`) one position takes.
  struct Slot {
    Layout layout;
    size_t dim;
    Dim rest;
    int64_t unit;
  };
  Slot slot(const TorchValue& base, const std::string& axis) const;

  int64_t stride(const IndexItem& item) const;

  CoreProgram program_;
  Values values_;
  Lowering& lowering_;
  std::vector<int> uses_;
  std::map<int, TorchValue> written_;
  std::vector<std::string> statements_;
  std::vector<std::string> buffers_;
  bool one_batch_ = false;
  std::set<std::string> names_;
  std::map<std::string, std::string> computed_;  // an expression -> the variable that holds it
  std::map<std::string, std::vector<int64_t>> stored_;
  std::map<std::string, Layout> stored_layout_;
};

}  // namespace canvas
