"""Charts as inline SVG: percentages instead of a viewBox, so that they stretch while their text keeps its size."""
