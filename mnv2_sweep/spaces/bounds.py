"""A bound on a cost, as "<= 300M" or "<= 15 ms" -> Constraint, read by the units of the cost; costs as `devices.costs`
names them."""

import re
from decimal import Decimal

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.devices.costs import CostName, find_cost
from mnv2_sweep.spaces.space import OPERATORS, Constraint
from mnv2_sweep.spaces.yamlfile import short

BOUND = re.compile(r"(<=|>=|<|>|)\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")


def read_where(text: str) -> Constraint:
    """Return what a person says of a cost on the command line, as "latency@pi4 <= 15 ms". Raises SweepError, its
    child ProfileError where there is no such cost."""
    match = re.fullmatch(r"\s*([^<>=\s]+)\s*((?:<|>|=).*)", text, re.S)
    if not match:
        raise SweepError(f"'{short(text)}': a cost and a bound are wanted, as in 'latency@pi4 <= 15 ms' or "
                         "'madds <= 300M'")  # fmt: skip
    cost = find_cost(match[1])
    found = parse_bound(cost, match[2])
    if found is None:
        raise SweepError(f"{cost.name}: '{short(match[2])}' given; allowed: {bounds_of(cost)}")
    return found


def parse_bound(cost: CostName, text: str) -> Constraint | None:
    """Return the bound on the cost; None where the text is none."""
    match = BOUND.fullmatch(text.strip())
    if not match or not match[1] or match[3] not in cost.units:
        return None
    limit = Decimal(match[2]) * cost.units[match[3]]
    if limit == int(limit):
        return Constraint(cost.name, match[1], int(limit), text.strip())
    return None if cost.whole else Constraint(cost.name, match[1], float(limit), text.strip())


def lacks_direction(cost: CostName, text: str) -> bool:
    """Say whether only <= or >= is missing."""
    match = BOUND.fullmatch(text.strip())
    return match is not None and not match[1] and match[3] in cost.units


def bounds_of(cost: CostName) -> str:
    """Say what is allowed as a bound on the cost."""
    operators = f"{', '.join(list(OPERATORS)[:-1])} or {list(OPERATORS)[-1]}"
    return f'{operators}, a number and a unit ({", ".join(filter(None, cost.units))}), as in "{cost.example}"'
