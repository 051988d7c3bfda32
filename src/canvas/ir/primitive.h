// A primitive: everything Canvas knows of one operation, in one struct. Each primitive's file in prims/ fills one of these;
// builder, printer, interpreter, cost, sampler and lowering read it. Nothing else in the core names a primitive.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "canvas/base/error.h"
#include "canvas/base/random.h"
#include "canvas/base/tensor.h"
#include "canvas/ir/core.h"
#include "canvas/ir/kernel.h"
#include "canvas/size/equations.h"

namespace canvas {

// A numbered rule that a use of the primitive must keep: {"unfold C2", "the window is odd"}.
struct Constraint {
  const char* label;
  const char* text;
};

// Which parts of Attributes a text may or must give.
enum Grammar : unsigned {
  kNothing = 0,
  kFrom = 1,       // a list of axes: [h, w]
  kArrow = 2,      // [C] -> [g, c = C/g]
  kPer = 4,        // an optional `per: [g]`, under the primitive's own key
  kItems = 8,      // `H: 3, W: 3`
  kMade = 16,      // items may name the axis that they make: `H: h = 3`
  kOffsets = 32,   // items are signed offsets unless `per` is given
  kDilation = 64,  // an optional `dilation: 2`
  kModes = 128,    // the list stands behind a mode's name: `mean: [h, w]`
  kIndices = 256,  // items are positions counted from 0: `g: 1`
  kNew = 512,      // a list of new axes, whose sizes follow: [g]
};

enum Property : unsigned {
  kLinear = 1,       // in each operand
  kPointwise = 2,    // element by element
  kCommutative = 4,  // operands may change places
  kView = 8,         // moves elements, computes nothing
  kBijective = 16,   // a view that keeps every element exactly once
  kIdempotent = 32,  // f(f(x)) = f(x); of two operands: f(x, x) = x
  kInvolution = 64,  // f(f(x)) = x
  kOrdered = 128,    // the order of its lists carries meaning
  kKeepsZero = 256,  // f(0) = 0; of two operands: f(0, 0) = 0
  kPads = 512,       // a view that fills up with zeros
  kNotNegative =
      1024,            // no element of the result is negative; an idempotent one then leaves alone what is not negative
  kKeepsSign = 2048,   // the same where no element of an operand is
  kKeepsAxes = 32768,  // the result has its only operand's axes
  kAssociative = 4096,  // f(f(x, y), z) = f(x, f(y, z))
  kScales = 8192,       // linear in each operand by itself: f(c x, y) = c f(x, y)
  kNests = 16384,       // over some axes and then over others is over all of them
};

inline constexpr std::pair<Property, const char*> kPropertyNames[] = {
    {kLinear, "linear"},
    {kPointwise, "pointwise"},
    {kCommutative, "commutative"},
    {kView, "view"},
    {kBijective, "bijective"},
    {kIdempotent, "idempotent"},
    {kInvolution, "involution"},
    {kOrdered, "ordered lists"},
    {kKeepsZero, "keeps zero"},
    {kPads, "pads with zeros"},
    {kNotNegative, "never negative"},
    {kKeepsSign, "keeps what is not negative"},
    {kKeepsAxes, "keeps its axes"},
    {kAssociative, "associative"},
    {kScales, "linear in each operand"},
    {kNests, "nests"},
};

// Where the normal order puts a step among those that it commutes with: smaller is nearer to the input.
// What contracts axes and makes none comes right behind what drops elements.
enum Order { kDropsFirst, kReduces, kJoins, kMaps, kMixes, kCuts, kMoves, kCopiesLast };

enum class Initial { kNone, kNormal, kOne, kZero };

// Mean and mean square of a value's elements at initialisation, for a standard normal input.
struct Moments {
  double mean = 0;
  double square = 1;
  double low = -HUGE_VAL, high = HUGE_VAL;  // between which all elements lie
  double answers = 1;  // of a function of one value: at which share of its arguments it still has a slope
  double variance() const { return square - mean * mean; }
};

// What shape inference may do: read operands, normalise the attributes, demand equal sizes.
struct Inference {
  OperandAxes operands;
  Attributes& attributes;
  const Variables& variables;
  Equations& equations;

