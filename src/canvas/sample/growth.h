// Grows a kernel primitive by primitive so that a legal completion always exists: an action is taken only if the steps that
// would then close the kernel still fit. So every try ends in a kernel that verifies.
#pragma once

#include <array>
#include <initializer_list>
#include <vector>

#include "canvas/base/random.h"
#include "canvas/ir/builder.h"
#include "canvas/sample/closing.h"
#include "canvas/sample/idioms.h"
#include "canvas/sample/limits.h"
#include "canvas/sample/spending.h"

namespace canvas {

// How often growth draws each primitive under given limits.
class Chances {
 public:
  explicit Chances(const Limits& limits);
  const Primitive& any(Random& random) const { return drawn(all_, random); }
  // One that looks around; where there is none, any.
  const Primitive& window(Random& random) const { return drawn(windows() ? around_ : all_, random); }
  bool windows() const { return around_.sums.back() > 0; }
  const Primitive& activation(Random& random) const { return drawn(activations_, random); }
  // An idiom in a share of draws, else null.
  const Idiom* idiom(Random& random) const;

 private:
  // Sums of the weights up to each primitive, and the first one that a draw in each part of their range may give.
  struct Sums {
    static constexpr size_t kParts = 64;
    std::vector<double> sums = {};
    std::array<uint8_t, kParts> first = {};
    void find_first();
  };
  static const Primitive& drawn(const Sums& weights, Random& random);
  Sums all_, around_, activations_;
  double idiom_share_;
  std::vector<const Idiom*> idioms_;
  std::vector<double> idiom_weights_;
};

// What kernels are grown under.
struct Growing {
  const Limits& limits;
  const Chances& chances;
  Spending* spending;  // steps are left out after which the budget cannot hold; null: there is no budget
};

class Growth {
 public:
  // Continues `builder`, which may already hold a part of a kernel. All but that must outlive the growth.
  Growth(Builder builder, const Growing& under, Random& random);

  // Whether at most `limits.max_primitives` primitives can close what is there.
  bool can_close() const;

  // Adds primitives until the kernel is complete with about `length` of them; requires can_close(). Nearly always it is plausible.
  Kernel grow(int length, const std::string& name);

  // Takes the last `steps` back, as far as they were grown here, so that grow() may end the kernel in another way.
  void retreat(int steps);

 private:
  // What it costs to make the result's channels of a value.
  struct Mixing {
    bool known = false, fits = true;
    Few<Spending::Step, 2> steps = {};
  };
  // What growth knows of a node and those before it.
  struct Known {
    unsigned variables = 0;  // dynamic variables in use
    int weighted = 0;
    size_t partners = 0;
    std::array<Mixing, 2> mixing = {};  // of the node's value: at once, and windows first
  };
  int count() const { return static_cast<int>(builder_.nodes().size()); }
  std::string next_name() const;
  // Adds a node, and takes the last one back, whether it was learned of or not.
  bool put(const Primitive& primitive, const Inputs& operands, Attributes attributes);
  void take_back();
  void outline(size_t place);
  // Notes what is new with the nodes after those known.
  void learn();
  // Takes the last few steps back for another way; false where there is none.
  bool rewind();

  bool try_action(int remaining);
  bool try_unary(const Primitive& primitive, int remaining);
  bool try_join(const Primitive& primitive, int remaining);
  // Several steps at once, or none.
  bool try_idiom(const Idiom& idiom, int remaining);
  bool put_step(const IdiomStep& step, const Inputs& values);
  bool is_wanted(const Attributes& attributes, Wanted wanted, int operand) const;
  Attributes like(int value, int operand);
  // One of those found, which it takes out.
  Attributes taken() { return std::move(found_[random_.below(found_.size())]); }
  // Whether a step that is still to be made would be superfluous, or what is before it.
  bool needless(const Node& next);
  bool keep_if_closable(int remaining);
  // Whether the room is too small for a step that leaves a value's axes alone, or only adds some; with attributes, that makes some of others
  // or takes some away. What else there is has to be made to be judged.
  bool hopeless(const Primitive& primitive, int value, int remaining, const Attributes* attributes = nullptr) const;
  const Mixing& mixing_cost(int value, bool narrow);
  bool affordable(int slack);
  // Whether the complete kernel keeps the budget.
  bool fits();
  unsigned missing() const;
  // Whether closing at once would make a step superfluous.
  bool blocked();

  // Adds a primitive on a way that closes the kernel within `room` of them.
  void close_step(int room);
  void close_shortest(const ClosingStep& step);
  void add_closing(const Primitive& primitive, Inputs operands, const Attributes& attributes);
  void add_first_proposal(const Primitive& primitive, Inputs operands);
  Attributes mixing(int value) const;
  bool mix_windows(int value);
  void mix(int value);
  void fold_mean(int value, AxisNames axes);
  void join(int a, int b);
  // What the primitive proposes on these operands, into found_.
  void propose(const Primitive& primitive, std::initializer_list<int> operands);
  void propose(const Primitive& primitive, const int* first, const int* last);
  void offer_sizes();

  Builder builder_;
  Outline outline_;
  const Limits& limits_;
  const Chances& chances_;
  Random& random_;
  Spending* spending_;
  int base_;  // nodes that were there from the beginning
  int rewinds_ = 0;
  unsigned wanted_ = 0;         // positions along which something must look around
  bool urgent_ = false;         // a step that looks around has to come now
  bool tight_ = false;          // every step must bring the end nearer
  bool searches_ = false;       // for a way shorter than the bound's
  std::vector<Known> known_;    // by node
  std::vector<unsigned> seen_;  // by node: along which of the input's axes it looks around
  std::vector<Spending::Step> spent_, ahead_;
  Count twice_places_;            // multiply-adds of a weight
  Spending::Step joint_;          // of two values of the result's axes
  std::vector<int> partners_of_;  // values that a step may join
  std::vector<Attributes> found_;
  // What proposals refer to.
  std::vector<Size> channel_sizes_, group_sizes_;
  Axes partners_;
  Proposal proposal_;
  int fresh_of_ = -1;            // nodes for which proposal_ has a fresh name
  unsigned offered_with_ = ~0u;  // variables in use for which the sizes are
};

}  // namespace canvas
