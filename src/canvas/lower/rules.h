// The table of lowering rules: what each turns into what, when, and a kernel on which it fires. simplify() walks the rules of core forms,
// emitters ask for theirs by name; docs/lowering.md and the tests walk the same table.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace canvas {

class Rewriter;

struct Rule {
  const char* name;
  const char* before;
  const char* after;
  const char* condition;
  const char* example;  // the body of a kernel x[C, H, W] -> [K, H/s, W/s] on which it fires when it alone is applied
  bool (Rewriter::*apply)(int id);  // null for a rule of the emitters
};

const std::vector<Rule>& rules();

// Which rules are applied, and how often each was.
class Lowering {
 public:
  Lowering() : enabled_(~uint64_t{0}) {}
  // Only those named; none for direct emission, one operation after the other. Throws ArgumentError for a name that no rule has.
  explicit Lowering(const std::vector<std::string>& names);

  bool has(const std::string& name) const;
  bool has(size_t rule) const { return (enabled_ >> rule & 1) != 0; }
  void fired(const std::string& name) { ++fired_[name]; }
  const std::map<std::string, int>& counts() const { return fired_; }

 private:
  uint64_t enabled_ = 0;
  std::map<std::string, int> fired_;
};

}  // namespace canvas