  const Axes& operand(size_t index = 0) const { return *operands[index]; }
};

// One evaluation by the interpreter, for one image: operand tensors have their value's axes in order.
struct Evaluation {
  const Node& node;
  OperandAxes operand_axes;
  std::vector<const Tensor*> operands;
  const Tensor* parameter;  // axes as parameter() gives; null without one
  const Values& values;
  int64_t& flops;                        // counted as the loops run
  std::vector<int64_t> extents() const;  // of the result
};

// What a proposal may build on.
struct Proposal {
  OperandAxes operands;
  const Signature& signature;
  const std::vector<Size>& channel_sizes;  // sizes that new channel axes may have
  const std::vector<Size>& group_sizes;    // sizes that a split may cut off
  const Axes& partners;                    // axes of other values that could be joined if this one had them too
  Name fresh_prefix;                       // starts no axis name in use

  const Axes& operand(size_t index = 0) const { return *operands[index]; }
  Name fresh(int number = 0) const {
    return number ? fresh_prefix.then(static_cast<char>('a' + number)) : fresh_prefix;
  }
};

struct Primitive {
  const char* name;
  const char* summary;  // one line
  const char* formula;  // what an element of the result is
  int arity = 1;
  int most = 0;  // operands at most, where a text may give more than `arity`
  unsigned grammar = kNothing;
  unsigned properties = 0;
  unsigned linear_modes = 0;  // bit m: linear in mode m, where that is not true of all modes
  // Bit m: in mode m it takes away what is added, or the factor that is multiplied, along other axes than those of its list.
  unsigned shift_free_modes = 0;
  unsigned scale_free_modes = 0;
  Order order = kMixes;
  const char* per_key = "per";
  std::vector<const char*> modes = {};
  std::vector<Constraint> constraints = {};
  const char* example;   // a call on x[C, H, W], u = unfold(x, H: 3, W: 3) or y = split(x, [C] -> [g, c = C/g])
  double weight = 0.05;  // how often the sampler draws it, unless told otherwise
  Initial initial = Initial::kNone;

  // The result's axes; normalises `attributes`. A Fault carries a label of `constraints`.
  Result<Axes> (*infer)(Inference& inference) = nullptr;
  // Null, or why the sizes that these values give do not suit: `required` and `got` of a Fault.
  std::optional<Fault> (*misfit)(const Node& node, const OperandAxes& operands, const Values& values) = nullptr;
  // The reference meaning.
  Tensor (*evaluate)(const Evaluation& evaluation) = nullptr;
  // Operations for one image, a monomial; 2 x multiply-adds for contractions, one per element and step otherwise; null for none.
  Count (*flops)(const OperandAxes& operands, const Node& node) = nullptr;
  // Axes of the parameter; null for primitives without one.
  Axes (*parameter)(const Axes& operand, const Attributes& attributes) = nullptr;
  // Moments of the result.
  Moments (*moments)(const std::vector<Moments>& operands, const OperandAxes& axes, const Node& node,
                     const Values& values) = nullptr;
  // Legal attributes on these operands, worth trying; every one passes infer().
  void (*propose)(const Proposal& proposal, Random& random, std::vector<Attributes>& found) = nullptr;
  // Appends this node's core forms; returns the index of the result.
  int (*lower)(const Node& node, const OperandAxes& operands, const std::vector<int>& inputs,
               CoreProgram& program) = nullptr;
  const char* torch = nullptr;  // pointwise ones: the function in PyTorch, {0} and {1} standing for the operands

  bool is(Property property) const { return (properties & property) != 0; }
  bool takes(Grammar part) const { return (grammar & part) != 0; }
  // Operands at most.
  int widest() const { return most > arity ? most : arity; }
  bool weighted() const { return parameter != nullptr; }
};

}  // namespace canvas
