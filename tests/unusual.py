"""Kernels that use primitives in ways that the sampler seldom finds: other axes and roles, edges of what is legal."""

import canvas

HEAD = "kernel {}(x[C, H, W]) -> [K, H/s, W/s]:\n"
END = "  return fc(subsample(y, H: s, W: s), [C] -> [K])\n"
# Each ends in a value y [C, H, W].
UNUSUAL = {
    "neighbourhood_over_groups": """
  a = split(x, [C] -> [g = 2, c = C/2])
  y = merge(shift(a, c: 3, W: 3, over: [g]), [g, c] -> [C])""",
    "neighbourhood_of_one_axis": "  y = shift(x, W: 7, over: [C])",
    "shift_of_channels": "  y = shift(shift(x, C: 1), C: -2, H: 1)",
    "dilated_channels": "  y = fc(unfold(x, C: 3, dilation: 2), [c] -> [])",
    "dilated_channels_and_space": "  y = fold(unfold(x, C: 3, W: 3, dilation: 2), sum: [c, w])",
    "windows_of_groups": """
  a = split(x, [C] -> [g = 4, c = C/4])
  y = merge(fold(unfold(a, g: q = 3, c: r = 5, dilation: 2), mean: [q, r]), [g, c] -> [C])""",
    "softmax_of_mixed_axes": "  y = softmax(x, [C, W])",
    "softmax_of_all": "  u = softmax(unfold(x, H: 3), [C, H, W, h])\n  y = fold(u, sum: [h])",
    "folds_of_mixed_axes": "  a = fold(unfold(x, H: 3, W: 3), max: [C, h])\n  y = mul(x, fold(a, mean: [H, w]))",
    "fold_of_all": "  y = sub(x, fold(x, mean: [C, H, W]))",
    "contract_with_batch_axes": """
  a = split(x, [C] -> [g = 2, c = C/2])
  b = rename(a, [c] -> [d = C/2])
  w = contract(a, b, [H, W])
  y = merge(contract(w, b, [d]), [g, c] -> [C])""",
    "contract_per_row": """
  a = contract(x, rename(x, [C] -> [d = C]), [W])
  y = contract(a, rename(x, [C] -> [d = C]), [d])""",
    "select_of_groups": """
  a = split(x, [C] -> [g = 4, c = C/4])
  b = stack(select(a, g: 3), select(a, g: 1), relu(select(a, g: 0)), select(a, g: 3), [g])
  y = merge(b, [c, g] -> [C])""",
    "select_of_fast_axis": """
  a = split(x, [C] -> [c = C/4, g = 4])
  y = merge(stack(select(a, g: 3), select(a, g: 2), select(a, g: 1), select(a, g: 0), [p]), [c, p] -> [C])""",
    "select_of_space": "  y = add(select(x, H: 1), mul(select(x, H: 0, W: 2), x))",
    "select_of_windows": "  u = unfold(x, H: 3, W: 3)\n  y = sub(select(u, h: 0, w: 2), select(u, h: 2, w: 0))",
    "partial": """
  a = split(x, [C] -> [g = 4, c = C/4])
  b = fc(unfold(select(a, g: 0), H: 3, W: 3), [c, h, w] -> [c = C/4])
  y = merge(update(a, b, g: 0), [g, c] -> [C])""",
    "partial_last": """
  a = split(x, [C] -> [g = 4, c = C/4])
  y = merge(update(update(a, relu(select(a, g: 2)), g: 1), select(a, g: 0), g: 3), [g, c] -> [C])""",
    "update_of_fast_axis": """
  a = split(x, [C] -> [c = C/4, g = 4])
  y = merge(update(a, select(a, g: 3), g: 1), [c, g] -> [C])""",
    "update_of_space": "  y = update(update(x, fold(x, max: [H]), H: 0), fold(x, mean: [W]), W: 3)",
    "stack_of_two_branches": """
  a = fc(x, [C] -> [m = C/2])
  b = fc(unfold(a, H: 3, W: 3), [h, w] -> [], per: [m])
  y = merge(stack(a, b, [g]), [g, m] -> [C])""",
    "stack_without_channels": """
  a = stack(fold(x, mean: [C]), fold(x, max: [C]), [g])
  y = mul(x, sigmoid(fc(unfold(a, H: 3, W: 3), [g, h, w] -> [])))""",
    "stack_of_scalars": "  y = mul(x, fold(stack(fold(x, mean: [C, H, W]), fold(x, max: [C, H, W]), [g]), sum: [g]))",
    "stack_of_eight": """
  a = fc(x, [C] -> [m = C/8])
  b = stack(a, neg(a), abs(a), relu(a), sin(a), tanh(a), square(a), a, [g])
  y = merge(b, [g, m] -> [C])""",
    "upsample_of_the_stride": "  y = upsample(fold(unfold(subsample(x, H: s, W: s), H: 3), mean: [h]), H: s, W: s)",
    "upsample_of_one_axis": "  y = add(x, upsample(subsample(relu(x), W: s), W: s))",
    "upsample_of_channels": """
  a = fc(x, [C] -> [m = C/4])
  y = add(x, rename(upsample(a, m: 4), [m] -> [C]))""",
    "upsample_far": "  a = upsample(fold(x, mean: [H]), W: 9)\n  y = mul(x, fold(a, max: [W]))",
    "norms": """
  a = add(norm(x, layer: [C]), norm(x, rms: [C, H]))
  y = add(a, add(norm(x, l1: [H, W]), norm(x, l2: [W])))""",
    "norm_of_groups": """
  a = split(x, [C] -> [g = 2, c = C/2])
  y = merge(bias(scale(norm(a, layer: [c, H, W]), [g, c]), [g, c]), [g, c] -> [C])""",
    "norm_of_windows": "  y = fold(norm(unfold(x, H: 3, W: 3), l2: [h, w]), max: [h, w])",
    "extrema": "  y = max(min(x, shift(x, H: 1)), min(fold(x, mean: [C]), neg(x)))",
    "quotients": "  y = div(div(x, exp(x)), add(fold(square(x), sum: [C]), sigmoid(x)))",
    "linear_attention": """
  q = exp(fc(x, [C] -> [m = C/2]))
  k = exp(fc(x, [C] -> [m = C/2]))
  n = contract(contract(k, x, [H, W]), q, [m])
  y = div(n, contract(fold(k, sum: [H, W]), q, [m]))""",
    "outer_product": "  a = mul(fc(x, [C] -> [m = C/4]), fc(x, [C] -> [n = 4]))\n  y = merge(a, [n, m] -> [C])",
}


def parsed(name: str, body: str) -> canvas.Kernel:
    return canvas.parse(HEAD.format(name) + body.lstrip("\n") + "\n" + END)
