#include "canvas/lower/rules.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"

namespace canvas {

// In `before` and `after`, x and y are values, p is a parameter, u a window, f and g are functions of elements.
const std::vector<Rule>& rules() {
  static const std::vector<Rule> table = {
      {"drop_identity", "index(x)", "x",
       "every element stays where it is: strides of 1, a stride of what was repeated as often, "
       "a merge of what was split, a split of what was merged",
       "  v = merge(split(subsample(x, H: s, W: s), [C] -> [g = 4, c = C/4]), [g, c] -> [C])\n"
       "  return fc(v, [C] -> [K])",
       &Rewriter::drop_identity},
      {"join_indices", "index(index(x))", "index(x)", "along different axes, or the outer one only strides",
       "  return fc(unfold(unfold(subsample(x, H: s, W: s), H: 3), W: 3), [C, h, w] -> [K])", &Rewriter::join_indices},
      {"stride_early", "stride(f(x, y))", "f(stride(x), stride(y))",
       "f is a function, contraction, reduction, view, softmax or slice that leaves the strided axes alone; its result "
       "is "
       "not used elsewhere",
       "  return subsample(relu(fc(x, [C] -> [K])), H: s, W: s)", &Rewriter::stride_early},
      {"view_before_window", "view(unfold(x))", "unfold(view(x))", "the view's axes are not the window's",
       "  u = split(unfold(subsample(x, H: s, W: s), H: 3, W: 3), [C] -> [g = 4, c = C/4])\n"
       "  return merge(fc(u, [c, h, w] -> [k = K/4], per: [g]), [g, k] -> [K])",
       &Rewriter::view_before_window},
      {"view_before_map", "view(f(u, y))", "f(view(u), view(y))",
       "the view's axes are not a window's, and each operand has all of those viewed or none",
       "  v = subsample(x, H: s, W: s)\n"
       "  u = split(add(unfold(v, H: 3, W: 3), v), [C] -> [g = 4, c = C/4])\n"
       "  return merge(fc(u, [c, h, w] -> [k = K/4], per: [g]), [g, k] -> [K])",
       &Rewriter::view_before_map},
      {"view_after_map", "f(merge(u), y)", "merge(f(u, y))",
       "y has neither the merged axis nor its parts, or is the same merge",
       "  v = subsample(x, H: s, W: s)\n"
       "  u = add(merge(unfold(v, H: 3, W: 3), [h, w] -> [t = 9]), v)\n"
       "  return fc(u, [C, t] -> [K])",
       &Rewriter::view_after_map},
      {"map_before_window", "f(unfold(x))", "unfold(f(x))", "f(0) = 0",
       "  return fc(relu(unfold(subsample(x, H: s, W: s), H: 3, W: 3)), [C, h, w] -> [K])",
       &Rewriter::map_before_window},
      {"maps_of_windows", "f(unfold(x), unfold(y))", "unfold(f(x, y))",
       "both windows have the same shape; what strides or shifts one of them alone stays before f",
       "  v = subsample(x, H: s, W: s)\n"
       "  u = add(unfold(v, H: 3, W: 3), unfold(sigmoid(v), H: 3, W: 3))\n"
       "  return fc(u, [C, h, w] -> [K])",
       &Rewriter::maps_of_windows},
      {"scale_before_window", "unfold(x) * y", "unfold(x * y)",
       "y varies neither along the window nor the axis that it slides over",
       "  u = scale(unfold(subsample(x, H: s, W: s), H: 3, W: 3), [C])\n"
       "  return fc(u, [C, h, w] -> [K])",
       &Rewriter::scale_before_window},
      {"unmerge_weight", "contract(merge(u), p)", "contract(u, split(p))",
       "a window's axis is merged; the parameter is stored as it was",
       "  m = merge(unfold(subsample(x, H: s, W: s), H: 3, W: 3), [C, h, w] -> [q = C*9])\n"
       "  return fc(m, [q] -> [K])",
       &Rewriter::unmerge_weight},
      {"contract_before_window", "contract(unfold(x), y)", "unfold(contract(x, y))",
       "for the windows whose axes are not contracted and of which y has neither them nor what they slide over; "
       "strides have windows; other windows stay before the contraction; or y has the same windows",
       "  u = fc(unfold(x, H: 3, W: 3), [C] -> [m = C])\n"
       "  return subsample(fc(u, [m, h, w] -> [K]), H: s, W: s)",
       &Rewriter::contract_before_window},
      {"reduce_factor", "sum(u * y)", "sum(u) * y", "y does not vary along what is summed (or averaged); y may divide",
       "  v = subsample(x, H: s, W: s)\n"
       "  y = fold(mul(unfold(v, H: 3, W: 3), sigmoid(v)), sum: [h, w])\n"
       "  return fc(y, [C] -> [K])",
       &Rewriter::reduce_factor},
      {"reduce_terms", "mean(u + y)", "mean(u) + mean(y)",
       "also sums where both terms have the axes, and max(u + y) = max(u) + y where y does not vary along them",
       "  v = subsample(x, H: s, W: s)\n"
       "  y = fold(add(unfold(v, H: 3, W: 3), sigmoid(v)), mean: [h, w])\n"
       "  return fc(y, [C] -> [K])",
       &Rewriter::reduce_terms},
      {"product_sum", "sum(u * y)", "contract(u, y)", "over window axes alone",
       "  p = subsample(x, H: s, W: s)\n"
       "  z = fc(p, [C] -> [h = 3, w = 3])\n"
       "  y = fold(mul(unfold(p, H: 3, W: 3), z), sum: [h, w])\n"
       "  return fc(y, [C] -> [K])",
       &Rewriter::product_sum},
      {"reduce_in_parts", "reduce(u) over windows and others", "reduce(unfold(reduce(x) over others)) over windows",
       "the window slides over none of them",
       "  y = fold(unfold(subsample(x, H: s, W: s), H: 3, W: 3), mean: [C, h, w])\n"
       "  return fc(mul(y, subsample(x, H: s, W: s)), [C] -> [K])",
       &Rewriter::reduce_in_parts},
      {"contract_factor", "contract(u * y, p)", "contract(u, p) * y",
       "y does not vary along what is contracted; y may divide",
       "  v = subsample(x, H: s, W: s)\n"
       "  y = fold(v, mean: [C])\n"
       "  return fc(mul(unfold(v, H: 3, W: 3), y), [C, h, w] -> [K])",
       &Rewriter::contract_factor},
      {"contract_terms", "contract(u + y, p)", "contract(u, p) + contract(y, sum(p))",
       "p is summed over the contracted axes that y lacks; the sum is not used elsewhere",
       "  v = subsample(x, H: s, W: s)\n"
       "  return fc(add(unfold(v, H: 3, W: 3), v), [C, h, w] -> [K])",
       &Rewriter::contract_terms},
      {"contract_order", "contract(contract(x, y), z)", "contract(x, contract(y, z))",
       "that is cheaper: nested contractions without windows, of up to eight factors in the best of all orders, of "
       "more "
       "by the cheapest pair first; products of parameters alone count little, since they are made once for a batch",
       "  a = fc(subsample(x, H: s, W: s), [C] -> [m = 8*C])\n"
       "  return fc(a, [m] -> [K])",
       &Rewriter::contract_order},
      {"convolution", "contract(unfold(x), p)", "convolution(x, p)",
       "the window is contracted and its axis stays; dense, grouped, depthwise, dilated, strided, one to three axes",
       "  return fc(unfold(subsample(x, H: s, W: s), H: 3, W: 3), [C, h, w] -> [K])", nullptr},
      {"sample_convolution", "contract(unfold(x), y)", "a convolution with weights of each image's own",
       "y does not vary along the axes that the window slides over, and has output channels",
       "  v = subsample(x, H: s, W: s)\n"
       "  f = fc(fold(v, mean: [H, W]), [C] -> [K, C, h = 3, w = 3])\n"
       "  return contract(unfold(v, H: 3, W: 3), f, [C, h, w])",
       nullptr},
      {"pooling", "reduce(unfold(x))", "pooling of x", "over exactly the windows; mean and sum without dilation",
       "  v = subsample(x, H: s, W: s)\n"
       "  return fc(fold(unfold(v, H: 3, W: 3), max: [h, w]), [C] -> [K])",
       nullptr},
      {"taps", "contract(unfold(x), y)", "a sum of products of shifted views, one a tap",
       "y has the windows, or keeps them; nothing is a product of matrices",
       "  p = subsample(x, H: s, W: s)\n"
       "  z = softmax(fc(p, [C] -> [h = 3, w = 3]), [h, w])\n"
       "  return fc(contract(unfold(p, H: 3, W: 3), z, [h, w]), [C] -> [K])",
       nullptr},
      {"tap_functions", "contract(f(unfold(x), y), p), or sum(f(unfold(x), y))",
       "a sum over taps of contract(f(shift(x), y), p)", "f(unfold(x), y) is not used elsewhere",
       "  v = subsample(x, H: s, W: s)\n"
       "  return fc(mul(unfold(v, H: 3, W: 3), sigmoid(v)), [C, h, w] -> [K])",
       nullptr},
  };
  return table;
}

Lowering::Lowering(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto found =
        std::find_if(rules().begin(), rules().end(), [&](const Rule& rule) { return name == rule.name; });
    if (found == rules().end()) throw ArgumentError("there is no lowering rule '" + name + "'; see docs/lowering.md");
    enabled_ |= uint64_t{1} << (found - rules().begin());
  }
}

bool Lowering::has(const std::string& name) const {
  const auto found = std::find_if(rules().begin(), rules().end(), [&](const Rule& rule) { return name == rule.name; });
  require(found != rules().end(), "an unknown lowering rule");
  return has(static_cast<size_t>(found - rules().begin()));
}

}  // namespace canvas
