"""A bound on a cost, as "<= 300M" or "<= 15 ms" -> Constraint, read by the units of the cost; costs as `devices.costs`
names them."""

import re
from decimal import Decimal

from mnv2_sweep.devices.costs import CostName
from mnv2_sweep.spaces.space import OPERATORS, Constraint

BOUND = re.compile(r"(<=|>=|<|>|)\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")


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
