"""Colours that tell classes apart."""

import colorsys


def distinct_palette(num_colors: int) -> list[tuple[int, int, int]]:
    """``num_colors`` RGB colours in [0, 255], neighbours far apart in hue; the same ones every time."""
    golden = 0.61803398875
    colors = []
    for i in range(num_colors):
        saturation, value = (0.95, 0.65, 0.8)[i % 3], (0.95, 0.75, 0.6, 0.85)[i // 3 % 4]
        rgb = colorsys.hsv_to_rgb((0.98 + i * golden) % 1, saturation, value)
        colors.append(tuple(round(255 * channel) for channel in rgb))
    return colors
