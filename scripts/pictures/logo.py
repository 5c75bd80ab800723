"""The logo: what fans in to a unit, and one weight that stands out. Its own ground makes it fit both schemes."""

from __future__ import annotations

from pictures.canvas import number

_SIDE, _GROUND, _LINE, _MARK = 64, "#0b3a55", "#9fd3f0", "#f08138"
_INPUTS = (12.0, 22.0, 32.0, 42.0, 52.0)
_CHOSEN = 1  # which of them


def logo() -> str:
    """The logo, as SVG."""
    parts = []
    for place in sorted(range(len(_INPUTS)), key=lambda place: place == _CHOSEN):
        color = _MARK if place == _CHOSEN else _LINE
        y = number(_INPUTS[place])
        parts.append(f'<path d="M15,{y}C32,{y} 30,32 46,32" stroke="{color}" stroke-width="3" fill="none"/>')
        parts.append(f'<circle cx="14" cy="{y}" r="3.8" fill="{color}"/>')
    parts.append('<circle cx="47" cy="32" r="8.5" fill="#ffffff"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIDE} {_SIDE}" width="{_SIDE}" height="{_SIDE}" '
        f'role="img">\n<title>fanin</title>\n<desc>Five lines run together into a unit.</desc>\n'
        f'<rect width="{_SIDE}" height="{_SIDE}" rx="14" fill="{_GROUND}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
