"""Numbers as Grafana writes them: by the unit of a panel."""

import math
from collections.abc import Mapping
from typing import Any

_TIMES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (0, "µs"))
_SIZES = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (0, "B/s"))
_SHORT = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))


def plain(value: float) -> str:
    """Three figures, without zeros that say nothing.

    >>> plain(1.5), plain(0.0321), plain(1234.0), plain(-0.0)
    ('1.5', '0.0321', '1234', '0')
    """
    if value == int(value) and abs(value) < 1e6:  # noqa: PLR2004 (integers have no decimals)
        return str(int(value))
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, scale: tuple[tuple[float, str], ...]) -> str:
    factor, unit = next((factor, unit) for factor, unit in scale if abs(value) >= factor)
    return f"{plain(value / (factor or (1e-6 if unit == 'µs' else 1)))} {unit}"


def shown(value: float, unit: str) -> str:
    """A number with its unit.

    >>> shown(0.0123, "s"), shown(7200, "s"), shown(0.5, "percentunit"), shown(2048, "Bps"), shown(1, "suffix: tok/s")
    ('12.3 ms', '2 h', '50%', '2.05 kB/s', '1 tok/s')
    >>> shown(3, "short"), shown(12000, "short"), shown(float("nan"), "s")
    ('3', '12 K', 'no data')
    """
    if math.isnan(value):
        return "no data"
    match unit:
        case "s":
            out = "0 s" if value == 0 else _scaled(value, _TIMES)
        case "Bps":
            out = _scaled(value, _SIZES)
        case "percentunit":
            out = f"{plain(100 * value)}%"
        case "short":
            factor, name = next((one for one in _SHORT if abs(value) >= one[0]), (1.0, ""))
            out = plain(value / factor) + name
        case _:
            out = plain(value) + {"reqps": " req/s"}.get(unit, unit.partition("suffix:")[2])
    return out


def mapped(
    value: float, unit: str, mappings: list[Mapping[str, Any]], steps: list[Mapping[str, Any]]
) -> tuple[str, str]:
    """What is written in the place of a number, and in which colour: of its mapping, or of its threshold.

    Args:
        value: the number.
        unit: of the panel or column.
        mappings, steps: value mappings and thresholds, as Grafana's JSON has them.
    """
    options = {key: one for each in mappings for key, one in each["options"].items()}
    found = None if math.isnan(value) else options.get(plain(value))
    if found is not None:
        return str(found["text"]), str(found["color"])
    reached = [one["color"] for one in steps if one["value"] is None or value >= one["value"]]
    return shown(value, unit), str(reached[-1]) if reached else "text"
